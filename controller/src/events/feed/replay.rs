//! A replay: the messages that an engine keeps, from a number on, over a connection of its own.
//!
//! One connection for each request: what comes over it belongs to that request, and a late reply to an earlier one cannot be
//! taken for it. A DEALER, since a REQ takes one reply only.

use crate::events::frame::Message;
use crate::events::trust::Ask;
use crate::events::zmtp::{Connection, Kind};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How long after a failure it is reported: the next request must not follow at once.
const RETRY: Duration = Duration::from_millis(500);
/// Messages on their way from a replay to the one who asked.
const REPLIES_MAX: usize = 8;

/// What comes of a request.
#[derive(Debug)]
pub(super) enum Reply {
    Message { ask: u64, message: Message },
    Ended { ask: u64 },
    Failed { ask: u64 },
}

/// The replays of one rank, one at a time.
#[derive(Debug)]
pub(super) struct Replays {
    address: Option<SocketAddr>,
    sender: mpsc::Sender<Reply>,
    receiver: mpsc::Receiver<Reply>,
    running: JoinSet<()>,
}

// === impl Replays ===

impl Replays {
    pub(super) fn new(address: Option<SocketAddr>) -> Self {
        let (sender, receiver) = mpsc::channel(REPLIES_MAX);
        Self { address, sender, receiver, running: JoinSet::new() }
    }

    /// Asks, and gives up what was asked for before.
    pub(super) fn ask(&mut self, ask: Ask) {
        self.running = JoinSet::new();
        let sender = self.sender.clone();
        if let Some(address) = self.address {
            self.running.spawn(replay(address, ask, sender));
        }
    }

    /// What comes next.
    pub(super) async fn next(&mut self) -> Option<Reply> {
        self.receiver.recv().await
    }
}

async fn replay(address: SocketAddr, ask: Ask, replies: mpsc::Sender<Reply>) {
    let id = ask.id;
    let is_whole = messages(address, ask, &replies).await.is_some();
    if !is_whole {
        sleep(RETRY).await;
    }
    let end = if is_whole { Reply::Ended { ask: id } } else { Reply::Failed { ask: id } };
    // Nobody waits for it where it cannot be sent.
    let _ = replies.send(end).await;
}

/// Passes on all messages; none if they could not be had to the end.
async fn messages(address: SocketAddr, ask: Ask, replies: &mpsc::Sender<Reply>) -> Option<()> {
    let mut socket = Connection::connect(address, Kind::Dealer).await.ok()?;
    socket.send(&[b"", &ask.from.to_be_bytes()]).await.ok()?;
    loop {
        let parts = socket.receive().await.ok()?;
        let (empty, parts) = parts.split_first()?;
        if !empty.is_empty() {
            return None;
        }
        let Some(message) = Message::replayed(parts).ok()? else { return Some(()) };
        replies.send(Reply::Message { ask: ask.id, message }).await.ok()?;
    }
}
