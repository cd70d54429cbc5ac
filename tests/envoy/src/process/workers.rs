//! Connections to chosen worker threads of an Envoy. The kernel deals connections to workers; which one it was
//! is read from Envoy's own count of connections by worker.

use super::{Envoy, EnvoyError};
use crate::resources::GATEWAY;
use crate::wait::until;
use std::collections::BTreeMap;
use warmpath_http::Connection;

/// Connections tried for each worker: by chance alone, all of them miss one of two workers once in 2^32 times.
const TRIES: usize = 32;

// === impl Envoy ===

impl Envoy {
    /// A connection to each of its workers, in their order.
    pub async fn connection_of_each_worker(&self, workers: usize) -> Result<Vec<Connection>, EnvoyError> {
        let gateway = self.listener(GATEWAY).await?;
        let mut found = BTreeMap::new();
        for _ in 0..workers * TRIES {
            if found.len() == workers {
                break;
            }
            let before = self.connections().await?;
            let connection = Connection::open(gateway).await?;
            let taken = until("a worker to take the connection", async || {
                let now = self.connections().await.ok()?;
                now.into_iter().find(|(worker, count)| before.get(worker).is_none_or(|old| old < count))
            });
            let (worker, _) = taken.await.map_err(|wait| self.not_ready(wait))?;
            found.entry(worker).or_insert(connection);
        }
        if found.len() == workers {
            return Ok(found.into_values().collect());
        }
        Err(EnvoyError::Idle { workers: workers - found.len() })
    }

    /// Connections that each worker of the gateway's listener has taken.
    async fn connections(&self) -> Result<BTreeMap<String, u64>, EnvoyError> {
        let stats = self.admin().stats("listener.127.0.0.1").await?;
        let of_worker = |(name, count): (String, u64)| {
            let (_, worker) = name.strip_suffix(".downstream_cx_total")?.split_once(".worker_")?;
            Some((worker.to_owned(), count))
        };
        Ok(stats.into_iter().filter_map(of_worker).collect())
    }
}
