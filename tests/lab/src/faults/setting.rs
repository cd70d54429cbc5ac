//! What scenarios start, and the few things that they do to it.

use crate::arm::Arm;
use crate::cluster::{Cluster, Spec, params};
use warmpath_engine::{Fault, Preset};

/// Engines of a scenario.
pub(super) const ENGINES: usize = 8;

/// So fast that a response takes some milliseconds: what is measured are proxy and controller.
pub(super) const TIME_SCALE: f64 = 20.0;

/// The usual set-up.
pub(super) fn spec() -> Spec {
    Spec {
        tokens_per_chunk: 4,
        ..Spec::new(Arm::Warmpath, ENGINES, params(Preset::Qwen3On2, None), TIME_SCALE)
    }
}

/// The same fault for all engines.
pub(super) async fn fault_all(cluster: &Cluster, fault: &Fault) {
    for engine in cluster.engines() {
        engine.fault(fault.clone()).await;
    }
}
