//! The publisher of one engine: numbers batches, keeps the last ones for replays, and makes the faults that tests order.

use super::{
    config::KvEvents,
    encode::encode,
    event::KvEvent,
    socket::{Incoming, Sockets, Sources},
};
use crate::server::fault::{EventFault, Faults, InForce};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    io,
    net::IpAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use zeromq::ZmqMessage;

/// The number of the message that ends a replay, which has no content.
const END_OF_REPLAY: [u8; 8] = [0xff; 8];

/// What is no msgpack of a batch.
const GARBAGE: &[u8] = b"\xc1\xff this is no batch";

/// What the model has for its publisher, in order.
#[derive(Debug)]
pub(in crate::server) enum Publishing {
    /// The events of a step.
    Batch(Vec<KvEvent>),
    /// The process is another one, which has published nothing yet.
    Restarted,
}

/// The engine's side of a publisher.
#[derive(Debug)]
pub(in crate::server) struct Publisher {
    sources: watch::Receiver<Option<Sources>>,
    task: JoinHandle<()>,
}

/// What the task owns besides its sockets.
struct Journal {
    config: KvEvents,
    faults: Arc<Faults>,
    /// The number of the next batch.
    next: u64,
    kept: VecDeque<(u64, Bytes)>,
    /// A message that is sent after the next one.
    late: Option<ZmqMessage>,
}

// === impl Publisher ===

impl Publisher {
    /// Opens the sockets and begins to publish what comes.
    pub(in crate::server) async fn start(
        config: &KvEvents,
        ip: IpAddr,
        faults: Arc<Faults>,
        mut incoming: mpsc::UnboundedReceiver<Publishing>,
    ) -> io::Result<Self> {
        let (mut sockets, sources) = Sockets::open(config, ip).await?;
        let (changed, sources) = watch::channel(Some(sources));
        let mut journal =
            Journal { config: config.clone(), faults, next: 0, kept: VecDeque::new(), late: None };
        let task = tokio::spawn(async move {
            while journal.publish(&mut sockets, &mut incoming).await {
                changed.send_replace(None);
                sockets.close().await;
                journal.begin_anew().await;
                match Sockets::open(&journal.config, ip).await {
                    Ok((reopened, sources)) => {
                        sockets = reopened;
                        changed.send_replace(Some(sources));
                    }
                    Err(_) => return,
                }
            }
        });
        Ok(Self { sources, task })
    }

    /// Where events are now; waits while the engine is dead.
    pub(in crate::server) async fn sources(&self) -> Option<Sources> {
        let mut sources = self.sources.clone();
        sources.wait_for(Option::is_some).await.ok()?.clone()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Journal ===

impl Journal {
    /// Publishes until the process is replaced (true) or the engine ends.
    async fn publish(
        &mut self,
        sockets: &mut Sockets,
        incoming: &mut mpsc::UnboundedReceiver<Publishing>,
    ) -> bool {
        loop {
            tokio::select! {
                publishing = incoming.recv() => match publishing {
                    Some(Publishing::Batch(events)) => self.send(sockets, &events).await,
                    Some(Publishing::Restarted) => return true,
                    None => return false,
                },
                asked = sockets.next() => match asked {
                    Incoming::Replay(who, frames) => self.replay(sockets, &who, &frames).await,
                    Incoming::Changed => {}
                },
            }
        }
    }

    /// Forgets everything, and waits until the engine is alive.
    async fn begin_anew(&mut self) {
        self.next = 0;
        self.kept.clear();
        self.late = None;
        let mut watch = self.faults.watch();
        let _ = watch.wait_for(InForce::is_alive).await;
    }

    async fn send(&mut self, sockets: &mut Sockets, events: &[KvEvent]) {
        let fault = self.faults.take_event_fault();
        if fault == Some(EventFault::Silence) {
            return;
        }
        let number = self.next;
        self.next += 1;
        let payload = Bytes::from(encode(&self.config, unix_now_s(), events));
        if fault != Some(EventFault::Lost) {
            self.keep(number, payload.clone());
        }
        let message = self.message(number, payload.clone());
        match fault {
            Some(EventFault::Gap | EventFault::Lost | EventFault::Silence) => {}
            Some(EventFault::Reorder) if self.late.is_none() => self.late = Some(message),
            Some(EventFault::Repeat) => {
                sockets.send(message.clone()).await;
                sockets.send(message).await;
            }
            Some(EventFault::Garbage) => {
                sockets.send(self.message(number, Bytes::from_static(GARBAGE))).await;
            }
            Some(EventFault::Truncated) => {
                sockets.send(self.message(number, payload.slice(..payload.len() / 2))).await;
            }
            Some(EventFault::Frames) => {
                sockets.send(frames([self.topic(), payload])).await;
            }
            Some(EventFault::Reorder) | None => {
                sockets.send(message).await;
                if let Some(late) = self.late.take() {
                    sockets.send(late).await;
                }
            }
        }
    }

    fn keep(&mut self, number: u64, payload: Bytes) {
        if self.kept.len() >= self.config.buffer_steps {
            self.kept.pop_front();
        }
        self.kept.push_back((number, payload));
    }

    /// Repeats all that it has from a number on, then says that this was all.
    async fn replay(&self, sockets: &mut Sockets, who: &Bytes, request: &[Bytes]) {
        let [_, number] = request else { return };
        let Ok(from) = <[u8; 8]>::try_from(number.as_ref()) else { return };
        let from = u64::from_be_bytes(from);
        for (number, payload) in self.kept.iter().filter(|(number, _)| *number >= from) {
            let number = Bytes::copy_from_slice(&number.to_be_bytes());
            let message = frames([who.clone(), Bytes::new(), self.topic(), number, payload.clone()]);
            sockets.respond(message).await;
        }
        let end = Bytes::from_static(&END_OF_REPLAY);
        sockets.respond(frames([who.clone(), Bytes::new(), Bytes::new(), end, Bytes::new()])).await;
    }

    fn message(&self, number: u64, payload: Bytes) -> ZmqMessage {
        frames([self.topic(), Bytes::copy_from_slice(&number.to_be_bytes()), payload])
    }

    fn topic(&self) -> Bytes {
        Bytes::copy_from_slice(self.config.topic.as_bytes())
    }
}

fn frames<const N: usize>(frames: [Bytes; N]) -> ZmqMessage {
    let mut message = ZmqMessage::from(Bytes::new());
    for (at, frame) in frames.into_iter().enumerate() {
        if at == 0 { message = ZmqMessage::from(frame) } else { message.push_back(frame) }
    }
    message
}

fn unix_now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
