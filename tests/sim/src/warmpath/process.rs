//! One proxy process: a map, and a router over it in the VM of each worker.

use std::mem;
use warmpath_core::config::Config;
use warmpath_core::cost::Weights;
use warmpath_core::limits::CELL_BYTES_DEFAULT;
use warmpath_core::router::{Input, LocalMap, Output, PluginId, Router, UplinkId};
use warmpath_core::time::Timestamp;

/// The one plugin of each VM.
pub(super) const PLUGIN: PluginId = PluginId(1);

/// Names a VM by its process and its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct VmAt {
    pub(super) process: usize,
    pub(super) worker: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Process {
    map: LocalMap,
    pub(super) vms: Vec<Vm>,
}

/// One worker's VM.
#[derive(Debug)]
pub(super) struct Vm {
    pub(super) router: Router<LocalMap>,
    /// The stream that it has open.
    pub(super) uplink: Option<UplinkId>,
    /// Time between two ticks, in milliseconds, and how often it was set: a tick of an older pace is void.
    tick_ms: u64,
    pace: u64,
}

/// What comes of one input beside what is done with the streams.
#[derive(Debug, Default)]
pub(super) struct Handled {
    pub(super) outputs: Vec<Output>,
    /// The pace of the ticks, where it is a new one.
    pub(super) new_pace: bool,
}

// === impl Process ===

impl Process {
    pub(super) fn new() -> Self {
        Self { map: LocalMap::default(), vms: Vec::new() }
    }

    /// Builds the VM of a worker: the first of it, or one in place of the last one, of which nothing is left but what is in
    /// the map. Returns the stream that the last one had open.
    pub(super) fn build(&mut self, worker: usize, seed: u64, weights: Weights) -> Option<UplinkId> {
        let router = Router::new(self.map.clone(), CELL_BYTES_DEFAULT, seed).with_weights(weights);
        if let Some(vm) = self.vms.get_mut(worker) {
            vm.router = router;
            vm.tick_ms = 0;
            vm.pace += 1;
            vm.uplink.take()
        } else {
            self.vms.push(Vm { router, uplink: None, tick_ms: 0, pace: 0 });
            None
        }
    }
}

// === impl Vm ===

impl Vm {
    pub(super) fn configure(&mut self, now: Timestamp, config: Config, node: String) -> Handled {
        self.handle(now, Input::Configure { plugin: PLUGIN, config, node })
    }

    pub(super) fn handle(&mut self, now: Timestamp, input: Input<'_>) -> Handled {
        let mut outputs = Vec::new();
        self.router.handle(&now, input, &mut outputs);
        let mut new_pace = false;
        for output in &outputs {
            if let Output::WakeIn(tick_ms) = output {
                new_pace |= mem::replace(&mut self.tick_ms, *tick_ms) != *tick_ms;
            }
        }
        self.pace += u64::from(new_pace);
        Handled { outputs, new_pace }
    }

    /// When the next tick is due, and at which pace.
    pub(super) fn next_tick(&self, now: Timestamp) -> (Timestamp, u64) {
        (now.plus_ms(self.tick_ms), self.pace)
    }

    /// Whether a tick of this pace is still due.
    pub(super) fn is_of_pace(&self, pace: u64) -> bool {
        self.pace == pace
    }
}
