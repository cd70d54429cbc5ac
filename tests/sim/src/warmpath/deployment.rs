//! How many proxies there are, what lies between them and the controller, and what goes wrong meanwhile.

use warmpath_core::cost::Weights;

/// What happens to the messages of a stream. A stream is ordered and reliable, as gRPC is: no message overtakes another
/// of its direction, and one that is lost takes the stream with it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NetworkSpec {
    /// How late each message is, in seconds.
    pub delay_s: f64,
    /// How much later it may be beyond that, evenly, in seconds.
    pub jitter_s: f64,
    /// Share of messages with which their stream breaks.
    pub break_share: f64,
}

/// What engines report of their caches, on its way to the controller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReportsSpec {
    /// How late it arrives, in seconds.
    pub delay_s: f64,
    /// Share of the batches that are lost.
    pub lost_share: f64,
}

/// The proxies, the network and its accidents.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deployment {
    /// Proxy processes.
    pub proxies: usize,
    /// Workers of each, which have a router each and share one map.
    pub workers: usize,
    /// The way between a process and the controller.
    pub network: NetworkSpec,
    /// Time between two restarts of the controller, in seconds.
    pub controller_restarts_s: Option<f64>,
    /// Time between two rebuilds of a worker's VM, in seconds; the workers of all processes take turns.
    pub vm_rebuilds_s: Option<f64>,
}

/// Ours in a deployment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProxiesSpec {
    /// The deployment.
    pub deployment: Deployment,
    /// Decides ties, delays, breaks and names.
    pub seed: u64,
    /// How much each term of the cost counts.
    pub weights: Weights,
    /// How long requests may wait for room, in seconds; 0: none does.
    pub room_s: u32,
    /// What engines report of their caches; `None`: nothing.
    pub reports: Option<ReportsSpec>,
}

// === impl Deployment ===

impl Deployment {
    /// One router beside the controller: nothing is late.
    pub const EXACT: Self = Self {
        proxies: 1,
        workers: 1,
        network: NetworkSpec { delay_s: 0.0, jitter_s: 0.0, break_share: 0.0 },
        controller_restarts_s: None,
        vm_rebuilds_s: None,
    };
}

// === impl ProxiesSpec ===

impl ProxiesSpec {
    /// One router beside the controller.
    pub fn exact(seed: u64) -> Self {
        Self { deployment: Deployment::EXACT, seed, weights: Weights::default(), room_s: 0, reports: None }
    }
}
