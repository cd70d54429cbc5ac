//! ClusterIPs: accepts connections, and passes them on to the ready endpoints in turn.

use super::table::Table;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// The proxies of all Services.
#[derive(Default)]
pub(super) struct Proxies {
    by_address: BTreeMap<SocketAddr, (Arc<Mutex<Behind>>, AbortHandle)>,
    tasks: JoinSet<()>,
}

/// Where connections go.
#[derive(Debug, Default)]
struct Behind {
    endpoints: Vec<SocketAddr>,
    turn: usize,
}

// === impl Proxies ===

impl Proxies {
    /// Listens for each Service of the table, and for no other.
    pub(super) fn follow(&mut self, table: &Table) {
        let wanted: BTreeMap<SocketAddr, Vec<SocketAddr>> =
            table.entries.iter().flat_map(|entry| entry.ports.clone()).collect();
        self.by_address.retain(|address, (_, task)| {
            let is_wanted = wanted.contains_key(address);
            if !is_wanted {
                task.abort();
            }
            is_wanted
        });
        for (address, endpoints) in wanted {
            let (behind, _) = self.by_address.entry(address).or_insert_with(|| {
                let behind = Arc::new(Mutex::new(Behind::default()));
                let task = self.tasks.spawn(accept(address, Arc::clone(&behind)));
                (behind, task)
            });
            behind.lock().unwrap_or_else(PoisonError::into_inner).endpoints = endpoints;
        }
    }
}

// === impl Behind ===

impl Behind {
    fn next(&mut self) -> Option<SocketAddr> {
        self.turn = self.turn.wrapping_add(1);
        let count = self.endpoints.len().max(1);
        self.endpoints.get(self.turn % count).copied()
    }
}

async fn accept(address: SocketAddr, behind: Arc<Mutex<Behind>>) {
    let Ok(listener) = TcpListener::bind(address).await else { return };
    while let Ok((mut client, _)) = listener.accept().await {
        let endpoint = behind.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some(endpoint) = endpoint else { continue };
        // Connections go on when their Service is gone, as the kernel's do.
        tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(endpoint).await {
                let _ended = copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}
