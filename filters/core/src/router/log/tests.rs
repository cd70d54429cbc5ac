//! The log under interleavings: several VMs append and read, and others come in between at every look at shared data.
//!
//! The naive model is the list of records in the order in which they were stored, taken from the stored bytes. Every VM
//! must read that list, whole and in order, less its own records and what the ring dropped and reported as overrun.

use super::*;
use crate::num::{index, u64_len};
use crate::router::shared::{LocalMap, Stored};
use crate::time::Timestamp;
use crate::wire::{Alive, Event, Prefix, Source};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// Small enough that short sequences go round it.
const SHAPE: Shape = Shape { pages: 3, page_bytes_soft_max: 120 };
const CELL_BYTES: usize = 256;
const VMS: usize = 3;

/// What all VMs of a test share.
struct Stage {
    map: LocalMap,
    vms: RefCell<Vec<Option<TestVm>>>,
    /// Which VM appends before each of the next looks at shared data.
    intruders: RefCell<VecDeque<Option<usize>>>,
    is_intruding: Cell<bool>,
    /// Numbers of the records in the order in which they were stored.
    stored: RefCell<Vec<u64>>,
    /// What each record is, by its number.
    sent: RefCell<BTreeMap<u64, Event>>,
}

/// Shared data in which another VM may come first.
#[derive(Clone)]
struct Contended(Rc<Stage>);

struct TestVm {
    log: Log,
    /// Numbers of the records that it read.
    seen: Vec<u64>,
    /// Numbers of those that it appended.
    own: BTreeSet<u64>,
    pending: Vec<Record>,
    overruns: usize,
}

#[derive(Clone, Debug)]
enum Op {
    Append { vm: usize, records: usize, intruders: Vec<Option<usize>> },
    Read { vm: usize, intruders: Vec<Option<usize>> },
    Rebuild { vm: usize },
}

// === impl Contended ===

impl Contended {
    fn let_intruder_in(&self) {
        if self.0.is_intruding.get() {
            return;
        }
        let next = self.0.intruders.borrow_mut().pop_front().flatten();
        if let Some(vm) = next {
            self.0.is_intruding.set(true);
            append(self, vm, 1);
            self.0.is_intruding.set(false);
        }
    }
}

impl SharedMap for Contended {
    fn get(&mut self, key: &str) -> Stored {
        self.let_intruder_in();
        self.0.map.clone().get(key)
    }

    fn set(&mut self, key: &str, value: &[u8], version: Option<Version>) -> Result<(), Conflict> {
        self.let_intruder_in();
        let mut map = self.0.map.clone();
        let old = Page::from_bytes(map.get(key).value);
        map.set(key, value, version)?;
        let new = Page::from_bytes(value.to_vec()).unwrap();
        let known =
            old.ok().filter(|old| old.number() == new.number()).map_or(Page::start(), |old| old.end());
        new.read(known, |record| self.0.stored.borrow_mut().push(number_of(&record.event))).unwrap();
        Ok(())
    }
}

/// Every event of these tests carries its number where it can be found again.
fn number_of(event: &Event) -> u64 {
    match &event.kind {
        Some(Kind::Alive(alive)) => alive.origin,
        Some(Kind::Prefix(prefix)) => prefix.endpoints[0],
        _ => panic!("no other kinds are sent"),
    }
}

fn event(number: u64) -> Event {
    if number.is_multiple_of(3) {
        return Kind::Alive(Alive { origin: number }).into();
    }
    // Chains that share beginnings with the ones before them.
    let cells: Vec<u64> =
        (0..2 + number % 4).map(|depth| if depth < 2 { depth } else { number * 10 + depth }).collect();
    let held = u32::try_from(cells.len()).unwrap();
    Kind::Prefix(Prefix { depth: 0, cells, endpoints: vec![number], held: vec![held] }).into()
}

fn see(stage: &Stage, seen: &mut Vec<u64>, record: &Record) {
    let number = number_of(&record.event);
    assert_eq!(Some(&record.event), stage.sent.borrow().get(&number), "a record arrives as it was sent");
    seen.push(number);
}

fn with_vm(shared: &Contended, vm: usize, run: impl FnOnce(&mut TestVm, &mut Contended)) {
    let taken = shared.0.vms.borrow_mut()[vm].take();
    // A VM does not come in between itself.
    if let Some(mut taken) = taken {
        run(&mut taken, &mut shared.clone());
        shared.0.vms.borrow_mut()[vm] = Some(taken);
    }
}

fn append(shared: &Contended, vm: usize, records: usize) {
    with_vm(shared, vm, |vm, map| {
        for _ in 0..records {
            let mut sent = shared.0.sent.borrow_mut();
            let number = u64_len(sent.len()) + 1;
            sent.insert(number, event(number));
            vm.pending.push(Record { source: Source::Local, at: Timestamp::ZERO, event: event(number) });
        }
        let TestVm { log, seen, pending, .. } = vm;
        let report = log.append(map, pending, |record| see(&shared.0, seen, &record));
        note(vm, report.read);
        for record in vm.pending.drain(..report.appended) {
            vm.own.insert(number_of(&record.event));
        }
    });
}

fn read(shared: &Contended, vm: usize) {
    with_vm(shared, vm, |vm, map| {
        let TestVm { log, seen, .. } = vm;
        let report = log.read(map, |record| see(&shared.0, seen, &record));
        note(vm, report);
    });
}

