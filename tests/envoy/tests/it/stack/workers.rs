//! Connections to chosen worker threads of an Envoy. The kernel deals connections to workers; which one it was
//! is read from Envoy's own count of connections by worker.

use std::collections::BTreeMap;

use warmpath_envoy::client::Connection;
use warmpath_envoy::process::Envoy;
use warmpath_envoy::resources::GATEWAY;
use warmpath_envoy::until;

/// Connections tried for each worker: by chance alone, all of them miss one of two workers once in 2^32 times.
const TRIES: u32 = 32;

/// A connection to each worker, in their order.
pub(crate) async fn one_of_each_worker(envoy: &Envoy, workers: u32) -> Vec<Connection> {
    let gateway = envoy.listener(GATEWAY).await.unwrap();
    let mut found = BTreeMap::new();
    for _ in 0..workers * TRIES {
        if found.len() == usize::try_from(workers).unwrap() {
            break;
        }
        let before = connections(envoy).await;
        let connection = Connection::open(gateway).await.unwrap();
        let worker = until("a worker to take the connection", async || {
            let now = connections(envoy).await;
            now.into_iter().find(|(worker, count)| before.get(worker).is_none_or(|old| old < count))
        });
        let (worker, _) = worker.await.unwrap();
        found.entry(worker).or_insert(connection);
    }
    assert_eq!(found.len(), usize::try_from(workers).unwrap(), "workers that took a connection");
    found.into_values().collect()
}

/// Connections that each worker of the gateway's listener has taken.
async fn connections(envoy: &Envoy) -> BTreeMap<String, u64> {
    let stats = envoy.admin().stats("listener.127.0.0.1").await.unwrap();
    let of_worker = |(name, count): (String, u64)| {
        let (_, worker) = name.strip_suffix(".downstream_cx_total")?.split_once(".worker_")?;
        Some((worker.to_owned(), count))
    };
    stats.into_iter().filter_map(of_worker).collect()
}
