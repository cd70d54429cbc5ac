//! Streams to the other replicas of the controller, over which each learns what the others' proxies report.
//!
//! ```text
//!   watch (pods of the replicas) ─► one link each ═ warmpath.v1.State/Sync ═ the other replica
//!                                        └─► Hub::relay ─► own proxies
//! ```
//!
//! A replica subscribes to another one as a proxy does, with the same snapshots, deltas and resumption; only the events that it
//! is sent differ ([`crate::index::Reader`]). A separate protocol would have to solve the same problems again.

mod link;

use crate::identity::Peers;
use crate::publish::Shared;
use link::Link;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use tokio::task::AbortHandle;

/// The links to all other replicas.
#[derive(Debug)]
pub struct Replicas {
    shared: Shared,
    peers: Peers,
    links: BTreeMap<SocketAddr, AbortHandle>,
}

// === impl Replicas ===

impl Replicas {
    /// Starts without links. `peers` opens connections.
    pub fn new(shared: Shared, peers: Peers) -> Self {
        Self { shared, peers, links: BTreeMap::new() }
    }

    /// Keeps links to these replicas, and to no others. This one may be among them.
    pub fn follow(&mut self, addresses: &BTreeSet<SocketAddr>) {
        self.links.retain(|address, link| {
            let is_kept = addresses.contains(address);
            if !is_kept {
                link.abort();
            }
            is_kept
        });
        for address in addresses {
            self.links.entry(*address).or_insert_with(|| {
                let link = Link::new(*address, self.shared.clone(), self.peers.clone());
                tokio::spawn(link.run()).abort_handle()
            });
        }
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        for link in self.links.values() {
            link.abort();
        }
    }
}
