//! Whose place goes to whom, by the tenants' shares.

use crate::played::{ENGINE, OVERDUE_MS, Played, of, room};
use warmpath_core::admission::Verdict;
use warmpath_core::wire::{Hold, Tenant};

#[test]
fn a_tenant_below_its_share_takes_the_places_of_one_above() {
    let mut gate = Played::with_three(["many"; 3]);
    assert_eq!(gate.verdict(of(4).tenant("many")), Verdict::Full);
    assert_eq!(gate.verdict(of(4).tenant("few")), room());
    gate.begin(of(4).tenant("few"));
    assert_eq!(gate.placed(), [2, 3, 4]);
}

#[test]
fn a_tenant_within_its_share_keeps_its_places() {
    // A third of 95,000 tokens for each.
    let mut gate = Played::with_three(["one", "two", "three"]);
    assert_eq!(gate.verdict(of(4).tenant("three")), Verdict::Full);
    gate.begin(of(4).tenant("three"));
    assert_eq!(gate.placed(), [1, 2, 3, 4]);
}

#[test]
fn who_would_be_above_its_share_with_the_place_waits() {
    let mut gate = Played::with_three(["many", "many", "few"]);
    // A half of 95,000 tokens is 47,500.
    assert_eq!(gate.verdict(of(4).tenant("few").tokens(23_500)), room());
    assert_eq!(gate.verdict(of(4).tenant("few").tokens(23_501)), Verdict::Full);
    gate.begin(of(4).tenant("few"));
    assert_eq!(gate.placed(), [1, 2, 3, 4], "it was sent all the same, and takes nobody's place");
}

#[test]
fn who_is_overdue_takes_places_above_the_share_first() {
    let mut gate = Played::with_three(["few", "many", "many"]);
    gate.hold(of(5).tenant("many").tokens(80_000).waited(OVERDUE_MS), 0);
    assert_eq!(gate.next(), Some((5, room())), "all places are for it");
    gate.begin(of(4).tenant("many").waited(OVERDUE_MS));
    assert_eq!(gate.placed(), [1, 3, 4], "the first is idle for longer, and within its share");
}

#[test]
fn a_share_follows_the_weight() {
    let mut gate = Played::in_use();
    let tenants = vec![Tenant { name: "heavy".into(), weight: 3 }];
    gate.gate.set_hold(Hold { tenants, ..gate.gate.hold().clone() });
    for conversation in 1..4 {
        gate.turn(of(conversation).tenant("heavy").tokens(23_700));
    }
    // 71,100 tokens are within three quarters of 95,000, 71,250.
    assert_eq!(gate.verdict(of(4).tenant("light")), Verdict::Full);
    gate.turn(of(3).tenant("heavy").tokens(23_900));
    assert_eq!(gate.verdict(of(4).tenant("light").tokens(23_750)), room());
    assert_eq!(gate.verdict(of(4).tenant("light").tokens(23_751)), Verdict::Full);
}

#[test]
fn places_above_a_share_go_to_a_heavier_tenant_below_its_own() {
    let mut gate = Played::in_use();
    let tenants = vec![Tenant { name: "heavy".into(), weight: 3 }];
    gate.gate.set_hold(Hold { tenants, ..gate.gate.hold().clone() });
    gate.turn(of(1).tenant("light").tokens(39_000));
    gate.turn(of(2).tenant("heavy").tokens(47_000));
    // It has more than the other one could, and less than three times that.
    gate.begin(of(3).tenant("heavy").tokens(10_000));
    assert_eq!(gate.placed(), [2, 3]);
}

#[test]
fn those_who_wait_count_in_the_shares() {
    let with = |waits: bool| {
        let mut gate = Played::in_use();
        for (conversation, tenant, tokens) in [(1, "one", 30_000), (2, "two", 42_000)] {
            gate.turn(of(conversation).tenant(tenant).tokens(tokens));
            gate.pass(1_000);
        }
        if waits {
            gate.hold(of(9).tenant("four"), 0);
        }
        gate.begin(of(3).tenant("three").tokens(23_700));
        gate.placed()
    };
    assert_eq!(with(false), [1, 3], "a third of 95,000 tokens for each");
    assert_eq!(with(true), [2, 3], "a fourth: both have more, and the first is idle for longer");
}

#[test]
fn one_tenant_alone_is_never_above_its_share() {
    let mut gate = Played::with_three([""; 3]);
    gate.turn(of(3).tokens(50_000));
    gate.hold(of(4), 0);
    assert_eq!(gate.verdict(of(2)), Verdict::Placed(ENGINE));
}
