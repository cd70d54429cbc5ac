//! The link to one other replica: a stream that is opened again whenever it ends.

use crate::identity::Peers;
use crate::publish::Shared;
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;
use warmpath_core::ids::ProcessId;
use warmpath_core::wire::{Down, Hello, Phase, PrefixDecoder, ResumePoint, Up};

/// Path of the method.
const SYNC_PATH: &str = "/warmpath.v1.State/Sync";
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often an idle connection is probed, and how long the probe may take: the loss of a replica's node is noticed after their
/// sum.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Wait before a link is tried again; it doubles with each failure in a row.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// The longest such wait.
const RETRY_MAX: Duration = Duration::from_secs(4);
/// The largest message, in bytes.
const DOWN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The link to one other replica.
#[derive(Debug)]
pub(super) struct Link {
    address: SocketAddr,
    shared: Shared,
    peers: Peers,
    /// The other controller's instance, and how far its stream was followed.
    reached: Option<ResumePoint>,
}

/// A replica whose stream is open. It has left when this is dropped: a link is also aborted in the middle of a stream, where
/// its pod is being deleted.
#[derive(Debug)]
struct Joined {
    shared: Shared,
    replica: ProcessId,
}

/// Why a stream ended.
#[derive(Debug, Error)]
enum LinkError {
    /// It is this replica itself.
    #[error("this is the replica itself")]
    Self_,
    #[error("cannot connect")]
    Connect(#[from] tonic::transport::Error),
    #[error("{}", .0.message())]
    Stream(#[from] Status),
}

// === impl Link ===

impl Link {
    pub(super) fn new(address: SocketAddr, shared: Shared, peers: Peers) -> Self {
        Self { address, shared, peers, reached: None }
    }

    /// Keeps the link for as long as the task lives.
    pub(super) async fn run(mut self) {
        let mut wait = RETRY_FIRST;
        loop {
            let before = self.reached;
            let ended = self.stream().await;
            let replica = self.address;
            match ended {
                Err(LinkError::Self_) => return,
                Err(error) => {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::debug!(%replica, %error, source, "the link to another replica ended");
                }
                Ok(()) => tracing::debug!(%replica, "another replica ended the link"),
            }
            let has_moved = self.reached != before;
            wait = if has_moved { RETRY_FIRST } else { (wait * 2).min(RETRY_MAX) };
            tokio::time::sleep(wait).await;
        }
    }

    /// One stream, to its end.
    async fn stream(&mut self) -> Result<(), LinkError> {
        let (own, cell_bytes) =
            self.shared.with(|hub, _| (hub.index().instance(), hub.index().view().cell_bytes()));
        let mut grpc = Grpc::new(self.connect().await?).max_decoding_message_size(DOWN_BYTES_MAX);
        grpc.ready().await?;
        let hello = Hello {
            process: own.0,
            node: hostname(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            resume: self.reached,
            cell_bytes: u32::try_from(cell_bytes).unwrap_or_default(),
            replica: true,
            takes_reports: true,
        };
        // Kept alive while the stream is read: dropping it would end the stream.
        let (up, messages) = mpsc::channel(1);
        let _ = up.try_send(Up { hello: Some(hello), events: Vec::new() });
        let mut request = Request::new(ReceiverStream::new(messages));
        if let Some(token) = self.peers.authorization() {
            request.metadata_mut().insert("authorization", token);
        }
        let codec = ProstCodec::<Up, Down>::default();
        let response = grpc.streaming(request, PathAndQuery::from_static(SYNC_PATH), codec).await?;
        let mut downs = response.into_inner();
        let mut prefixes = PrefixDecoder::default();
        let mut joined = None;
        while let Some(down) = downs.message().await? {
            let replica = ProcessId(down.instance);
            if down.instance == own.0 {
                return Err(LinkError::Self_);
            }
            let is_complete = !matches!(down.phase(), Phase::Begin | Phase::Item);
            if joined.is_none() {
                joined = Some(Joined::new(self.shared.clone(), replica));
                tracing::info!(replica = %self.address, instance = %replica, "linked to another replica");
            }
            self.shared.with(|hub, now| hub.relay(replica, down.events, &mut prefixes, now));
            if is_complete {
                self.reached = Some(ResumePoint { instance: down.instance, generation: down.generation });
            } else if self.reached.is_none_or(|reached| reached.instance != down.instance) {
                // A generation that does not exist, so that the next stream begins with a snapshot.
                self.reached = Some(ResumePoint { instance: down.instance, generation: u64::MAX });
            }
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Channel, tonic::transport::Error> {
        let prepare = |endpoint: Endpoint| {
            endpoint
                .connect_timeout(CONNECT_TIMEOUT)
                .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
                .keep_alive_timeout(KEEPALIVE_TIMEOUT)
                .keep_alive_while_idle(true)
                .tcp_nodelay(true)
        };
        self.peers.connect(self.address, prepare).await
    }
}

// === impl Joined ===

impl Joined {
    fn new(shared: Shared, replica: ProcessId) -> Self {
        shared.with(|hub, _| hub.replica_joined(replica));
        Self { shared, replica }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.shared.with(|hub, now| hub.replica_left(self.replica, now));
    }
}

/// The pod's name, for people.
fn hostname() -> String {
    std::env::var("HOSTNAME").unwrap_or_default()
}
