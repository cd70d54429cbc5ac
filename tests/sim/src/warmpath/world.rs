//! The processes, the controller and what is under way between them, moved on from one moment to the next.
//!
//! ```text
//!   agenda ─┬─ tick, message down ─► Router ── OpenUplink, SendUplink, CancelUplink ─┐
//!           ├─ message up, scrape ─► Hub ── batches of messages ─────────────────────┤
//!           └────────────────────────────── late, in order ◄─────────────────────────┘
//! ```
//!
//! A shell as `filters/router` is one: it performs outputs and decides nothing.

use super::agenda::Agenda;
use super::clock::{SECOND_ZERO, after};
use super::controller::{self, Controller};
use super::deployment::{Deployment, ProxiesSpec};
use super::network::{Lane, Network};
use super::process::{Handled, PLUGIN, Process, VmAt};
use super::reports::Reports;
use crate::rules::Change;
use crate::workload::{Job, mix};
use bytes::Bytes;
use fnv::FnvHashMap;
use std::collections::VecDeque;
use warmpath_core::config::Config;
use warmpath_core::cost::Weights;
use warmpath_core::router::{ExchangeId, Input, Output, UplinkId};
use warmpath_core::time::Timestamp;

/// How long before second 0 the processes start, in milliseconds: enough for the lease, the stream and a snapshot.
const STARTUP_MS: u64 = 2_000;
/// VMs start within so many seconds of each other.
const STARTUP_SPREAD_S: f64 = 0.1;

/// See the module.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Timestamp,
    agenda: Agenda<Due>,
    pub(super) processes: Vec<Process>,
    pub(super) controller: Controller,
    network: Network,
    /// Every stream that was opened, by its number.
    streams: FnvHashMap<u32, Stream>,
    config: Config,
    pub(super) deployment: Deployment,
    weights: Weights,
    /// Names the next VM.
    seed: u64,
    rebuilds: usize,
    /// What engines report of their caches, where they do.
    pub(super) reports: Option<Reports>,
    /// The requests that are held.
    pub(super) held: FnvHashMap<u32, Job>,
    /// Those that are not any longer, with what their routers want done for them.
    pub(super) freed: VecDeque<(ExchangeId, Vec<Output>)>,
}

/// What happens next.
#[derive(Debug)]
enum Due {
    Start(VmAt),
    Tick { vm: VmAt, pace: u64 },
    Up { uplink: UplinkId, message: Vec<u8> },
    UpClosed(UplinkId),
    Down { uplink: UplinkId, message: Bytes },
    DownClosed(UplinkId),
    Reports,
    ControllerTick,
    ControllerStops,
    ControllerStarts,
    Rebuild,
}

#[derive(Debug)]
struct Stream {
    vm: VmAt,
    up: Lane,
    down: Lane,
    /// Nothing is sent on it any more; what was sent before arrives.
    is_over: bool,
}

// === impl World ===

impl World {
    /// A world at second 0: every process has its snapshot, if the network lets it through in time.
    pub(super) fn new(spec: ProxiesSpec, config: Config, reports: Option<Reports>) -> Self {
        let begin = Timestamp::from_ms(SECOND_ZERO.ms() - STARTUP_MS);
        let mut world = Self {
            now: begin,
            agenda: Agenda::new(),
            processes: Vec::new(),
            controller: Controller::new(config.pools.clone(), begin),
            network: Network::new(spec.deployment.network, spec.seed),
            streams: FnvHashMap::default(),
            config,
            deployment: spec.deployment,
            weights: spec.weights,
            seed: mix(spec.seed),
            rebuilds: 0,
            reports,
            held: FnvHashMap::default(),
            freed: VecDeque::new(),
        };
        world.agenda.plan(begin, Due::ControllerTick);
        for process in 0..spec.deployment.proxies {
            world.processes.push(Process::new());
            for worker in 0..spec.deployment.workers {
                let vm = VmAt { process, worker };
                world.build(vm);
                let at = world.network.within(begin, STARTUP_SPREAD_S);
                world.agenda.plan(at, Due::Start(vm));
            }
        }
        world.plan_again(SECOND_ZERO, spec.deployment.controller_restarts_s, Due::ControllerStops);
        world.plan_again(SECOND_ZERO, spec.deployment.vm_rebuilds_s, Due::Rebuild);
        world.advance(SECOND_ZERO);
        world
    }

