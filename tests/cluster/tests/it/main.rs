//! The cluster itself, and the controller in it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of tests fail the test, as the tests themselves do"
)]

mod engines;
mod pods;

use std::process::ExitCode;
use warmpath_cluster::{Image, harness, test};

fn main() -> ExitCode {
    harness::main(
        &[
            test!(pods::a_deployment_of_engines_becomes_ready_and_reachable),
            test!(pods::a_deletion_lets_a_pod_finish_and_frees_its_name),
            test!(pods::a_crash_loop_backs_off),
            test!(pods::a_lost_node_loses_its_pods_and_others_take_over),
            test!(pods::a_service_leads_to_ready_pods_by_address_and_name),
            test!(pods::a_changed_config_map_reaches_a_running_pod),
            test!(pods::a_pod_waits_for_its_probes_and_gates),
        ],
        |cluster| {
            Box::pin(async move {
                cluster.images.add("warmpath/engine", Image::built("warmpath-engine"));
                cluster.images.add("warmpath/controller", Image::built("warmpath"));
                cluster.images.add("busybox", Image::shell());
                Ok(())
            })
        },
    )
}
