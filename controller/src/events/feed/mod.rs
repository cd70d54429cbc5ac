//! What one rank of an engine publishes, followed: connection, replays, trust, and what is reported of it.
//!
//! ```text
//!   dial, or listen ── Arrival ──► Feed ─► Follower ─► Report
//!                     Replays ─────►│ ▲─────── Ask ──┘
//! ```
//!
//! Every queue is short. Where the receiver of the reports is slow, nothing is read from the connection any more: the engine
//! keeps what it cannot send, later drops it, and both are seen, as lag and as a gap.

mod dial;
mod replay;

use super::board::{Board, Seen};
use super::frame::{Message, decode};
use super::sources::Source;
use super::trust::{Content, Faults, Follower, Outcome};
use super::{KvEvent, Report, Step};
use crate::clock::Clock;
use crate::metrics::Metrics;
use replay::{Replays, Reply};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use warmpath_core::wire::Trust;
use xxhash_rust::xxh3::xxh3_64;

/// Messages on their way from the connection.
pub(super) const ARRIVALS_MAX: usize = 8;
/// How often it is looked whether an engine that works has fallen silent.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How long an engine may be silent that has worked; the time doubles where a new connection brings nothing either.
const SILENT_MIN: Duration = Duration::from_secs(10);
const SILENT_MAX: Duration = Duration::from_secs(640);
/// What it must have done meanwhile, by its counters: tokens of prompts and responses, of which some fill a block.
const WORK_MIN: u64 = 2_048;

/// Why the events of an engine do not come that works and publishes nothing.
const MUTE: &str = "no_events";
/// The same of one that publishes under other topics only.
const FOREIGN: &str = "topic";

/// What comes of a connection.
#[derive(Debug)]
pub(super) enum Arrival {
    Connected {
        connection: u64,
    },
    Message {
        connection: u64,
        message: Message,
    },
    /// The first message of another topic than the one that is followed.
    Foreign {
        connection: u64,
        topic: String,
    },
    Disconnected {
        connection: u64,
        why: &'static str,
    },
}

/// What a feed must know from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Another process serves at the address.
    Renewed,
    /// The blocks that are known come to what the engine can hold.
    Filled,
}

/// What all feeds share.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) board: Board,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
}

/// One rank of an engine.
#[derive(Debug)]
pub(super) struct Feed {
    endpoint: SocketAddr,
    source: Source,
    common: Common,
    follower: Follower,
    replays: Replays,
    /// The connection to a publisher that is bound.
    dialling: JoinSet<()>,
    sender: mpsc::Sender<Arrival>,
    /// The connection whose messages count: the newest.
    connection: Option<u64>,
    faults: Faults,
    /// How far people see it relied on.
    shown: Trust,
    silence: Silence,
    /// Whether anything of this process has come other than by a replay: what only replays bring has another topic.
    has_published: bool,
    /// Whether it should have, and has not. A replay then shows no more than what was there before it.
    is_mute: bool,
}

/// Since when nothing has come.
#[derive(Debug)]
struct Silence {
    since: Instant,
    /// What the engine had done by then.
    work: Option<u64>,
    allowed: Duration,
}

// === impl Common ===

impl Common {
    /// Shows how many feeds are relied on how far.
    pub(super) fn show(&self) {
        for (trust, feeds) in self.board.trusts() {
            let gauge = self.metrics.kv.feeds.get_or_create(&[("trust", trust_label(trust))]);
            gauge.set(i64::try_from(feeds).unwrap_or(i64::MAX));
        }
    }
}

// === impl Feed ===

impl Feed {
    pub(super) fn new(
        endpoint: SocketAddr,
        source: Source,
        common: Common,
        sender: mpsc::Sender<Arrival>,
    ) -> Self {
        Self {
            endpoint,
            follower: Follower::new(source.replay.is_some()),
            replays: Replays::new(source.replay),
            source,
            common,
            dialling: JoinSet::new(),
            sender,
            connection: None,
            faults: Faults::default(),
            shown: Trust::None,
            silence: Silence { since: Instant::now(), work: None, allowed: SILENT_MIN },
            has_published: false,
            is_mute: false,
        }
    }

