//! Several VMs of a process and a controller: whatever breaks, in the end every VM knows what the controller published.
//!
//! The naive model is one view that applies everything in order. Streams break with messages on their way, controllers
//! restart, VMs are built anew, siblings get in each other's way in shared data, and the clock jumps.

use crate::support::{Contended, PLUGIN, SoloVm, address, controlled, pools_of};
use proptest::prelude::*;
use prost::Message;
use std::collections::VecDeque;
use warmpath_core::ids::EndpointId;
use warmpath_core::router::{Input, Output, UplinkId};
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;
use warmpath_core::wire::{Down, EngineStatus, Event, Health, Kind, Phase, Up};

const VMS: usize = 3;
const ENDPOINTS: usize = 4;
const STEP_MS: u64 = 25;
/// Long enough for a lease to end, for the longest wait between two streams and for what is sent then.
const SETTLE_STEPS: u64 = 4_000 / STEP_MS;

#[derive(Clone, Debug)]
enum Op {
    /// The controller names other endpoints, and what each engine reports.
    Pools { first: usize, count: usize, running: u32 },
    /// An engine reports something else.
    Status { endpoint: usize, running: u32 },
    /// Messages of the controller arrive.
    Deliver { messages: usize },
    /// So do messages of streams that newer ones have taken the place of, at the VMs that had them; the last one is the end.
    Late { messages: usize },
    /// Time passes and a VM is woken.
    Wake { vm: usize, ms: u64 },
    /// The stream breaks, with whatever was on its way.
    Break,
    /// Another instance of the controller takes the place of this one.
    Restart,
    /// A VM traps and is built anew; `None`: the one that holds the stream.
    Rebuild { vm: Option<usize> },
    /// The next stores meet another VM's.
    Congest { stores: u32 },
    /// The clock is set back.
    SetBack { ms: u64 },
}

/// A controller as simple as it can be: all that it ever published, and the view that follows from it.
struct Controller {
    instance: u64,
    published: Vec<Event>,
    view: View,
    stream: Option<Stream>,
    /// Those that newer ones have taken the place of, with what is still on its way.
    superseded: VecDeque<Stream>,
    streams: u32,
}

struct Stream {
    uplink: UplinkId,
    vm: usize,
    sent: usize,
    on_its_way: VecDeque<Down>,
}

struct World {
    map: Contended,
    vms: Vec<SoloVm>,
    seed: u64,
    now: Timestamp,
    controller: Controller,
}

// === impl Controller ===

impl Controller {
    fn publish(&mut self, kind: Kind) {
        let event = Event::from(kind);
        self.view.apply(&event, Timestamp::default());
        self.published.push(event);
    }

    /// The first message of a proxy says where it wants to go on.
    fn greet(&mut self, up: &Up) {
        let (Some(hello), Some(stream)) = (&up.hello, &mut self.stream) else { return };
        let resume = hello.resume.filter(|resume| resume.instance == self.instance);
        let reached = resume.and_then(|resume| usize::try_from(resume.generation).ok());
        let down = |phase: Phase, generation: usize, events| Down {
            instance: self.instance,
            generation: generation as u64,
            phase: phase.into(),
            events,
        };
        let end = self.published.len();
        if let Some(reached) = reached.filter(|reached| *reached <= end) {
            stream.on_its_way.push_back(down(Phase::Resumed, end, self.published[reached..].to_vec()));
        } else {
            stream.on_its_way.push_back(down(Phase::Begin, 0, Vec::new()));
            for event in self.view.export_endpoints() {
                stream.on_its_way.push_back(down(Phase::Item, 0, vec![event]));
            }
            stream.on_its_way.push_back(down(Phase::Done, end, Vec::new()));
        }
        stream.sent = end;
    }

    /// Puts what was published since on its way.
    fn send(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        for at in stream.sent..self.published.len() {
            let events = vec![self.published[at].clone()];
            let generation = at as u64 + 1;
            let down = Down { instance: self.instance, generation, phase: Phase::Delta.into(), events };
            stream.on_its_way.push_back(down);
        }
        stream.sent = self.published.len();
    }

    fn drop_streams(&mut self, is_dropped: impl Fn(&Stream) -> bool) {
        self.stream.take_if(|stream| is_dropped(stream));
        self.superseded.retain(|stream| !is_dropped(stream));
    }
}

// === impl World ===

