//! The lease among several VMs, of which some stall and some die: never two holders, and never long without one.

use super::*;
use crate::num::u64_len;
use crate::router::shared::{LocalMap, SharedMap};
use proptest::prelude::*;

const KEY: &str = "lease";
const VMS: usize = 3;

struct World {
    map: LocalMap,
    leases: Vec<Lease>,
    built: u64,
    now: Timestamp,
}

#[derive(Clone, Debug)]
enum Op {
    /// Time passes.
    Pass { ms: u64 },
    /// A VM is woken, and looks if it is time; the others are not.
    Wake { vm: usize },
    /// A VM traps and is built anew.
    Rebuild { vm: usize },
    /// A VM's plugin is taken away.
    Release { vm: usize },
}

// === impl World ===

impl World {
    fn new() -> Self {
        let leases = (1..=u64_len(VMS)).map(|owner| Lease::new(OriginId(owner))).collect();
        Self { map: LocalMap::default(), leases, built: u64_len(VMS), now: Timestamp::from_ms(1_000_000) }
    }

    /// As the router does it.
    fn wake(&mut self, vm: usize) {
        let lease = &mut self.leases[vm];
        if !lease.is_due(self.now) {
            return;
        }
        let stored = self.map.get(KEY);
        let is_held = match lease.verdict(StoredLease::decode(&stored.value), self.now) {
            Verdict::Claim(claim) => {
                self.map.set(KEY, &claim.encode(), stored.version).is_ok() && stored.version.is_some()
            }
            Verdict::Leave => false,
        };
        lease.note(is_held, self.now, self.now.ms().wrapping_mul(0x9E37_79B9) ^ u64_len(vm));
    }

    fn release(&mut self, vm: usize) {
        let stored = self.map.get(KEY);
        if let Some(free) = self.leases[vm].release(StoredLease::decode(&stored.value)) {
            self.map.set(KEY, &free.encode(), stored.version).unwrap();
        }
    }

    fn perform(&mut self, op: &Op) {
        match *op {
            Op::Pass { ms } => self.now = self.now.plus_ms(ms),
            Op::Wake { vm } => self.wake(vm),
            Op::Rebuild { vm } => {
                self.built += 1;
                self.leases[vm] = Lease::new(OriginId(self.built));
            }
            Op::Release { vm } => self.release(vm),
        }
    }

    /// VMs that hold it and have looked lately enough to be believed.
    fn holders(&self) -> usize {
        let holds = |lease: &&Lease| lease.is_held() && self.now.ms_since(lease.checked_at) < LEASE_MS;
        self.leases.iter().filter(holds).count()
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0_u64..700).prop_map(|ms| Op::Pass { ms }),
        8 => (0..VMS).prop_map(|vm| Op::Wake { vm }),
        1 => (0..VMS).prop_map(|vm| Op::Rebuild { vm }),
        1 => (0..VMS).prop_map(|vm| Op::Release { vm }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn there_are_never_two_holders_and_soon_there_is_one(ops in prop::collection::vec(op(), 1..60)) {
        let mut world = World::new();
        for op in &ops {
            world.perform(op);
            prop_assert!(world.holders() <= 1, "after {op:?}");
        }
        // However they got there: woken every 100 ms, one of them holds it within its end and two looks.
        for _ in 0..=(LEASE_MS + 2 * CHECK_MS) / 100 {
            world.perform(&Op::Pass { ms: 100 });
            (0..VMS).for_each(|vm| world.wake(vm));
            prop_assert!(world.holders() <= 1);
        }
        prop_assert_eq!(world.holders(), 1);
    }
}

#[test]
fn a_lease_that_was_released_does_not_take_anothers_along() {
    let mut world = World::new();
    let first = (0..2).find(|_| {
        world.now = world.now.plus_ms(CHECK_MS);
        world.wake(0);
        world.leases[0].is_held()
    });
    assert!(first.is_some());
    // The first stalls until the second has taken over; then its plugin ends.
    for _ in 0..2 {
        world.now = world.now.plus_ms(LEASE_MS);
        world.wake(1);
    }
    assert!(world.leases[1].is_held());
    world.release(0);
    world.now = world.now.plus_ms(CHECK_MS);
    world.wake(2);
    assert!(!world.leases[2].is_held(), "the second one's lease is still in force");
}

#[test]
fn a_clock_that_was_set_back_does_not_keep_a_dead_vms_lease() {
    let mut world = World::new();
    for _ in 0..2 {
        world.now = world.now.plus_ms(CHECK_MS);
        world.wake(0);
    }
    assert!(world.leases[0].is_held());
    world.now = Timestamp::from_ms(1_000);
    for _ in 0..2 {
        world.now = world.now.plus_ms(CHECK_MS);
        world.wake(1);
    }
    assert!(world.leases[1].is_held(), "its end is an hour off, and no lease lasts that long");
}

#[test]
fn stored_values_that_are_no_lease_are_free() {
    for value in [b"".as_slice(), b"short", &[0xff; 15]] {
        assert_eq!(StoredLease::decode(value), None);
    }
    let stored = StoredLease { owner: OriginId(7), ends_at: Timestamp::from_ms(9) };
    assert_eq!(StoredLease::decode(&stored.encode()), Some(stored));
}

/// Configured at once, VMs would all look at one moment, and none in the time between.
#[test]
fn vms_without_the_lease_look_for_it_at_different_times() {
    let mut lease = Lease::new(OriginId(1));
    let waits: std::collections::BTreeSet<u64> = (0..50_u64)
        .map(|random| {
            let now = Timestamp::from_ms(1_000_000);
            lease.note(false, now, random.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            (1..=2 * CHECK_MS).find(|ms| lease.is_due(now.plus_ms(*ms))).unwrap()
        })
        .collect();
    assert!(waits.iter().all(|wait_ms| (CHECK_MS / 2..=CHECK_MS).contains(wait_ms)), "{waits:?}");
    assert!(waits.len() > 20, "{waits:?}");
}