    /// Follows it until it is dropped.
    pub(super) async fn run(
        mut self,
        mut arrivals: mpsc::Receiver<Arrival>,
        mut orders: mpsc::Receiver<Order>,
    ) {
        self.dial();
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.follower.due();
            let clock = self.common.clock;
            let ticks = async {
                match due {
                    Some(due) => sleep(Duration::from_millis(due.ms_since(clock.now()))).await,
                    None => std::future::pending().await,
                }
            };
            let outcome = tokio::select! {
                // What has come counts before the time that it took: this may have waited for those who take the reports.
                biased;
                Some(reply) = self.replays.next() => self.replied(reply),
                () = ticks => self.follower.tick(clock.now()),
                Some(arrival) = arrivals.recv() => self.arrived(arrival),
                Some(order) = orders.recv() => match order {
                    Order::Renewed => {
                        (self.has_published, self.is_mute) = (false, false);
                        self.note(|seen| seen.topic = None);
                        self.follower.renewed(clock.now())
                    }
                    Order::Filled => self.follower.filled(),
                },
                _ = looks.tick() => self.look(),
            };
            if !self.take(outcome).await {
                return;
            }
        }
    }

    fn dial(&mut self) {
        self.dialling = JoinSet::new();
        if let Some(address) = self.source.publisher {
            self.dialling.spawn(dial::dial(address, self.source.topic.clone(), self.sender.clone()));
        }
    }

    fn arrived(&mut self, arrival: Arrival) -> Outcome {
        let now = self.common.clock.now();
        match arrival {
            Arrival::Connected { connection } => {
                self.connection = Some(connection);
                let is_mute = self.is_mute;
                self.note(|seen| {
                    let mute = if seen.topic.is_some() { FOREIGN } else { MUTE };
                    (seen.is_connected, seen.problem) = (true, is_mute.then_some(mute));
                });
                let mut outcome = self.follower.disconnected();
                let connected = self.follower.connected(now);
                outcome.steps.extend(connected.steps);
                Outcome { ask: connected.ask, ..outcome }
            }
            Arrival::Message { connection, message } if self.connection == Some(connection) => {
                self.silence = Silence { since: Instant::now(), work: None, allowed: SILENT_MIN };
                self.note(|seen| {
                    seen.messages += 1;
                    seen.last = Some(Instant::now());
                });
                let content = self.content(&message, "published");
                let outcome = self.follower.published(message.sequence, content, now);
                self.spoken(outcome)
            }
            Arrival::Foreign { connection, topic } if self.connection == Some(connection) => {
                self.foreign(topic)
            }
            Arrival::Disconnected { connection, why }
                if self.connection.is_none_or(|of| of == connection) =>
            {
                self.common.metrics.kv.connections_failed.get_or_create(&[("reason", why)]).inc();
                self.connection = None;
                self.note(|seen| (seen.is_connected, seen.problem) = (false, Some(why)));
                self.follower.disconnected()
            }
            // Of a connection that another one has replaced.
            Arrival::Message { .. } | Arrival::Foreign { .. } | Arrival::Disconnected { .. } => {
                Outcome::default()
            }
        }
    }

    fn replied(&mut self, reply: Reply) -> Outcome {
        let now = self.common.clock.now();
        match reply {
            Reply::Message { ask, message } => {
                let content = self.content(&message, "replayed");
                self.follower.replayed(ask, message.sequence, content, now)
            }
            Reply::Ended { ask } => self.follower.replay_ended(ask, now),
            Reply::Failed { ask } => self.follower.replay_failed(ask, now),
        }
    }

    fn content(&self, message: &Message, from: &'static str) -> Content {
        let kv = &self.common.metrics.kv;
        kv.messages.get_or_create(&[("from", from)]).inc();
        let decoded = decode(&message.payload);
        match &decoded {
            Ok(decoded) => {
                for event in &decoded.batch.events {
                    kv.events.get_or_create(&[("kind", label(event))]).inc();
                }
                for (reason, count) in decoded.skipped.labelled() {
                    if count > 0 {
                        kv.skipped.get_or_create(&[("reason", reason)]).inc_by(count);
                    }
                }
            }
            Err(error) => {
                kv.undecodable.get_or_create(&[("reason", error.label())]).inc();
            }
        }
        Content { decoded, digest: xxh3_64(&message.payload), bytes: message.payload.len() }
    }

    /// Connects anew to an engine that has worked and published nothing. Its counters are those of all ranks, of which some may have
    /// had no work: as long as one publishes, none is silent.
    fn look(&mut self) -> Outcome {
        if let Some(last) = self.common.board.last(self.endpoint).filter(|last| *last > self.silence.since) {
            self.silence = Silence { since: last, work: None, ..self.silence };
            let is_foreign = self.common.board.is_foreign(self.endpoint, self.source.rank);
            if self.is_mute && !is_foreign {
                self.is_mute = false;
                self.note(|seen| seen.problem = None);
                return self.trusted();
            }
        }
        let Some(work) = self.common.board.work(self.endpoint) else { return Outcome::default() };
        let before = *self.silence.work.get_or_insert(work);
        let is_silent = self.silence.since.elapsed() >= self.silence.allowed;
        if self.connection.is_none() || !is_silent || work.saturating_sub(before) < WORK_MIN {
            return Outcome::default();
        }
        let allowed = (self.silence.allowed * 2).min(SILENT_MAX);
        self.silence = Silence { since: Instant::now(), work: None, allowed };
        self.is_mute = !self.has_published;
        if self.is_mute {
            self.note(|seen| seen.problem = seen.problem.or(Some(MUTE)));
        }
        if self.source.publisher.is_none() {
            return self.trusted();
        }
        self.common.metrics.kv.connections_failed.get_or_create(&[("reason", MUTE)]).inc();
        self.connection = None;
        self.dial();
        self.follower.disconnected()
    }

    /// Of an engine that publishes something else, and nothing of what is followed, a replay may bring what it once had, and nothing
    /// will say when that leaves.
    fn foreign(&mut self, topic: String) -> Outcome {
        if self.has_published {
            return Outcome::default();
        }
        self.is_mute = true;
        self.note(|seen| (seen.problem, seen.topic) = (Some(FOREIGN), Some(topic)));
        self.trusted()
    }

    /// What follows from a message, of which the engine has published at least one by now.
    fn spoken(&mut self, mut outcome: Outcome) -> Outcome {
        self.has_published = true;
        if std::mem::take(&mut self.is_mute) {
            self.note(|seen| (seen.problem, seen.topic) = (None, None));
            outcome.steps.splice(0..0, self.trusted().steps);
        }
        outcome
    }

    /// How far it is relied on: no more than before a replay, where it works and has never published anything.
    fn trust(&self) -> Trust {
        self.limited(self.follower.trust())
    }

    fn limited(&self, trust: Trust) -> Trust {
        if self.is_mute && trust != Trust::None { Trust::Suspect } else { trust }
    }

    fn trusted(&self) -> Outcome {
        let step = Step::Trust { trust: self.trust(), is_cleared: false };
        Outcome { steps: vec![step], ..Outcome::default() }
    }

    /// Passes on what an input came to. Returns whether anybody takes it.
    async fn take(&mut self, mut outcome: Outcome) -> bool {
        if let Some(ask) = outcome.ask {
            self.replays.ask(ask);
        }
        self.count();
        if outcome.steps.is_empty() {
            return true;
        }
        for step in &mut outcome.steps {
            if let Step::Trust { trust, .. } = step {
                *trust = self.limited(*trust);
            }
        }
        let trust = self.trust();
        if std::mem::replace(&mut self.shown, trust) != trust {
            self.note(|seen| seen.trust = trust);
            // It counts all feeds, of all engines.
            self.common.show();
        }
        let report = Report { endpoint: self.endpoint, rank: self.source.rank, steps: outcome.steps };
        self.common.reports.send(report).await.is_ok()
    }

    fn count(&mut self) {
        let faults = self.follower.faults();
        if faults == self.faults {
            return;
        }
        for ((kind, now), (_, before)) in faults.labelled().into_iter().zip(self.faults.labelled()) {
            if now > before {
                self.common.metrics.kv.faults.get_or_create(&[("kind", kind)]).inc_by(now - before);
            }
        }
        self.faults = faults;
        self.note(|seen| seen.faults = faults);
    }

    fn note(&self, note: impl FnOnce(&mut Seen)) {
        self.common.board.note(self.endpoint, self.source.rank, note);
    }
}

fn trust_label(trust: Trust) -> &'static str {
    match trust {
        Trust::None => "none",
        Trust::Whole => "whole",
        Trust::Partial => "partial",
        Trust::Suspect => "suspect",
    }
}

fn label(event: &KvEvent) -> &'static str {
    match event {
        KvEvent::Stored(_) => "stored",
        KvEvent::Removed { .. } => "removed",
        KvEvent::Cleared => "cleared",
    }
}

#[cfg(test)]
mod tests;
