//! Whose place goes to whom, by what is idle and for how long.

use crate::played::{ENGINE, LEASE_MS, OVERDUE_MS, Played, ROOM, of, room};
use warmpath_core::admission::Verdict;

#[test]
fn an_idle_conversation_keeps_its_place_within_its_lease() {
    let mut gate = Played::with_three([""; 3]);
    assert_eq!(gate.verdict(of(4)), Verdict::Full);
    assert_eq!(gate.verdict(of(2)), Verdict::Placed(ENGINE));
    gate.begin(of(4));
    assert_eq!(gate.placed(), [1, 2, 3, 4]);
}

#[test]
fn whoever_needs_room_takes_the_place_whose_lease_has_lapsed_for_longest() {
    let mut gate = Played::with_three([""; 3]);
    gate.pass(LEASE_MS - 3_001);
    assert_eq!(gate.verdict(of(4)), Verdict::Full);
    gate.pass(1);
    assert_eq!(gate.verdict(of(4)), room());
    assert_eq!(gate.verdict(of(1)), Verdict::Placed(ENGINE), "nobody has taken it yet");
    gate.begin(of(4));
    assert_eq!(gate.placed(), [2, 3, 4]);
}

#[test]
fn whoever_is_overdue_takes_the_place_that_is_idle_for_longest_whatever_its_lease() {
    let mut gate = Played::with_three([""; 3]);
    gate.hold(of(4).waited(OVERDUE_MS - 1), 0);
    assert_eq!(gate.next(), None);
    gate.hold(of(4).waited(OVERDUE_MS), 0);
    assert_eq!(gate.next(), Some((4, room())));
    gate.begin(of(4).waited(OVERDUE_MS));
    assert_eq!(gate.placed(), [2, 3, 4]);
}

#[test]
fn a_turn_under_way_keeps_its_place_whoever_is_overdue() {
    let mut gate = Played::in_use();
    for conversation in 1..4 {
        gate.begin(of(conversation));
    }
    gate.pass(LEASE_MS * 2);
    gate.hold(of(4).waited(OVERDUE_MS), 0);
    assert_eq!(gate.next(), None);
    gate.begin(of(4).waited(OVERDUE_MS));
    assert_eq!(gate.placed(), [1, 2, 3, 4]);
}

#[test]
fn a_beginning_that_others_share_takes_room_once() {
    let mut gate = Played::in_use();
    gate.turn(of(1).tokens(60_000).shared(30_000));
    assert_eq!(gate.verdict(of(4).tokens(65_000).shared(30_000)), room());
    assert_eq!(gate.verdict(of(4).tokens(65_001).shared(30_000)), Verdict::Full);
    assert_eq!(gate.verdict(of(4).tokens(65_000)), Verdict::Full, "it has another one");
}

#[test]
fn a_conversation_that_grows_takes_a_place_only_where_the_engine_cannot_hold_all() {
    let mut gate = Played::with_three([""; 3]);
    gate.turn(of(3).tokens(52_000));
    assert_eq!(gate.placed(), [1, 2, 3], "as many as the engine holds");
    gate.turn(of(3).tokens(52_001));
    assert_eq!(gate.placed(), [2, 3]);
    gate.turn(of(4).tokens(5_000));
    gate.pass(1_000);
    gate.turn(of(2));
    gate.pass(LEASE_MS * 2);
    gate.turn(of(3).tokens(71_500));
    assert_eq!(gate.placed(), [2, 3], "no more than that, though all leases have lapsed");
}

#[test]
fn only_as_many_lose_their_places_as_the_room_takes() {
    let mut gate = Played::with_three([""; 3]);
    gate.pass(LEASE_MS);
    gate.begin(of(4).tokens(71_000));
    assert_eq!(gate.placed(), [3, 4]);
    gate.begin(of(5).tokens(ROOM * 2));
    assert_eq!(gate.placed(), [4, 5], "what is larger than the room gets all that is idle");
}