fn note(vm: &mut TestVm, report: ReadReport) {
    assert!(!report.is_malformed, "everything in the log can be read, wherever a VM begins");
    vm.overruns += usize::from(report.has_overrun);
}

fn open(shared: &Contended) -> TestVm {
    let log = Log::open(&mut shared.clone(), CELL_BYTES, SHAPE);
    TestVm { log, seen: Vec::new(), own: BTreeSet::new(), pending: Vec::new(), overruns: 0 }
}

fn stage() -> Contended {
    let shared = Contended(Rc::new(Stage {
        map: LocalMap::default(),
        vms: RefCell::default(),
        intruders: RefCell::default(),
        is_intruding: Cell::new(false),
        stored: RefCell::default(),
        sent: RefCell::default(),
    }));
    let vms = (0..VMS).map(|_| Some(open(&shared))).collect();
    *shared.0.vms.borrow_mut() = vms;
    shared
}

fn perform(shared: &Contended, op: &Op) {
    match op {
        Op::Append { vm, records, intruders } => {
            *shared.0.intruders.borrow_mut() = intruders.iter().copied().collect();
            append(shared, *vm, *records);
        }
        Op::Read { vm, intruders } => {
            *shared.0.intruders.borrow_mut() = intruders.iter().copied().collect();
            read(shared, *vm);
        }
        Op::Rebuild { vm } => {
            let fresh = open(shared);
            shared.0.vms.borrow_mut()[*vm] = Some(fresh);
        }
    }
    shared.0.intruders.borrow_mut().clear();
}

/// After all have read to the end: what was stored, against what each VM saw.
fn check(shared: &Contended) -> Result<(), TestCaseError> {
    for vm in 0..VMS {
        // The first append takes what conflicts have left, unless it finds the ring overrun, and so does a read.
        append(shared, vm, 0);
        append(shared, vm, 0);
    }
    for _ in 0..2 {
        (0..VMS).for_each(|vm| read(shared, vm));
    }
    let stored = shared.0.stored.borrow();
    let distinct: BTreeSet<&u64> = stored.iter().collect();
    prop_assert_eq!(distinct.len(), stored.len(), "nothing was stored twice");
    for vm in shared.0.vms.borrow().iter().flatten() {
        prop_assert!(vm.pending.is_empty(), "what was appended alone is in the log");
        let others: Vec<u64> = stored.iter().copied().filter(|number| !vm.own.contains(number)).collect();
        let position: BTreeMap<u64, usize> =
            others.iter().enumerate().map(|(at, number)| (*number, at)).collect();
        prop_assert!(
            vm.seen.iter().all(|number| position.contains_key(number)),
            "its own are not read again"
        );
        let seen: Vec<usize> = vm.seen.iter().map(|number| position[number]).collect();
        prop_assert!(
            seen.is_sorted_by(|a, b| a < b),
            "in order, and each once: {:?} of {:?}",
            vm.seen,
            others
        );
        let gaps = seen.windows(2).filter(|two| two[1] != two[0] + 1).count();
        prop_assert!(gaps <= vm.overruns, "{gaps} gaps in {:?} of {:?}", vm.seen, others);
        prop_assert_eq!(seen.last().copied(), others.len().checked_sub(1), "read to the end");
    }
    Ok(())
}

fn intruders() -> impl Strategy<Value = Vec<Option<usize>>> {
    prop::collection::vec(prop::option::of(0..VMS), 0..24)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..VMS, 1_usize..9, intruders())
            .prop_map(|(vm, records, intruders)| Op::Append { vm, records, intruders }),
        3 => (0..VMS, intruders()).prop_map(|(vm, intruders)| Op::Read { vm, intruders }),
        1 => (0..VMS).prop_map(|vm| Op::Rebuild { vm }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_vm_reads_one_order_whoever_comes_in_between(ops in prop::collection::vec(op(), 1..40)) {
        let shared = stage();
        for op in &ops {
            perform(&shared, op);
        }
        check(&shared)?;
    }
}

/// Pages were cut silently after sixteen conflicts in a whole append, however many pages it had.
#[test]
fn records_that_met_too_many_conflicts_stay_pending() {
    let shared = stage();
    // Another VM comes first at every look: this one never succeeds.
    let op = Op::Append { vm: 0, records: 5, intruders: vec![Some(1); 3 * index(TRIES_PER_PAGE_MAX)] };
    perform(&shared, &op);
    let pending = shared.0.vms.borrow()[0].as_ref().map(|vm| vm.pending.len());
    assert_eq!(pending, Some(5));
    check(&shared).unwrap();
}

#[test]
fn a_page_whose_predecessor_is_lost_can_be_read() {
    let shared = stage();
    // Prefixes that continue each other, over more pages than the ring has.
    append(&shared, 0, 60);
    let mut fresh = open(&shared);
    let report = fresh.log.read(&mut shared.clone(), |record| see(&shared.0, &mut fresh.seen, &record));
    assert_eq!(report, ReadReport::default());
    let stored = shared.0.stored.borrow();
    assert!(fresh.seen.len() > 4 && stored.ends_with(&fresh.seen), "{:?} of {stored:?}", fresh.seen);
}
