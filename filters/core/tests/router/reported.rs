//! What engines report, in every VM of a process: the same as the controller has sent, whichever part of the log a VM has missed.

use crate::support::{
    Controller, Host, LOG_PAGES, UplinkState, Vm, endpoints, pools, step, vm, with_controller,
};
use proptest::prelude::*;
use warmpath_core::ids::{CellHash, EndpointId};
use warmpath_core::time::Timestamp;
use warmpath_core::view::{Match, View};
use warmpath_core::wire::{Current, Event, Kind, PrefixDecoder, Reported, Reporting, Tier, Trust};

const ENDPOINTS: usize = 2;
/// Steps within which all VMs have found out what they lack: a checkpoint or a snapshot has come by then.
const STEPS: usize = 40;

#[derive(Clone, Debug)]
enum Op {
    /// An engine holds the first cells of a chain from now on, and no others of it.
    Hold {
        endpoint: usize,
        chain: u64,
        cells: usize,
    },
    Rely {
        endpoint: usize,
        trust: Trust,
        is_cleared: bool,
    },
    /// So many pages of the log are filled.
    Fill {
        pages: u64,
    },
    Tick {
        vm: usize,
    },
    /// Time passes, and the VM with the stream has time for a checkpoint.
    Pass,
    /// A VM traps.
    Rebuild {
        vm: usize,
    },
    /// The controller sends all that it knows, as after a break that was too long.
    Snapshot,
}

/// A controller that knows what it has sent.
struct Stage<'a> {
    host: &'a Host,
    known: View,
    controller: Controller<'a>,
    /// VMs beside the one that has the stream.
    others: Vec<Vm>,
}

fn id(endpoint: usize) -> u64 {
    EndpointId::of(&endpoints(ENDPOINTS)[endpoint]).0
}

fn cells(chain: u64) -> Vec<u64> {
    (0..12).map(|cell| chain * 1_000 + cell).collect()
}

fn reported(endpoint: usize, tier: Tier, stored: Vec<u64>, removed: Vec<u64>) -> Event {
    Kind::Reported(Reported { endpoint: id(endpoint), tier: tier.into(), stored, removed }).into()
}

fn whole(events: Vec<Event>) -> Vec<Event> {
    let mut prefixes = PrefixDecoder::default();
    let whole = |event: Event| match &event.kind {
        Some(Kind::Prefix(prefix)) => Kind::Prefix(prefixes.decode(prefix).unwrap()).into(),
        _ => event,
    };
    events.into_iter().map(whole).collect()
}

/// What a view knows of the reports of each endpoint.
fn knowledge(view: &View) -> Vec<(Trust, usize, Vec<u32>)> {
    let of = |endpoint: usize| {
        let slot = view.slot(EndpointId(id(endpoint))).unwrap();
        let found = (0..4).map(|chain| {
            let chain: Vec<CellHash> = cells(chain).into_iter().map(CellHash).collect();
            let mut found: Vec<Match> = Vec::new();
            view.find(&chain, &mut found);
            found.iter().find(|found| found.slot == slot).map_or(0, |found| found.cells)
        });
        (view.reported().trust(slot), view.reported().cells(slot, Tier::Gpu), found.collect())
    };
    (0..ENDPOINTS).map(of).collect()
}

// === impl Stage ===

impl<'a> Stage<'a> {
    fn new(host: &'a Host, first: &'a Vm) -> Self {
        let others = vec![vm(host, &with_controller()), vm(host, &with_controller())];
        let controller = Controller::accept(host, &[first]);
        let mut stage = Self { host, known: View::new(256, 3), controller, others };
        stage.known.apply(&pools(&endpoints(ENDPOINTS)), Timestamp::ZERO);
        stage.snapshot();
        stage
    }

    fn send(&mut self, events: Vec<Event>) {
        for event in &events {
            self.known.apply(event, Timestamp::ZERO);
        }
        self.controller.delta(events);
    }

    fn snapshot(&mut self) {
        self.controller.snapshot(whole(self.known.export(Timestamp::ZERO)));
        self.controller.delta(vec![Kind::Current(Current {}).into()]);
    }

    fn perform(&mut self, op: &Op) {
        match op {
            Op::Hold { endpoint, chain, cells: held } => {
                let (stored, removed) = (cells(*chain), cells(*chain).split_off(*held));
                let stored = stored.into_iter().take(*held).collect();
                self.send(vec![reported(*endpoint, Tier::Gpu, stored, removed)]);
            }
            Op::Rely { endpoint, trust, is_cleared } => {
                let (endpoint, trust, is_cleared) = (id(*endpoint), (*trust).into(), *is_cleared);
                self.send(vec![Kind::Reporting(Reporting { endpoint, trust, is_cleared }).into()]);
            }
            Op::Fill { pages } => {
                // Cells that nobody holds, as many as fill a page.
                for _ in 0..*pages {
                    self.send(vec![reported(0, Tier::Gpu, vec![], (1 << 40..(1 << 40) + 512).collect())]);
                }
            }
            Op::Tick { vm } => self.others[*vm].tick(),
            Op::Pass => step(self.host, &[self.controller.vm]),
            Op::Rebuild { vm: at } => self.others[*at] = vm(self.host, &with_controller()),
            Op::Snapshot => self.snapshot(),
        }
    }

