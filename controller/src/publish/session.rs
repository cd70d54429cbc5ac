//! One proxy's stream, from its `Hello` to its end: messages up go to the hub, its batches go down.
//!
//! Both directions run in one task and neither waits for the other: a proxy that does not read can still
//! report, and its backlog coalesces meanwhile.

use super::hub::{Hub, StreamId};
use super::refusal::Refusal;
use super::roster::clip;
use crate::clock::Clock;
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tonic::{Status, Streaming};
use warmpath_core::ids::ProcessId;
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{Hello, Up};

/// How long a stream may stay without its first message.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the final status may wait for a proxy that does not read.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// What all sessions share with the rest of the controller.
#[derive(Clone, Debug)]
pub struct Shared {
    hub: Arc<Mutex<Hub>>,
    clock: Clock,
    stop: watch::Receiver<bool>,
}

/// Where a session sends messages.
type Outgoing = mpsc::Sender<Result<Bytes, Status>>;

// === impl Shared ===

impl Shared {
    /// Shares a hub until `stop` turns true.
    pub fn new(hub: Hub, clock: Clock, stop: watch::Receiver<bool>) -> Self {
        Self { hub: Arc::new(Mutex::new(hub)), clock, stop }
    }

    /// Works on the hub. Short by nature: nothing waits inside.
    pub fn with<T>(&self, work: impl FnOnce(&mut Hub, Timestamp) -> T) -> T {
        // A panic elsewhere leaves at worst one event half applied, which the next one heals.
        let mut hub = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut hub, self.clock.now())
    }

    /// Waits until the controller stops.
    pub async fn stopped(&self) {
        // An error means that the sender is gone, which is a stop too.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }
}

/// Serves one stream to its end.
pub(super) async fn run(shared: Shared, mut up: Streaming<Up>, down: Outgoing) {
    let first = tokio::select! {
        first = tokio::time::timeout(HELLO_TIMEOUT, up.message()) => first,
        () = shared.stopped() => return,
    };
    let (hello, events) = match greet(first) {
        Ok(greeting) => greeting,
        Err(status) => {
            tracing::warn!(error = status.message(), "stream refused");
            return farewell(&down, status).await;
        }
    };
    let joined: Result<_, Refusal> = shared.with(|hub, now| {
        let (id, wake) = hub.admit(&hello, now)?;
        hub.receive(id, events, now);
        Ok((id, wake))
    });
    let (id, wake) = match joined {
        Ok(joined) => joined,
        Err(refusal) => {
            let node = clip(&hello.node);
            tracing::warn!(node, reason = refusal.label(), "stream refused: {refusal}");
            return farewell(&down, refusal.status()).await;
        }
    };
    let process = ProcessId(hello.process).to_string();
    let node = clip(&hello.node);
    if hello.replica {
        // The links report what matters of them.
        tracing::debug!(process, node, "another replica connected");
    } else {
        tracing::info!(process, node, version = clip(&hello.version), "proxy connected");
    }
    let status = tokio::select! {
        status = receive(&shared, id, &mut up) => status,
        status = send(&shared, id, &wake, &down) => status,
        () = shared.stopped() => Some(Status::unavailable("the controller stops")),
    };
    shared.with(|hub, now| hub.leave(id, now));
    let Some(status) = status else {
        if !hello.replica {
            tracing::info!(process, node, "proxy disconnected");
        }
        return;
    };
    tracing::warn!(process, node, error = status.message(), "proxy disconnected");
    farewell(&down, status).await;
}

/// The first message must introduce the proxy.
fn greet(
    first: Result<Result<Option<Up>, Status>, tokio::time::error::Elapsed>,
) -> Result<(Hello, Vec<warmpath_core::wire::Event>), Status> {
    let first = first.map_err(|_| Status::deadline_exceeded("no message within the time limit"))??;
    let up = first.ok_or_else(|| Status::invalid_argument("stream ended without a message"))?;
    let hello = up.hello.ok_or_else(|| Status::invalid_argument("first message has no hello"))?;
    if hello.process == 0 {
        return Err(Status::invalid_argument("process is zero"));
    }
    Ok((hello, up.events))
}

/// Hands messages to the hub until the proxy ends the stream (`None`) or breaks the protocol.
async fn receive(shared: &Shared, id: StreamId, up: &mut Streaming<Up>) -> Option<Status> {
    loop {
        match up.message().await {
            Ok(Some(message)) if message.hello.is_some() => {
                return Some(Status::invalid_argument("hello after the first message"));
            }
            Ok(Some(message)) => shared.with(|hub, now| hub.receive(id, message.events, now)),
            Ok(None) => return None,
            Err(status) => return Some(status),
        }
    }
}

/// Sends what is pending until the proxy is gone (`None`) or has opened a newer stream.
async fn send(shared: &Shared, id: StreamId, wake: &Notify, down: &Outgoing) -> Option<Status> {
    loop {
        let is_sent = match shared.with(|hub, now| hub.is_open(id).then(|| hub.take(id, now))) {
            None => return Some(Status::aborted("superseded by a newer stream of the same process")),
            Some(Some(batch)) => send_all(down, batch.messages()).await,
            Some(None) => idle(wake, down).await,
        };
        if !is_sent {
            return None;
        }
    }
}

/// Waits for the next change. Returns whether the proxy is still there.
async fn idle(wake: &Notify, down: &Outgoing) -> bool {
    tokio::select! {
        () = wake.notified() => true,
        () = down.closed() => false,
    }
}

async fn send_all(down: &Outgoing, messages: impl IntoIterator<Item = Bytes>) -> bool {
    for message in messages {
        if down.send(Ok(message)).await.is_err() {
            return false;
        }
    }
    true
}

async fn farewell(down: &Outgoing, status: Status) {
    // Whether the status arrives changes nothing: the stream ends either way.
    let _ = tokio::time::timeout(FAREWELL_TIMEOUT, down.send(Err(status))).await;
}
