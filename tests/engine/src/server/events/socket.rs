//! The two sockets: one that publishes, bound or connected, and one that is asked for replays.

use super::config::KvEvents;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, channel::mpsc, future::BoxFuture};
use std::{io, net::IpAddr, time::Duration};
use zeromq::{PubSocket, RouterSocket, Socket, SocketEvent, SocketRecv, SocketSend, ZmqError, ZmqMessage};

/// Between attempts to connect to a subscriber that is not there.
const CONNECT_INTERVAL: Duration = Duration::from_millis(50);

/// Between attempts to bind a port that the process before still has.
const BIND_INTERVAL: Duration = Duration::from_millis(20);
const BIND_ATTEMPTS: usize = 250;

/// What `/kv_event_sources` says of the sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) struct Sources {
    /// Where events come from.
    pub(in crate::server) endpoint: String,
    /// Where replays are asked for.
    pub(in crate::server) replay_endpoint: Option<String>,
}

/// What the sockets have for the publisher.
pub(super) enum Incoming {
    /// A request for a replay: who asks, and the frames.
    Replay(Bytes, Vec<Bytes>),
    /// A subscriber is there now, or gone.
    Changed,
}

/// Both sockets, open.
pub(super) struct Sockets {
    outlet: Outlet,
    replay: Option<RouterSocket>,
}

/// The socket that publishes. As with any PUB, what is sent while nobody is there is lost.
enum Outlet {
    Open {
        socket: PubSocket,
        lost: Option<(String, mpsc::Receiver<SocketEvent>)>,
    },
    Connecting {
        endpoint: String,
        socket: BoxFuture<'static, PubSocket>,
    },
    /// Between the two.
    Neither,
}

// === impl Sockets ===

impl Sockets {
    pub(super) async fn open(config: &KvEvents, ip: IpAddr) -> io::Result<(Self, Sources)> {
        let endpoint = shifted(&config.endpoint, config.data_parallel_rank);
        let (outlet, endpoint) = match bound_to(&endpoint, ip) {
            Some(addr) => {
                let mut socket = PubSocket::new();
                let bound = bind(&mut socket, &addr).await?;
                let shown = if endpoint.ends_with(":0") { bound } else { endpoint };
                (Outlet::Open { socket, lost: None }, shown)
            }
            None => (Outlet::connecting(endpoint.clone(), PubSocket::new()), endpoint),
        };
        let (mut replay, mut replay_endpoint) = (None, None);
        if let Some(endpoint) = &config.replay_endpoint {
            let endpoint = shifted(endpoint, config.data_parallel_rank);
            let mut socket = RouterSocket::new();
            let addr = bound_to(&endpoint, ip).unwrap_or_else(|| endpoint.clone());
            let bound = bind(&mut socket, &addr).await?;
            replay_endpoint = Some(if endpoint.ends_with(":0") { bound } else { endpoint });
            replay = Some(socket);
        }
        Ok((Self { outlet, replay }, Sources { endpoint, replay_endpoint }))
    }

    pub(super) async fn send(&mut self, message: ZmqMessage) {
        if let Outlet::Open { socket, .. } = &mut self.outlet {
            // A subscriber that does not take it loses it.
            let _ = socket.send(message).await;
        }
    }

    pub(super) async fn respond(&mut self, message: ZmqMessage) {
        if let Some(replay) = &mut self.replay {
            let _ = replay.send(message).await;
        }
    }

    /// Waits for something to happen on either.
    pub(super) async fn next(&mut self) -> Incoming {
        let Self { outlet, replay } = self;
        tokio::select! {
            () = outlet.changed() => Incoming::Changed,
            (who, frames) = request(replay.as_mut()) => Incoming::Replay(who, frames),
        }
    }

    pub(super) async fn close(self) {
        if let Outlet::Open { socket, .. } = self.outlet {
            socket.close().await;
        }
        if let Some(replay) = self.replay {
            replay.close().await;
        }
    }
}

// === impl Outlet ===

impl Outlet {
    fn connecting(endpoint: String, mut socket: PubSocket) -> Self {
        let target = endpoint.clone();
        let connected = async move {
            while socket.connect(&target).await.is_err() {
                tokio::time::sleep(CONNECT_INTERVAL).await;
            }
            socket
        };
        Self::Connecting { endpoint, socket: connected.boxed() }
    }

    /// Waits until a connection is made, or lost again; never, for a socket that is bound.
    async fn changed(&mut self) {
        let next = match self {
            Self::Open { lost: Some((_, events)), .. } => {
                while !matches!(events.next().await, Some(SocketEvent::Disconnected(_)) | None) {}
                None
            }
            Self::Connecting { socket, .. } => Some(socket.await),
            Self::Open { lost: None, .. } | Self::Neither => std::future::pending().await,
        };
        *self = match (std::mem::replace(self, Self::Neither), next) {
            (Self::Connecting { endpoint, .. }, Some(mut socket)) => {
                let events = socket.monitor();
                Self::Open { socket, lost: Some((endpoint, events)) }
            }
            (Self::Open { lost: Some((endpoint, _)), .. }, _) => Self::connecting(endpoint, PubSocket::new()),
            (other, _) => other,
        };
    }
}

/// The next request for a replay that has a sender; never, without the socket.
async fn request(replay: Option<&mut RouterSocket>) -> (Bytes, Vec<Bytes>) {
    let Some(replay) = replay else { return std::future::pending().await };
    loop {
        let Ok(message) = replay.recv().await else { return std::future::pending().await };
        let mut frames = message.into_vec().into_iter();
        if let Some(who) = frames.next() {
            return (who, frames.collect());
        }
    }
}

async fn bind(socket: &mut impl Socket, addr: &str) -> io::Result<String> {
    for _ in 0..BIND_ATTEMPTS {
        match socket.bind(addr).await {
            Ok(bound) => return Ok(bound.to_string()),
            Err(ZmqError::Network(error)) if error.kind() == io::ErrorKind::AddrInUse => {
                tokio::time::sleep(BIND_INTERVAL).await;
            }
            Err(error) => return Err(io::Error::other(error.to_string())),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// The address that an endpoint with a star binds; `None`: it connects.
fn bound_to(endpoint: &str, ip: IpAddr) -> Option<String> {
    let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
    endpoint.contains('*').then(|| endpoint.replace('*', &host))
}

/// Each rank has ports of its own.
fn shifted(endpoint: &str, rank: u32) -> String {
    let Some((host, port)) = endpoint.rsplit_once(':') else { return endpoint.to_owned() };
    match port.parse::<u32>() {
        Ok(port) if port > 0 => format!("{host}:{}", port + rank),
        _ => endpoint.to_owned(),
    }
}