impl World {
    fn new() -> Self {
        let (map, now) = (Contended::default(), Timestamp::from_ms(1_000_000));
        let vms = (1..=VMS as u64).map(|seed| SoloVm::new(&map, controlled(), seed * 0x9E37, now)).collect();
        let controller = Controller {
            instance: 1,
            published: Vec::new(),
            view: View::default(),
            stream: None,
            superseded: VecDeque::new(),
            streams: 0,
        };
        Self { map, vms, seed: VMS as u64, now, controller }
    }

    /// Gives a VM an input, and does what it then wants of the network.
    fn handle(&mut self, vm: usize, input: Input<'_>) {
        self.vms[vm].handle(self.now, input);
        loop {
            let wanted = std::mem::take(&mut self.vms[vm].out);
            let mut opened = None;
            for output in wanted {
                match output {
                    Output::OpenUplink { .. } => opened = Some(self.open(vm)),
                    Output::SendUplink { uplink, message } if self.is_open(uplink) => {
                        self.controller.greet(&Up::decode(message.as_slice()).unwrap());
                    }
                    Output::CancelUplink { uplink } => {
                        self.controller.drop_streams(|stream| stream.uplink == uplink);
                    }
                    _ => {}
                }
            }
            let Some(uplink) = opened else { return };
            self.vms[vm].handle(self.now, Input::UplinkOpened { uplink: Some(uplink) });
        }
    }

    /// One process has one stream: a controller ends the older one, which its VM may notice later.
    fn open(&mut self, vm: usize) -> UplinkId {
        self.controller.send();
        let older = self.controller.stream.take();
        self.controller.superseded.extend(older);
        self.controller.streams += 1;
        let uplink = UplinkId(self.controller.streams);
        self.controller.stream = Some(Stream { uplink, vm, sent: 0, on_its_way: VecDeque::new() });
        uplink
    }

    fn is_open(&self, uplink: UplinkId) -> bool {
        self.controller.stream.as_ref().is_some_and(|stream| stream.uplink == uplink)
    }

    fn break_stream(&mut self) {
        if let Some(stream) = self.controller.stream.take() {
            self.handle(stream.vm, Input::UplinkClosed { uplink: stream.uplink });
        }
    }

    fn deliver(&mut self, messages: usize) {
        self.controller.send();
        for _ in 0..messages {
            let Some(stream) = &mut self.controller.stream else { return };
            let (vm, uplink) = (stream.vm, stream.uplink);
            let Some(down) = stream.on_its_way.pop_front() else { return };
            self.handle(vm, Input::UplinkMessage { uplink, message: &down.encode_to_vec() });
        }
    }

    fn deliver_late(&mut self, messages: usize) {
        for _ in 0..messages {
            let Some(mut stream) = self.controller.superseded.pop_front() else { return };
            let (vm, uplink) = (stream.vm, stream.uplink);
            if let Some(down) = stream.on_its_way.pop_front() {
                self.controller.superseded.push_front(stream);
                self.handle(vm, Input::UplinkMessage { uplink, message: &down.encode_to_vec() });
            } else {
                self.handle(vm, Input::UplinkClosed { uplink });
            }
        }
    }

    fn status(&mut self, endpoint: usize, running: u32) {
        self.controller.publish(Kind::EngineStatus(EngineStatus {
            endpoint: EndpointId::of(&address(endpoint)).0,
            health: Health::Healthy.into(),
            running,
            ..EngineStatus::default()
        }));
    }

    fn perform(&mut self, op: &Op) {
        match *op {
            Op::Pools { first, count, running } => {
                self.controller.publish(Kind::Pools(pools_of(first..first + count)));
                // As a controller does: an endpoint that is new to it is scraped before long.
                (first..first + count).for_each(|endpoint| self.status(endpoint, running));
            }
            Op::Status { endpoint, running } => self.status(endpoint, running),
            Op::Deliver { messages } => self.deliver(messages),
            Op::Late { messages } => self.deliver_late(messages),
            Op::Wake { vm, ms } => {
                self.now = self.now.plus_ms(ms);
                self.handle(vm, Input::Tick { plugin: PLUGIN });
            }
            Op::Break => self.break_stream(),
            Op::Restart => {
                self.break_stream();
                self.controller.instance += 1;
                self.controller.published.clear();
            }
            Op::Rebuild { vm } => {
                let holder = self.controller.stream.as_ref().map(|stream| stream.vm);
                let Some(vm) = vm.or(holder) else { return };
                // The host drops the streams of a VM that traps.
                self.controller.drop_streams(|stream| stream.vm == vm);
                self.seed += 1;
                self.vms[vm] = SoloVm::new(&self.map, controlled(), self.seed * 0x9E37, self.now);
            }
            Op::Congest { stores } => self.map.congest(stores),
            Op::SetBack { ms } => self.now = Timestamp::from_ms(self.now.ms() - ms),
        }
    }

