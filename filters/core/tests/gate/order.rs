//! In which order those that wait go on, and for how long they are expected to wait.

use crate::played::{ENGINE, LEASE_MS, OTHER_ENGINE, OVERDUE_MS, Of, Played, ROOM, of};
use warmpath_core::admission::{Asked, Room, Verdict};
use warmpath_core::wire::{Hold, Tenant};

#[test]
fn room_is_kept_for_the_first_that_waits() {
    let mut gate = Played::with_three([""; 3]);
    gate.hold(of(4), 0);
    assert_eq!(gate.verdict(of(5).tokens(1_000)), Verdict::Full, "it would fit");
    assert_eq!(gate.verdict(of(3)), Verdict::Placed(ENGINE), "within its lease");
    gate.pass(LEASE_MS - 1_000);
    assert_eq!(gate.verdict(of(2)), Verdict::Full, "its lease has lapsed, and somebody waits for its place");
}

#[test]
fn of_two_engines_the_one_with_most_room_is_kept() {
    let mut gate = Played::with_three([""; 3]);
    gate.rooms.push(Room { endpoint: OTHER_ENGINE, tokens: ROOM });
    let key = gate.begin_at(OTHER_ENGINE, of(5).tokens(80_000));
    gate.gate.ended(key, gate.now);
    assert_eq!(gate.verdict(of(6).tokens(10_000)), Verdict::Room(vec![ENGINE, OTHER_ENGINE]));
    gate.hold(of(4).tokens(50_000), 0);
    assert_eq!(gate.verdict(of(6).tokens(10_000)), Verdict::Room(vec![OTHER_ENGINE]));
    gate.hold(of(5).tokens(98_000), 1);
    assert_eq!(gate.verdict(of(6).tokens(10_000)), Verdict::Room(vec![ENGINE]), "its own is kept for it");
}

#[test]
fn room_that_others_will_leave_counts_for_the_one_that_is_kept() {
    let mut gate = Played::with_three([""; 3]);
    gate.pass(LEASE_MS);
    gate.rooms.push(Room { endpoint: OTHER_ENGINE, tokens: ROOM });
    let key = gate.begin_at(OTHER_ENGINE, of(5).tokens(30_000));
    gate.gate.ended(key, gate.now);
    gate.hold(of(4), 0);
    assert_eq!(gate.verdict(of(6).tokens(10_000)), Verdict::Room(vec![OTHER_ENGINE]));
}

#[test]
fn a_smaller_request_passes_the_first_where_no_room_is_kept() {
    let mut gate = Played::with_three([""; 3]);
    gate.rooms.push(Room { endpoint: OTHER_ENGINE, tokens: ROOM });
    let key = gate.begin_at(OTHER_ENGINE, of(5).tokens(80_000));
    gate.gate.ended(key, gate.now);
    gate.hold(of(4).tokens(50_000).waited(2_000), 0);
    gate.hold(of(7).tokens(50_000).waited(1_500), 0);
    gate.hold(of(6).tokens(10_000).waited(1_000), 0);
    assert_eq!(gate.next(), Some((6, Verdict::Room(vec![OTHER_ENGINE]))));
    // The first of those that are overdue keep all that they need.
    gate.hold(of(4).tokens(150_000).waited(OVERDUE_MS), 0);
    let under_way = [gate.begin(of(1)), gate.begin_at(OTHER_ENGINE, of(5).tokens(80_000))];
    gate.hold(of(7).tokens(150_000).waited(OVERDUE_MS), 0);
    assert_eq!(gate.next(), None);
    for key in under_way {
        gate.gate.ended(key, gate.now);
    }
    assert_eq!(gate.next().map(|(number, _)| number), Some(4));
}

#[test]
fn those_that_wait_go_on_by_lateness_priority_share_and_age() {
    let mut gate = Played::in_use();
    for (at, (tenant, priority, waited_ms)) in (1..).zip([
        ("many", 0, 9_000),
        ("many", 0, 8_000),
        ("many", 0, 7_000),
        ("few", 0, 1_000),
        ("few", 1, 500),
        ("many", -1, OVERDUE_MS),
        ("few", 0, OVERDUE_MS + 1),
    ]) {
        gate.hold(of(at).tenant(tenant).waited(waited_ms), priority);
    }
    // Two of `few` have gone on before, and one of `many`: equal shares are had after one more of `many`, and age decides then.
    assert_eq!(gate.order(), [7, 6, 5, 1, 2, 4, 3]);
}

