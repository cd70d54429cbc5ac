//! When the gate is used, and the lease that it derives.

use crate::played::{ENGINE, LEASE_MS, Played, of};
use warmpath_core::admission::Verdict;

#[test]
fn a_lease_follows_the_pauses_of_turns_like_it() {
    let mut gate = Played::in_use();
    for _ in 0..60 {
        gate.turn(of(9).tokens(64));
        gate.pass(2_000);
    }
    gate.gate.forget(ENGINE);
    assert!((2_000..4_000).contains(&gate.gate.lease_ms(2)), "{} ms", gate.gate.lease_ms(2));
    assert_eq!(gate.gate.lease_ms(1), LEASE_MS, "no pause after a first turn was seen");
    for conversation in [1, 2, 2, 3] {
        gate.turn(of(conversation));
    }
    gate.pass(5_000);
    gate.begin(of(4));
    assert_eq!(gate.placed(), [1, 3, 4]);
}

#[test]
fn a_conversation_that_does_not_come_back_counts_once() {
    let gone = |conversations: u64| {
        let mut gate = Played::in_use();
        (100..100 + conversations).for_each(|conversation| gate.turn(of(conversation).tokens(64)));
        gate.pass(340_000);
        gate
    };
    assert_eq!(gone(40).gate.lease_ms(1), 0, "no place is worth keeping");
    let mut few = gone(20);
    assert_eq!(few.gate.lease_ms(1), LEASE_MS, "too few");
    (100..120).for_each(|conversation| few.turn(of(conversation).tokens(64)));
    few.pass(1_000);
    assert_eq!(few.gate.lease_ms(1), LEASE_MS, "they were seen before");
}

#[test]
fn a_gate_that_is_not_used_lets_all_pass_and_nobody_lose_a_place_to_another() {
    let mut gate = Played::unused();
    (1..4).for_each(|conversation| gate.turn(of(conversation)));
    gate.pass(LEASE_MS * 2);
    assert_eq!(gate.verdict(of(4)), Verdict::Open);
    gate.turn(of(4));
    assert_eq!(gate.placed(), [1, 2, 3, 4]);
    gate.turn(of(5).tokens(5_000));
    assert_eq!(gate.placed(), [2, 3, 4, 5], "the engine cannot hold all");
}

#[test]
fn a_gate_is_used_where_turns_within_their_lease_find_nothing() {
    let is_used = |pause_ms, waited_ms| {
        let mut gate = Played::unused();
        for _ in 0..25 {
            gate.turn(of(1).waited(waited_ms));
            gate.pass(pause_ms + waited_ms);
        }
        gate.gate.is_on()
    };
    assert!(is_used(LEASE_MS, 0));
    assert!(is_used(LEASE_MS, 60_000), "what it waits in the proxy is no pause");
    assert!(!is_used(LEASE_MS + 1, 0), "its place would not have been kept");
}
