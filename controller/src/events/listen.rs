//! Engines that connect to the controller, instead of being connected to.
//!
//! Who one is follows from the address that it connects from, which must be that of a followed engine. Where several engines
//! have that address, the topic must name the port: `kv@<ip>:<port>@<model>`, the form that llm-d's guides use. The address
//! in a topic is not believed: an engine must not speak for another one.

use super::feed::Arrival;
use super::frame::{Message, decode};
use super::lines::Lines;
use super::zmtp::{Connection, Kind};
use crate::metrics::Metrics;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Connections of engines at once.
const CONNECTIONS_MAX: usize = 4096;

/// After one could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Why a connection is closed that comes from no engine's address.
const STRANGER: &str = "stranger";

/// Takes the connections of engines, for as long as it is polled.
pub(super) async fn listen(listener: TcpListener, lines: Lines, metrics: Arc<Metrics>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut engines = JoinSet::new();
    for connection in 0.. {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        // A connection that is gone before it is accepted is no reason to stop. A lack of descriptors lasts longer.
        let Ok((stream, peer)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        while engines.try_join_next().is_some() {}
        if !lines.expect(peer.ip().to_canonical()) {
            // Nothing of a stranger is read: it could fill the memory. An engine that is not known yet connects again.
            metrics.kv.connections_failed.get_or_create(&[("reason", STRANGER)]).inc();
            continue;
        }
        let (lines, metrics) = (lines.clone(), Arc::clone(&metrics));
        engines.spawn(async move {
            let why = follow(stream, peer, connection, &lines, &metrics).await;
            metrics.kv.connections_failed.get_or_create(&[("reason", why)]).inc();
            drop(permit);
        });
    }
}

/// One connection. Returns why it has ended.
async fn follow(
    stream: TcpStream,
    peer: SocketAddr,
    connection: u64,
    lines: &Lines,
    metrics: &Metrics,
) -> &'static str {
    let mut socket = match Connection::open(stream, Kind::Subscriber).await {
        Ok(socket) => socket,
        Err(error) => return error.label(),
    };
    if let Err(error) = socket.subscribe("").await {
        return error.label();
    }
    let mut feed: Option<mpsc::Sender<Arrival>> = None;
    let why = loop {
        let message = match socket.receive().await {
            Ok(parts) => Message::published(&parts),
            Err(error) => break error.label(),
        };
        let message = match message {
            Ok(message) => message,
            Err(error) => break error.label(),
        };
        if feed.as_ref().is_none_or(mpsc::Sender::is_closed) {
            feed = find(peer, &message, lines);
            if let Some(feed) = &feed {
                // Whoever does not take this one does not take the next one either.
                let _ = feed.send(Arrival::Connected { connection }).await;
            } else {
                metrics.kv.undecodable.get_or_create(&[("reason", "unknown_engine")]).inc();
            }
        }
        if let Some(feed) = &feed {
            let _ = feed.send(Arrival::Message { connection, message }).await;
        }
    };
    if let Some(feed) = feed {
        let _ = feed.send(Arrival::Disconnected { connection, why }).await;
    }
    why
}

/// The feed of the engine that has sent a message.
fn find(peer: SocketAddr, message: &Message, lines: &Lines) -> Option<mpsc::Sender<Arrival>> {
    let rank = decode(&message.payload).ok().and_then(|decoded| decoded.rank).unwrap_or(0);
    lines.of_peer(peer.ip().to_canonical(), port(&message.topic), rank)
}

/// The port that a topic names.
fn port(topic: &[u8]) -> Option<u16> {
    let topic = std::str::from_utf8(topic).ok()?;
    let (address, _model) = topic.strip_prefix("kv@")?.split_once('@')?;
    address.parse::<SocketAddr>().ok().map(|address| address.port())
}

/// The one engine at an address among several: by its port, or because it is the only one.
pub(super) fn choose(
    engines: impl Iterator<Item = SocketAddr>,
    ip: IpAddr,
    port: Option<u16>,
) -> Option<SocketAddr> {
    let mut at: Vec<SocketAddr> = engines.filter(|engine| engine.ip().to_canonical() == ip).collect();
    at.dedup();
    match port {
        Some(port) => at.into_iter().find(|engine| engine.port() == port),
        None if at.len() == 1 => at.pop(),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{choose, port};
    use std::net::SocketAddr;

    #[test]
    fn an_engine_is_known_by_its_address_and_by_the_port_of_its_topic() {
        let engines: Vec<SocketAddr> =
            ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.2:81"].map(|at| at.parse().unwrap()).to_vec();
        let of = |ip: &str, port| choose(engines.iter().copied(), ip.parse().unwrap(), port);
        assert_eq!(of("10.0.0.1", None), Some(engines[0]));
        assert_eq!(of("10.0.0.2", None), None, "two have it");
        assert_eq!(of("10.0.0.2", Some(81)), Some(engines[2]));
        assert_eq!(of("10.0.0.9", Some(80)), None, "a stranger");
        assert_eq!(port(b"kv@10.0.0.2:81@org/model@v1"), Some(81));
        assert_eq!(port(b"kv@[fd00::1]:81@m"), Some(81));
        assert_eq!(port(b"kv@10.0.0.2@m"), None);
        assert_eq!(port(b"kv-events"), None);
    }
}
