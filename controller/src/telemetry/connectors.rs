//! The names that writing KV connectors give their engines, for the decode legs that have to state them.
//!
//! With vLLM's Mooncake connector, a decode engine finds the prefill engine's workers at that engine's bootstrap server, by the
//! engine's id. The id changes with the process, and only the bootstrap server shows it. Proxies cannot ask it themselves: its port
//! is in none of their clusters.

use fnv::FnvHashMap;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use warmpath_core::limits::NAME_BYTES_MAX;
use warmpath_core::split::BOOTSTRAP_PORT_DEFAULT;
use warmpath_core::wire::{Pools, Transfer, TransferProtocol};

/// The path of a bootstrap server's list of engines (vLLM 0.32, `mooncake_utils.py`).
pub(super) const QUERY_PATH: &str = "/query";

/// The id of each engine, by its address. Its copies share one state.
#[derive(Clone, Debug, Default)]
pub struct Connectors {
    engines: Arc<Mutex<FnvHashMap<SocketAddr, String>>>,
    changed: Arc<Notify>,
}

/// An engine as its bootstrap server lists it, by its data-parallel rank.
#[derive(Deserialize)]
struct Listed {
    engine_id: String,
}

// === impl Connectors ===

impl Connectors {
    /// Waits for the next change.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Adds the ids of the engines of pools whose protocol has them.
    pub fn fill(&self, pools: &mut Pools) {
        let engines = self.lock();
        let writing = pools.pools.iter_mut().filter(|pool| pool.transfer.as_ref().is_some_and(has_ids));
        for endpoint in writing.flat_map(|pool| &mut pool.endpoints) {
            let id = endpoint.address.parse().ok().and_then(|address: SocketAddr| engines.get(&address));
            endpoint.engine = id.cloned().unwrap_or_default();
        }
    }

    /// Takes in a bootstrap server's response. What is no list changes nothing. Of several ranks, the first speaks for all.
    pub(super) fn take(&self, address: SocketAddr, body: &[u8]) {
        let Ok(ranks) = serde_json::from_slice::<BTreeMap<String, Listed>>(body) else { return };
        let Some(Listed { engine_id }) = ranks.into_values().next() else { return };
        if engine_id.is_empty() || engine_id.len() > NAME_BYTES_MAX {
            return;
        }
        if self.lock().insert(address, engine_id.clone()) != Some(engine_id) {
            self.changed.notify_one();
        }
    }

    /// Forgets the ids of engines that are in no pool any more.
    pub(super) fn retain(&self, is_kept: impl Fn(&SocketAddr) -> bool) {
        self.lock().retain(|address, _| is_kept(address));
    }

    fn lock(&self) -> MutexGuard<'_, FnvHashMap<SocketAddr, String>> {
        // No update leaves it half done.
        self.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The port at which the engines of a pool list their ids; `None`: they have none.
pub(super) fn query_port(transfer: Option<&Transfer>) -> Option<u16> {
    let transfer = transfer.filter(|transfer| has_ids(transfer))?;
    let port = u16::try_from(transfer.bootstrap_port).ok().filter(|port| *port != 0);
    Some(port.unwrap_or(BOOTSTRAP_PORT_DEFAULT))
}

fn has_ids(transfer: &Transfer) -> bool {
    transfer.protocol() == TransferProtocol::Push
}

#[cfg(test)]
mod tests {
    use super::*;
    use warmpath_core::wire::{Pool, PoolEndpoint};

    const LIST: &[u8] = br#"{"0":{"engine_id":"e-1","worker_addr":{"0":{"0":"10.0.0.1:5000"}}}}"#;

    fn pools(protocol: TransferProtocol) -> Pools {
        let endpoint = PoolEndpoint { address: "10.0.0.1:8000".to_owned(), ..PoolEndpoint::default() };
        let transfer = Some(Transfer { protocol: protocol.into(), ..Transfer::default() });
        Pools { pools: vec![Pool { endpoints: vec![endpoint], transfer, ..Pool::default() }] }
    }

    fn filled(connectors: &Connectors, protocol: TransferProtocol) -> String {
        let mut pools = pools(protocol);
        connectors.fill(&mut pools);
        pools.pools.remove(0).endpoints.remove(0).engine
    }

    #[test]
    fn the_id_of_an_engine_is_that_of_its_last_process_and_only_where_it_is_needed() {
        let connectors = Connectors::default();
        let address = "10.0.0.1:8000".parse().unwrap();
        connectors.take(address, LIST);
        connectors.take(address, b"<html>");
        connectors.take(address, b"{}");
        assert_eq!(filled(&connectors, TransferProtocol::Push), "e-1");
        assert_eq!(filled(&connectors, TransferProtocol::Pull), "");
        connectors.take(address, br#"{"0":{"engine_id":"e-2"}}"#);
        assert_eq!(filled(&connectors, TransferProtocol::Push), "e-2");
        connectors.retain(|_| false);
        assert_eq!(filled(&connectors, TransferProtocol::Push), "");
    }

    #[test]
    fn only_protocols_with_ids_have_a_port_to_ask() {
        let transfer = |protocol: TransferProtocol, bootstrap_port| Transfer {
            protocol: protocol.into(),
            bootstrap_port,
            ..Transfer::default()
        };
        let port = |protocol, port| query_port(Some(&transfer(protocol, port)));
        assert_eq!(port(TransferProtocol::Push, 0), Some(BOOTSTRAP_PORT_DEFAULT));
        assert_eq!(port(TransferProtocol::Push, 9000), Some(9000));
        assert_eq!(port(TransferProtocol::Bootstrap, 9000), None);
        assert_eq!(query_port(None), None);
    }
}