    /// Time passes in which nothing happens.
    fn settle(&mut self) {
        for _ in 0..STEPS {
            let vms: Vec<&Vm> = std::iter::once(self.controller.vm).chain(&self.others).collect();
            step(self.host, &vms);
            if self.controller.state() != UplinkState::Open {
                self.controller = Controller::accept_as(self.host, &[self.controller.vm], 8);
                self.snapshot();
            }
            self.controller.delta(vec![Kind::Current(Current {}).into()]);
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    let trust = prop_oneof![4 => Just(Trust::Whole), 1 => Just(Trust::Partial), 1 => Just(Trust::Suspect)];
    prop_oneof![
        8 => (0..ENDPOINTS, 0_u64..4, 0_usize..=12)
            .prop_map(|(endpoint, chain, cells)| Op::Hold { endpoint, chain, cells }),
        2 => (0..ENDPOINTS, trust, any::<bool>())
            .prop_map(|(endpoint, trust, is_cleared)| Op::Rely { endpoint, trust, is_cleared }),
        2 => prop_oneof![Just(3), Just(200), Just(LOG_PAGES + 50)].prop_map(|pages| Op::Fill { pages }),
        3 => (0_usize..2).prop_map(|vm| Op::Tick { vm }),
        3 => Just(Op::Pass),
        1 => (0_usize..2).prop_map(|vm| Op::Rebuild { vm }),
        1 => Just(Op::Snapshot),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn every_vm_knows_what_was_reported_whatever_it_has_missed(
        ops in prop::collection::vec(op(), 1..24),
    ) {
        let host = Host::default();
        let first = vm(&host, &with_controller());
        let mut stage = Stage::new(&host, &first);
        for op in &ops {
            stage.perform(op);
        }
        stage.settle();
        let expected = knowledge(&stage.known);
        prop_assert_eq!(first.with_view(knowledge), expected.clone());
        for vm in &stage.others {
            prop_assert_eq!(vm.with_view(knowledge), expected.clone());
        }
    }
}

/// A removal that a VM missed must not leave it with a hit that is none, not even before it has found out what it missed.
#[test]
fn a_vm_that_the_log_has_overtaken_believes_no_report_until_it_knows_what_it_missed() {
    let host = Host::default();
    let first = vm(&host, &with_controller());
    let mut stage = Stage::new(&host, &first);
    let rely = Op::Rely { endpoint: 0, trust: Trust::Whole, is_cleared: true };
    let hold = |cells| Op::Hold { endpoint: 0, chain: 0, cells };
    for op in [rely, hold(12), Op::Tick { vm: 0 }] {
        stage.perform(&op);
    }
    let found = |vm: &Vm| vm.with_view(|view| knowledge(view)[0].clone());
    assert_eq!(found(&stage.others[0]), (Trust::Whole, 12, vec![12, 0, 0, 0]));
    stage.perform(&hold(5));
    stage.perform(&Op::Fill { pages: LOG_PAGES + 50 });
    stage.perform(&Op::Tick { vm: 0 });
    let (trust, _, cells) = found(&stage.others[0]);
    assert!(trust == Trust::Suspect && cells[0] == 0 || cells[0] == 5, "{trust:?} {cells:?}");
    stage.settle();
    assert_eq!(found(&stage.others[0]), (Trust::Whole, 5, vec![5, 0, 0, 0]));
}

/// The checkpoint from which a VM learns what it missed is older than what it has read of the log since.
#[test]
fn what_was_reported_since_a_checkpoint_is_not_lost_with_it() {
    let host = Host::default();
    let first = vm(&host, &with_controller());
    let mut stage = Stage::new(&host, &first);
    let hold = |cells| Op::Hold { endpoint: 0, chain: 0, cells };
    let late = Op::Tick { vm: 0 };
    stage.perform(&Op::Rely { endpoint: 0, trust: Trust::Whole, is_cleared: true });
    stage.perform(&hold(12));
    stage.perform(&Op::Fill { pages: LOG_PAGES + 50 });
    // It reads on, and learns later that there is a checkpoint; meanwhile the engine has evicted.
    stage.perform(&late);
    stage.perform(&Op::Fill { pages: 3 });
    for _ in 0..20 {
        stage.perform(&Op::Pass);
    }
    stage.perform(&hold(5));
    stage.perform(&late);
    stage.settle();
    let found = stage.others[0].with_view(|view| knowledge(view)[0].clone());
    assert_eq!(found, (Trust::Whole, 5, vec![5, 0, 0, 0]));
}
