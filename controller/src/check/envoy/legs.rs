//! The clusters through which prefill legs go: whether they obey the filter.
//!
//! A prefill leg is a call of the filter. It passes no other HTTP filter, so only its own header can say where it goes.

use super::Wanted;
use super::clusters::{names, steering};
use super::dump::Dump;
use super::walk::Gateway;
use crate::check::finding::{Check, Findings, Level};
use crate::check::json::{items, text};
use std::collections::BTreeSet;
use warmpath_core::router::DESTINATION_HEADER;

static CLUSTER: Check = Check {
    id: "split.cluster",
    worst: Level::Error,
    why: "prefill legs go through this cluster, which does not read from their header which engine they are for: they reach \
          any",
    remedy: "list the header x-gateway-destination-endpoint in override_host_sources, or name such a cluster with the pool's \
             engines in its transfer.cluster. A header_to_metadata filter does not see prefill legs",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 1] = [&CLUSTER];

/// Checks the clusters of the prefill legs. `gateways` are those that lead to engines.
pub(super) fn check(gateways: &[Gateway<'_>], dump: &Dump<'_>, wanted: &Wanted, to: &mut Findings) {
    let mut of_legs = BTreeSet::new();
    for cluster in &wanted.leg_clusters {
        match cluster.as_deref() {
            Some(name) => {
                of_legs.insert(name);
            }
            None => of_legs.extend(names(gateways)),
        }
    }
    for name in of_legs {
        let subject = format!("cluster {name}");
        let Some(cluster) = dump.clusters.get(name) else {
            to.bad(&CLUSTER, subject, "there is none of this name");
            continue;
        };
        let sources = steering(cluster).map(|policy| items(policy, "/override_host_sources"));
        let headers: Vec<&str> =
            sources.into_iter().flatten().map(|source| text(source, "/header")).collect();
        let is_read = headers.iter().any(|header| header.eq_ignore_ascii_case(DESTINATION_HEADER));
        to.judge(
            &CLUSTER,
            is_read,
            subject,
            if is_read { "reads the header" } else { "does not read the header" },
        );
    }
}