    /// When something is due next.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.agenda.next_at()
    }

    /// Lets happen all that is due by `now`.
    pub(super) fn advance(&mut self, now: Timestamp) {
        while let Some((at, due)) = self.agenda.pop(now) {
            self.now = self.now.max(at);
            self.happen(due);
        }
        self.now = self.now.max(now);
    }

    /// Gives a router an input and does what it wants done; what concerns the request is returned.
    pub(super) fn handle(&mut self, vm: VmAt, input: Input<'_>) -> Vec<Output> {
        let now = self.now;
        let handled = self.processes[vm.process].vms[vm.worker].handle(now, input);
        self.perform(vm, handled)
    }

    /// From now on no stream breaks and nothing restarts.
    #[cfg(test)]
    pub(super) fn calm(&mut self) {
        (self.deployment.controller_restarts_s, self.deployment.vm_rebuilds_s) = (None, None);
        self.network = Network::new(super::NetworkSpec { break_share: 0.0, ..self.deployment.network }, 1);
        self.agenda.retain(|due| !matches!(due, Due::Rebuild | Due::ControllerStops));
    }

    /// Sends what the controller has to send.
    pub(super) fn pump(&mut self) {
        for (uplink, message) in self.controller.take(self.now) {
            self.send_down(uplink, message);
        }
    }

    /// What an engine holds has changed.
    pub(super) fn report(&mut self, engine: usize, changes: Vec<Change>) {
        let Some(reports) = &mut self.reports else { return };
        let at = reports.send(self.now, engine, changes);
        self.agenda.plan(at, Due::Reports);
    }

    /// The controller follows the engines that are listed now.
    pub(super) fn list_reporting(&mut self, is_listed: impl Fn(usize) -> bool) {
        let events = self.reports.as_mut().map(|reports| reports.list(is_listed));
        self.controller.publish(events.unwrap_or_default(), self.now);
        self.pump();
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Start(vm) => self.configure(vm),
            Due::Tick { vm, pace } => self.tick(vm, pace),
            Due::Up { uplink, message } => {
                if !self.controller.receive(uplink, &message, self.now) {
                    self.end_down(uplink);
                }
                self.pump();
            }
            Due::UpClosed(uplink) => self.controller.closed(uplink, self.now),
            Due::Down { uplink, message } => {
                if let Some(vm) = self.holder(uplink) {
                    self.handle(vm, Input::UplinkMessage { uplink, message: &message });
                }
            }
            Due::DownClosed(uplink) => {
                if let Some(vm) = self.holder(uplink) {
                    self.processes[vm.process].vms[vm.worker].uplink = None;
                    self.handle(vm, Input::UplinkClosed { uplink });
                }
            }
            Due::Reports => {
                let Some(reports) = &mut self.reports else { return };
                let received = reports.receive(self.now);
                for at in received.replays {
                    self.agenda.plan(at, Due::Reports);
                }
                self.controller.publish(received.events, self.now);
                self.pump();
            }
            Due::ControllerTick => {
                self.controller.tick(self.now);
                self.pump();
                self.agenda.plan(self.now.plus_ms(controller::TICK_MS), Due::ControllerTick);
            }
            Due::ControllerStops => {
                for uplink in self.controller.stop() {
                    self.end_down(uplink);
                }
                self.agenda.plan(self.now.plus_ms(controller::RESTART_MS), Due::ControllerStarts);
            }
            Due::ControllerStarts => {
                self.controller.start(self.now);
                let replayed = self.reports.as_mut().map(Reports::replay);
                self.controller.publish(replayed.unwrap_or_default(), self.now);
                self.plan_again(self.now, self.deployment.controller_restarts_s, Due::ControllerStops);
            }
            Due::Rebuild => {
                let Deployment { proxies, workers, .. } = self.deployment;
                let number = self.rebuilds;
                self.rebuilds += 1;
                self.rebuild(VmAt { process: number % proxies, worker: number / proxies % workers });
                self.plan_again(self.now, self.deployment.vm_rebuilds_s, Due::Rebuild);
            }
        }
    }

    fn plan_again(&mut self, from: Timestamp, every_s: Option<f64>, due: Due) {
        if let Some(every_s) = every_s {
            self.agenda.plan(after(from, every_s), due);
        }
    }

    /// The VM is gone, as after a trap, and another one begins over the same map.
    fn rebuild(&mut self, vm: VmAt) {
        if let Some(uplink) = self.build(vm) {
            self.end_up(uplink);
        }
        self.configure(vm);
    }

    fn build(&mut self, vm: VmAt) -> Option<UplinkId> {
        self.seed = mix(self.seed);
        self.processes[vm.process].build(vm.worker, self.seed, self.weights)
    }

    fn configure(&mut self, vm: VmAt) {
        let (config, node) = (self.config.clone(), format!("proxy-{}", vm.process));
        let handled = self.processes[vm.process].vms[vm.worker].configure(self.now, config, node);
        self.perform(vm, handled);
    }

    fn tick(&mut self, vm: VmAt, pace: u64) {
        if !self.processes[vm.process].vms[vm.worker].is_of_pace(pace) {
            return;
        }
        let outputs = self.handle(vm, Input::Tick { plugin: PLUGIN });
        self.resume(vm, outputs);
        if self.processes[vm.process].vms[vm.worker].is_of_pace(pace) {
            self.plan_tick(vm);
        }
    }

    fn plan_tick(&mut self, vm: VmAt) {
        let (at, pace) = self.processes[vm.process].vms[vm.worker].next_tick(self.now);
        self.agenda.plan(at, Due::Tick { vm, pace });
    }

    fn perform(&mut self, vm: VmAt, handled: Handled) -> Vec<Output> {
        if handled.new_pace {
            self.plan_tick(vm);
        }
        let mut others = Vec::new();
        for output in handled.outputs {
            match output {
                Output::OpenUplink { .. } => self.open(vm),
                Output::SendUplink { uplink, message } => self.send_up(uplink, message),
                Output::CancelUplink { uplink } => self.cancel(vm, uplink),
                Output::WakeIn(_) => {}
                other => others.push(other),
            }
        }
        others
    }

    /// Opens a stream. It opens in any case: that nobody is there, a proxy learns later.
    fn open(&mut self, vm: VmAt) {
        let number = u32::try_from(self.streams.len()).expect("streams are few") + 1;
        let uplink = UplinkId(number);
        let stream = Stream { vm, up: Lane::default(), down: Lane::default(), is_over: false };
        self.streams.insert(number, stream);
        self.processes[vm.process].vms[vm.worker].uplink = Some(uplink);
        self.handle(vm, Input::UplinkOpened { uplink: Some(uplink) });
    }

    fn cancel(&mut self, vm: VmAt, uplink: UplinkId) {
        self.end_up(uplink);
        let vm = &mut self.processes[vm.process].vms[vm.worker];
        vm.uplink = vm.uplink.filter(|open| *open != uplink);
    }

    fn send_up(&mut self, uplink: UplinkId, message: Vec<u8>) {
        let Some(stream) = self.streams.get_mut(&uplink.0).filter(|stream| !stream.is_over) else { return };
        if self.network.breaks() {
            return self.end(uplink);
        }
        let at = self.network.arrival(&mut stream.up, self.now);
        self.agenda.plan(at, Due::Up { uplink, message });
    }

    fn send_down(&mut self, uplink: UplinkId, message: Bytes) {
        let Some(stream) = self.streams.get_mut(&uplink.0).filter(|stream| !stream.is_over) else { return };
        if self.network.breaks() {
            return self.end(uplink);
        }
        let at = self.network.arrival(&mut stream.down, self.now);
        self.agenda.plan(at, Due::Down { uplink, message });
    }

    /// The stream breaks: each side notices behind what was sent before.
    fn end(&mut self, uplink: UplinkId) {
        self.end_up(uplink);
        if let Some(stream) = self.streams.get_mut(&uplink.0) {
            let at = self.network.arrival(&mut stream.down, self.now);
            self.agenda.plan(at, Due::DownClosed(uplink));
        }
    }

    /// The process ends a stream.
    fn end_up(&mut self, uplink: UplinkId) {
        let Some(stream) = self.streams.get_mut(&uplink.0).filter(|stream| !stream.is_over) else { return };
        stream.is_over = true;
        let at = self.network.arrival(&mut stream.up, self.now);
        self.agenda.plan(at, Due::UpClosed(uplink));
    }

    /// The controller ends a stream.
    fn end_down(&mut self, uplink: UplinkId) {
        let Some(stream) = self.streams.get_mut(&uplink.0).filter(|stream| !stream.is_over) else { return };
        stream.is_over = true;
        let at = self.network.arrival(&mut stream.down, self.now);
        self.agenda.plan(at, Due::DownClosed(uplink));
    }

    /// The VM that has a stream open.
    fn holder(&self, uplink: UplinkId) -> Option<VmAt> {
        let vm = self.streams.get(&uplink.0)?.vm;
        (self.processes[vm.process].vms[vm.worker].uplink == Some(uplink)).then_some(vm)
    }
}
