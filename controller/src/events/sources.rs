//! Where an engine publishes: what its pool's configuration says, and what the engine itself lists.
//!
//! vLLM lists its sockets under `/kv_event_sources` since 0.32, one for each data-parallel rank. An engine names its own host
//! there, or all of its interfaces: the address at which the controller reaches it is used instead, with the port. That also
//! keeps an engine from sending the controller elsewhere. Names of other hosts mean that the engine connects to somebody.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use warmpath_config::KvEvents;
use warmpath_config::kv_events::Ports;
use warmpath_core::num::index;

/// The path of the list.
pub(super) const SOURCES_PATH: &str = "/kv_event_sources";
/// Ranks of one engine.
pub const RANKS_MAX: u32 = 64;
/// Bytes of a topic.
pub const TOPIC_BYTES_MAX: usize = 200;

/// How the engines of one pool publish, by the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// Whether an engine is asked first.
    pub discovers: bool,
    /// Where engines that bind publish; each rank one port further.
    pub port: Option<u16>,
    /// Where they replay; each rank one port further.
    pub replay_port: Option<u16>,
    /// Data-parallel ranks of each engine.
    pub ranks: u32,
    /// What the topics begin with that are of interest; empty for all.
    pub topic: String,
    /// Whether the engines connect to the controller.
    pub connect: bool,
}

/// Where one rank of an engine publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The rank.
    pub rank: u32,
    /// Where it is bound; none where it connects to the controller.
    pub publisher: Option<SocketAddr>,
    /// Where it replays.
    pub replay: Option<SocketAddr>,
    /// What the topics begin with that are of interest.
    pub topic: String,
}

/// What an engine lists of one rank.
#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(default)]
    enable_kv_cache_events: bool,
    publisher: Option<String>,
    endpoint: Option<String>,
    replay_endpoint: Option<String>,
    topic: Option<String>,
}

// === impl Sources ===

impl Default for Sources {
    fn default() -> Self {
        Self {
            discovers: true,
            port: None,
            replay_port: None,
            ranks: 1,
            topic: String::new(),
            connect: false,
        }
    }
}

impl Sources {
    /// What the configuration of a pool says.
    pub fn of(events: &KvEvents) -> Self {
        match events {
            KvEvents::Discovered => Self::default(),
            KvEvents::Ports(Ports { port, replay_port, ranks, topic }) => Self {
                discovers: false,
                port: Some(*port),
                replay_port: *replay_port,
                ranks: u32::from(*ranks),
                topic: topic.clone(),
                connect: false,
            },
            KvEvents::Connections => Self { discovers: false, connect: true, ..Self::default() },
            KvEvents::Off => Self { discovers: false, ..Self::default() },
        }
    }

    /// What is configured for an engine at an address.
    pub fn configured(&self, engine: SocketAddr) -> Vec<Source> {
        let of = |rank: u32| {
            let at = |port: Option<u16>| {
                let port = u32::from(port?).checked_add(rank).and_then(|port| u16::try_from(port).ok())?;
                Some(SocketAddr::new(engine.ip(), port))
            };
            let publisher = at(self.port);
            let is_one = publisher.is_some() || self.connect;
            is_one.then(|| Source {
                rank,
                publisher,
                replay: at(self.replay_port),
                topic: self.topic.clone(),
            })
        };
        (0..self.ranks.min(RANKS_MAX)).filter_map(of).collect()
    }
}

/// What an engine lists; none if it is no such list.
pub(super) fn listed(engine: SocketAddr, body: &[u8]) -> Option<Vec<Source>> {
    let ranks: BTreeMap<u32, Listed> = serde_json::from_slice(body).ok()?;
    let of = |(rank, listed): (u32, Listed)| {
        let is_on = listed.enable_kv_cache_events && listed.publisher.as_deref() == Some("zmq");
        let topic = listed.topic.unwrap_or_default();
        if !is_on || topic.len() > TOPIC_BYTES_MAX {
            return None;
        }
        let publisher = bound(engine, listed.endpoint.as_deref()?);
        let replay = listed.replay_endpoint.as_deref().and_then(|endpoint| bound(engine, endpoint));
        Some(Source { rank, publisher, replay, topic })
    };
    // By their count: ranks are numbered over all engines of a deployment.
    Some(ranks.into_iter().filter_map(of).take(index(RANKS_MAX)).collect())
}