    /// Nothing breaks any more: all are woken and everything arrives.
    fn settle(&mut self) {
        self.map.congest(0);
        self.deliver_late(usize::MAX);
        for _ in 0..SETTLE_STEPS {
            self.now = self.now.plus_ms(STEP_MS);
            for vm in 0..VMS {
                self.handle(vm, Input::Tick { plugin: PLUGIN });
            }
            self.deliver(usize::MAX);
        }
    }
}

/// Every endpoint with what its engine last reported.
fn known(view: &View) -> Vec<(String, u32)> {
    let mut known: Vec<(String, u32)> =
        view.endpoints().map(|(_, endpoint)| (endpoint.address.clone(), endpoint.status().running)).collect();
    known.sort();
    known
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (0..ENDPOINTS, 1..=ENDPOINTS, 0_u32..9)
            .prop_map(|(first, count, running)| Op::Pools { first, count, running }),
        3 => (0..2 * ENDPOINTS, 0_u32..9).prop_map(|(endpoint, running)| Op::Status { endpoint, running }),
        6 => (0_usize..6).prop_map(|messages| Op::Deliver { messages }),
        2 => (0_usize..6).prop_map(|messages| Op::Late { messages }),
        10 => (0..VMS, 0_u64..400).prop_map(|(vm, ms)| Op::Wake { vm, ms }),
        1 => Just(Op::Break),
        1 => Just(Op::Restart),
        3 => prop::option::of(0..VMS).prop_map(|vm| Op::Rebuild { vm }),
        2 => (0_u32..200).prop_map(|stores| Op::Congest { stores }),
        1 => (0_u64..5_000).prop_map(|ms| Op::SetBack { ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_vm_knows_in_the_end_what_the_controller_published(ops in prop::collection::vec(op(), 1..80)) {
        let mut world = World::new();
        for op in &ops {
            world.perform(op);
        }
        world.settle();
        let published = known(&world.controller.view);
        for (number, vm) in world.vms.iter().enumerate() {
            prop_assert_eq!(known(vm.router.view()), published.clone(), "VM {}", number);
        }
    }
}

/// The VM that had the stream was stopped, with messages on their way, while another one followed the controller.
#[test]
fn what_a_stopped_vm_receives_late_does_not_count_as_the_newest() {
    let mut world = World::new();
    world.settle();
    world.perform(&Op::Pools { first: 0, count: 1, running: 1 });
    let stopped = world.controller.stream.as_ref().expect("one of them holds the stream").vm;
    world.controller.send();
    let next = (stopped + 1) % VMS;
    while world.controller.stream.as_ref().is_some_and(|stream| stream.vm == stopped) {
        world.perform(&Op::Wake { vm: next, ms: STEP_MS });
    }
    world.perform(&Op::Status { endpoint: 0, running: 0 });
    world.perform(&Op::Deliver { messages: 100 });
    world.perform(&Op::Late { messages: 100 });
    for vm in 0..VMS {
        world.perform(&Op::Wake { vm, ms: STEP_MS });
        assert_eq!(known(world.vms[vm].router.view()), known(&world.controller.view), "VM {vm}");
    }
}

/// Sixteen conflicts cut what a message published, and the next holder resumed as if it had been.
#[test]
fn events_that_found_no_place_in_the_log_are_asked_for_again_by_the_next_holder() {
    let mut world = World::new();
    world.settle();
    world.perform(&Op::Pools { first: 0, count: 2, running: 1 });
    world.settle();
    assert!(world.controller.stream.is_some(), "one of them holds the stream");
    world.perform(&Op::Pools { first: 1, count: 3, running: 2 });
    world.perform(&Op::Congest { stores: 1_000 });
    world.perform(&Op::Deliver { messages: 100 });
    world.perform(&Op::Rebuild { vm: None });
    world.settle();
    for vm in &world.vms {
        assert_eq!(known(vm.router.view()), known(&world.controller.view));
    }
}