#[test]
fn three_of_a_tenant_of_weight_three_go_on_for_one_of_another() {
    let mut gate = Played::in_use();
    let tenants = vec![Tenant { name: "heavy".into(), weight: 3 }];
    gate.gate.set_hold(Hold { tenants, ..gate.gate.hold().clone() });
    for (number, tenant) in (1..).zip(["light", "light", "heavy", "heavy", "heavy", "heavy"]) {
        gate.hold(of(number).tenant(tenant).waited(10_000 - number), 0);
    }
    assert_eq!(gate.order(), [1, 3, 4, 5, 2, 6]);
}

#[test]
fn of_those_that_are_overdue_age_alone_decides() {
    let mut gate = Played::in_use();
    for (number, tenant, waited_ms) in [(1, "one", 3), (2, "one", 2), (3, "two", 1)] {
        gate.hold(of(number).tenant(tenant).waited(OVERDUE_MS + waited_ms), 0);
    }
    assert_eq!(gate.order(), [1, 2, 3]);
}

#[test]
fn a_tenant_that_had_its_turn_goes_behind_the_others() {
    let mut gate = Played::in_use();
    gate.turn(of(1).tenant("one").waited(1_000));
    gate.pass(1_000);
    for (number, tenant, waited_ms) in [(2, "one", 5_000), (3, "two", 4_000), (4, "two", 3_000)] {
        gate.hold(of(number).tenant(tenant).waited(waited_ms), 0);
    }
    assert_eq!(gate.order(), [3, 2, 4]);
}

#[test]
fn a_tenant_that_was_away_has_no_credit() {
    let mut gate = Played::in_use();
    for conversation in 1..6 {
        gate.turn(of(conversation).tenant("one").tokens(10_000).waited(1_000));
    }
    for (number, tenant, waited_ms) in
        [(6, "one", 9_000), (7, "two", 3_000), (8, "two", 2_000), (9, "two", 1_000)]
    {
        gate.hold(of(number).tenant(tenant).tokens(10_000).waited(waited_ms), 0);
    }
    assert_eq!(gate.order(), [7, 6, 8, 9], "its clock is that of the last that went on");
}

#[test]
fn the_wait_that_is_predicted_is_that_of_those_ahead() {
    let mut gate = Played::in_use();
    gate.hold(of(8).tenant("many").tokens(20_000).waited(1_000), 0);
    gate.hold(of(9).tenant("many").tokens(20_000), 0);
    // 1,000 tokens a second get a place.
    for second in 0..60 {
        gate.turn(of(1).tokens(1_000).waited(1));
        gate.pass(1_000);
        for number in [8, 9] {
            gate.hold(of(number).tenant("many").tokens(20_000).waited(second * 1_000), 0);
        }
    }
    let wait_s = |of: Of, priority| {
        let asked = Asked { priority, ..gate.asked(of) };
        gate.gate.wait_ms(&asked, gate.now).map(|ms| (ms + 500) / 1_000)
    };
    let few = of(4).tenant("few").tokens(5_000);
    assert_eq!(wait_s(of(4).tenant("many").tokens(5_000), 0), Some(45));
    assert_eq!(wait_s(few, 0), Some(25), "the first of the other tenant has come before");
    assert_eq!(wait_s(few, 1), Some(5));
    assert_eq!(wait_s(few, -1), Some(45));
    gate.hold(of(7).tokens(3_000).waited(OVERDUE_MS), -1);
    let wait_s = |of: Of| gate.gate.wait_ms(&gate.asked(of), gate.now).map(|ms| (ms + 500) / 1_000);
    assert_eq!(wait_s(few), Some(28), "nobody passes one that is overdue");
}

#[test]
fn nobody_knows_the_wait_before_half_a_minute_was_seen() {
    let mut gate = Played::in_use();
    for second in 1..=30 {
        assert_eq!(gate.gate.wait_ms(&gate.asked(of(4)), gate.now), None, "after {second} s");
        gate.turn(of(1).tokens(1_000).waited(1));
        gate.pass(1_000);
    }
    assert_eq!(gate.gate.wait_ms(&gate.asked(of(4)), gate.now), Some(24_000));
}