/// The address of a socket that an engine has bound, as the controller reaches it; none if it connects to another host.
fn bound(engine: SocketAddr, endpoint: &str) -> Option<SocketAddr> {
    let (host, port) = endpoint.strip_prefix("tcp://")?.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let is_own = match host.parse::<IpAddr>() {
        Ok(ip) => ip == engine.ip() || ip.is_unspecified() || ip.is_loopback(),
        Err(_) => matches!(host, "*" | "localhost"),
    };
    is_own.then(|| SocketAddr::new(engine.ip(), port))
}

#[cfg(test)]
mod tests {
    use super::{Source, Sources, bound, listed};
    use std::net::SocketAddr;

    fn engine() -> SocketAddr {
        "10.0.0.7:8000".parse().unwrap()
    }

    fn at(address: &str) -> Option<SocketAddr> {
        address.parse().ok()
    }

    #[test]
    fn what_vllm_lists_is_reached_at_the_engines_own_address() {
        let body = br#"{"0":{"enable_kv_cache_events":true,"publisher":"zmq","endpoint":"tcp://127.0.0.1:45367",
            "replay_endpoint":"tcp://*:5558","buffer_steps":10000,"hwm":100000,"max_queue_size":100000,"topic":"kv"},
            "1":{"enable_kv_cache_events":true,"publisher":"zmq","endpoint":"tcp://*:45368","replay_endpoint":null,
            "topic":"kv"}}"#;
        let source = |rank, publisher, replay| Source { rank, publisher, replay, topic: "kv".to_owned() };
        assert_eq!(
            listed(engine(), body),
            Some(vec![
                source(0, at("10.0.0.7:45367"), at("10.0.0.7:5558")),
                source(1, at("10.0.0.7:45368"), None)
            ])
        );
        let alone = br#"{"95":{"enable_kv_cache_events":true,"publisher":"zmq","endpoint":"tcp://*:5652","topic":"kv"}}"#;
        assert_eq!(listed(engine(), alone), Some(vec![source(95, at("10.0.0.7:5652"), None)]));
        assert_eq!(listed(engine(), b"{}"), Some(Vec::new()), "events are off");
        assert_eq!(listed(engine(), br#"{"detail":"Not Found"}"#), None);
        let off = br#"{"0":{"enable_kv_cache_events":false,"publisher":"null","endpoint":"tcp://*:5557"}}"#;
        assert_eq!(listed(engine(), off), Some(Vec::new()));
    }

    #[test]
    fn a_name_of_another_host_is_one_that_the_engine_connects_to() {
        assert_eq!(bound(engine(), "tcp://*:5557"), at("10.0.0.7:5557"));
        assert_eq!(bound(engine(), "tcp://[::]:5557"), at("10.0.0.7:5557"));
        assert_eq!(bound(engine(), "tcp://10.0.0.7:5557"), at("10.0.0.7:5557"));
        assert_eq!(bound(engine(), "tcp://warmpath:5557"), None);
        assert_eq!(bound(engine(), "tcp://10.0.0.8:5557"), None, "never a third one");
        assert_eq!(bound(engine(), "ipc:///tmp/kv"), None);
        assert_eq!(bound(engine(), "tcp://*:0"), None);
    }

    #[test]
    fn ranks_are_one_port_apart() {
        let sources = Sources { port: Some(5557), replay_port: Some(6557), ranks: 2, ..Sources::default() };
        let configured = sources.configured(engine());
        assert_eq!(configured.len(), 2);
        assert_eq!((configured[1].rank, configured[1].publisher), (1, at("10.0.0.7:5558")));
        assert_eq!(configured[1].replay, at("10.0.0.7:6558"));
        assert_eq!(Sources::default().configured(engine()), [], "nothing is known");
        let connecting = Sources { connect: true, ..Sources::default() }.configured(engine());
        assert_eq!((connecting.len(), connecting[0].publisher), (1, None));
    }
}
