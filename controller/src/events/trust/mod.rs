//! The messages of one rank of an engine, by their numbers -> what may be relied on.
//!
//! ```text
//!                connected                    the next number
//!   Doubtful ───────────────► (no replay) ────────────────────► Following ◄──┐ number beyond the next one,
//!      ▲    └───────────────► Replaying ─── all replayed ──────────┘         │ or behind it
//!      │                        ▲  └──── failed: as without replay ──────────┤
//!      └──── disconnected       └────────────────────────────────────────────┘
//! ```
//!
//! Pure: time is an argument. What is *following* is reported whole, or as a part of what the engine holds; whatever else
//! makes the reports *suspect*, and the proxies use what they learned. A number behind the expected one is another process
//! that began anew. So may be any process behind a new connection: the first message of a replay is therefore one that is
//! known already, and must be the same byte for byte.
//!
//! A gap that no replay closes voids everything: it may have removed any block. What is stored after it is true again, and a
//! part of the whole, until the engine clears its cache, or the known blocks come to what it can hold. So is what is known of an
//! engine that stores blocks of which its events do not say enough.

mod held;
mod inputs;
mod lag;
mod restarts;

use super::frame::Decoded;
use super::groups::Groups;
use super::{Batch, KvEvent, Step};
use held::{Held, Kept};
use lag::Lag;
use restarts::Restarts;
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{Tier, Trust};

pub use inputs::{Ask, Content, Faults, Outcome};
pub use lag::LAG_MS_MAX;

/// How long a replay may bring nothing. vLLM serves one between two batches, and waits for a batch for 100 ms at most; it
/// then sends up to 10,000.
const REPLAY_IDLE_MS_MAX: u64 = 3_000;
/// Replays in a row that bring nothing new before the gap is given up.
const REPLAYS_MAX: u32 = 3;
/// The state of one rank of one engine.
#[derive(Debug)]
pub struct Follower {
    has_replay: bool,
    /// The number of the next message, and the digest of the one before it; none before the first one.
    next: Option<u64>,
    last_digest: Option<u64>,
    /// What may be relied on while nothing is missing.
    basis: Trust,
    /// What the receiver relies on.
    reported: Trust,
    phase: Phase,
    groups: Groups,
    lag: Lag,
    /// Whether blocks were reported that a clear of the GPU does not take.
    has_lower_tiers: bool,
    /// Whether what was reported is void, which the receiver does not know yet.
    is_void: bool,
    restarts: Restarts,
    asks: u64,
    faults: Faults,
}

#[derive(Debug)]
enum Phase {
    /// Nothing proves that nothing was missed.
    Doubtful,
    Following,
    Replaying(Replay),
}

#[derive(Debug)]
struct Replay {
    ask: Ask,
    /// The digest that the first message must have.
    check: Option<u64>,
    /// Whether a message has come.
    has_begun: bool,
    /// Requests before this one that brought nothing new.
    vain: u32,
    deadline: Timestamp,
    /// What was published meanwhile.
    held: Held,
}

// === impl Follower ===

impl Follower {
    /// `has_replay`: whether the engine can be asked for messages again.
    pub fn new(has_replay: bool) -> Self {
        Self {
            has_replay,
            next: None,
            last_digest: None,
            basis: Trust::None,
            reported: Trust::None,
            phase: Phase::Doubtful,
            groups: Groups::default(),
            lag: Lag::default(),
            has_lower_tiers: false,
            is_void: false,
            restarts: Restarts::default(),
            asks: 0,
            faults: Faults::default(),
        }
    }

    /// What the receiver relies on.
    pub fn trust(&self) -> Trust {
        self.reported
    }

    /// What went wrong so far.
    pub fn faults(&self) -> Faults {
        self.faults
    }

    /// When [`Self::tick`] is due.
    pub fn due(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Replaying(replay) => Some(replay.deadline),
            _ => None,
        }
    }

    /// A connection stands, over which the next message will come.
    pub fn connected(&mut self, now: Timestamp) -> Outcome {
        let mut out = Outcome::default();
        self.lag = Lag::default();
        self.phase = Phase::Doubtful;
        if self.has_replay {
            // With one that is known already, to see that it is the same process.
            let known = self.next.and_then(|next| next.checked_sub(1)).zip(self.last_digest);
            let (from, check) = known.map_or((0, None), |(from, digest)| (from, Some(digest)));
            self.ask(from, check, 0, now, &mut out);
        }
        self.settle(&mut out);
        out
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) -> Outcome {
        let mut out = Outcome::default();
        self.phase = Phase::Doubtful;
        self.restarts.forget_seen();
        self.settle(&mut out);
        out
    }

    /// Another process serves at the engine's address, as its metrics show.
    pub fn renewed(&mut self, now: Timestamp) -> Outcome {
        let mut out = Outcome::default();
        let is_known = self.restarts.take_seen(now);
        // A replay shows by itself whether the process is the same. Without, the numbers show it only where they go back.
        if !self.has_replay && !is_known {
            self.restarted(now);
            self.next = None;
            self.phase = Phase::Doubtful;
        }
        self.settle(&mut out);
        out
    }

    /// The blocks that are known come to what the engine can hold: there are no others.
    pub fn filled(&mut self) -> Outcome {
        let mut out = Outcome::default();
        // What is known of the GPU says nothing of the tiers below it.
        if self.basis == Trust::Partial && !self.has_lower_tiers {
            self.basis = Trust::Whole;
        }
        self.settle(&mut out);
        out
    }

    /// A message was published.
    pub fn published(&mut self, sequence: u64, content: Content, now: Timestamp) -> Outcome {
        let mut out = Outcome::default();
        self.note_lag(&content, now);
        self.restarts.note_time(now);
        self.take(sequence, content, 0, now, &mut out);
        self.settle(&mut out);
        out
    }

    /// A message of a replay came.
    pub fn replayed(&mut self, ask: u64, sequence: u64, content: Content, now: Timestamp) -> Outcome {
        let mut out = Outcome::default();
        let Phase::Replaying(replay) = &mut self.phase else { return out };
        if replay.ask.id != ask || sequence < replay.ask.from {
            return out;
        }
        let has_begun = std::mem::replace(&mut replay.has_begun, true);
        replay.deadline = now.plus_ms(REPLAY_IDLE_MS_MAX);
        let expected = match replay.check.take() {
            Some(digest) if sequence == replay.ask.from => {
                if content.digest != digest {
                    self.begin_anew(now, &mut out);
                }
                self.settle(&mut out);
                return out;
            }
            Some(_) => replay.ask.from,
            None => self.next.unwrap_or(replay.ask.from),
        };
        if sequence == expected || !has_begun {
            replay.vain = 0;
            if sequence > expected {
                // What the engine keeps begins later.
                self.lose(sequence - expected);
            } else if self.next.is_none() {
                self.basis = Trust::Whole;
            }
            self.accept(sequence, content, &mut out);
        } else if sequence > expected {
            // An engine drops what its socket cannot take, in a replay as well.
            self.ask(expected, None, 0, now, &mut out);
        }
        self.settle(&mut out);
        out
    }

    /// All messages of a replay have come.
    pub fn replay_ended(&mut self, ask: u64, now: Timestamp) -> Outcome {
        let mut out = Outcome::default();
        let Some(replay) = self.replay(ask) else { return out };
        if !replay.has_begun && replay.check.is_some() {
            // It has fewer messages than are known already.
            self.phase = Phase::Replaying(replay);
            self.begin_anew(now, &mut out);
        } else {
            if self.next.is_none() {
                // It has published nothing yet.
                self.next = Some(0);
                self.basis = Trust::Whole;
            }
            self.phase = Phase::Following;
            let vain = if replay.has_begun { 0 } else { replay.vain + 1 };
            self.release(replay.held, vain, now, &mut out);
        }
        self.settle(&mut out);
        out
    }

    /// A replay cannot be had, or broke off.
    pub fn replay_failed(&mut self, ask: u64, now: Timestamp) -> Outcome {
        let mut out = Outcome::default();
        if let Some(replay) = self.replay(ask) {
            self.fail(replay, now, &mut out);
        }
        self.settle(&mut out);
        out
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Timestamp) -> Outcome {
        match &self.phase {
            Phase::Replaying(replay) if now >= replay.deadline => self.replay_failed(replay.ask.id, now),
            _ => Outcome::default(),
        }
    }

    /// The replay of that number, which is over thereby.
    fn replay(&mut self, ask: u64) -> Option<Replay> {
        match std::mem::replace(&mut self.phase, Phase::Doubtful) {
            Phase::Replaying(replay) if replay.ask.id == ask => Some(replay),
            other => {
                self.phase = other;
                None
            }
        }
    }

    fn fail(&mut self, replay: Replay, now: Timestamp, out: &mut Outcome) {
        let vain = replay.vain + 1;
        if vain < REPLAYS_MAX {
            let from = if replay.check.is_some() { replay.ask.from } else { self.next.unwrap_or(0) };
            self.ask(from, replay.check, vain, now, out);
            if let Phase::Replaying(again) = &mut self.phase {
                again.held = replay.held;
            }
            return;
        }
        if replay.check.is_some() {
            // Nothing shows that it is the same process.
            self.is_void = true;
            self.next = None;
        }
        self.release(replay.held, REPLAYS_MAX, now, out);
    }

    /// Takes what was held. `vain`: requests in a row that brought nothing new.
    fn release(&mut self, held: Held, vain: u32, now: Timestamp, out: &mut Outcome) {
        let mut vain = vain;
        for Kept { sequence, content } in held {
            match &mut self.phase {
                Phase::Replaying(replay) => replay.held.keep(sequence, content),
                _ if self.next.is_some_and(|next| sequence < next) => {}
                _ => {
                    self.take(sequence, content, vain, now, out);
                    vain = 0;
                }
            }
        }
    }

    /// Takes a published message. `vain`: requests that did not bring what is missing before it.
    fn take(&mut self, sequence: u64, content: Content, vain: u32, now: Timestamp, out: &mut Outcome) {
        if let Phase::Replaying(replay) = &mut self.phase {
            if replay.held.is_behind(sequence) {
                replay.held = Held::default();
                self.begin_anew(now, out);
            }
            if let Phase::Replaying(replay) = &mut self.phase {
                replay.held.keep(sequence, content);
            }
            return;
        }
        let Some(next) = self.next else {
            self.basis = if sequence == 0 { Trust::Whole } else { Trust::Partial };
            self.phase = Phase::Following;
            return self.accept(sequence, content, out);
        };
        let can_ask = self.has_replay && vain < REPLAYS_MAX;
        if sequence > next {
            self.faults.gaps += 1;
            if can_ask {
                self.ask(next, None, vain, now, out);
            } else {
                self.lose(sequence - next);
            }
        } else if sequence < next {
            self.restarted(now);
            self.restarts.note_seen(now);
            self.next = None;
            if sequence > 0 && can_ask {
                self.ask(0, None, vain, now, out);
            } else {
                self.basis = if sequence == 0 { Trust::Whole } else { Trust::Partial };
            }
        }
        if let Phase::Replaying(replay) = &mut self.phase {
            return replay.held.keep(sequence, content);
        }
        self.phase = Phase::Following;
        self.accept(sequence, content, out);
    }

    /// The content of the next message. The phase allows it, and what is missing before it has been dealt with.
    fn accept(&mut self, sequence: u64, content: Content, out: &mut Outcome) {
        self.next = Some(sequence.saturating_add(1));
        self.last_digest = Some(content.digest);
        let Ok(Decoded { mut batch, skipped, .. }) = content.decoded else {
            // It may have removed anything.
            self.is_void = true;
            self.basis = Trust::None;
            return;
        };
        if self.basis == Trust::None {
            self.basis = Trust::Partial;
        }
        self.groups.filter(&mut batch);
        self.note(&batch);
        if self.basis == Trust::Whole && skipped.blocks() > 0 {
            self.basis = Trust::Partial;
        }
        if !batch.events.is_empty() {
            if self.is_void || self.wanted() == Trust::Suspect {
                self.settle(out);
            }
            out.steps.push(Step::Apply(batch));
        }
    }

    fn note(&mut self, batch: &Batch) {
        for event in &batch.events {
            match event {
                KvEvent::Stored(stored) => self.has_lower_tiers |= stored.tier != Tier::Gpu,
                KvEvent::Cleared if !self.has_lower_tiers => self.basis = Trust::Whole,
                // What stays in the lower tiers is forgotten with the rest.
                KvEvent::Cleared if self.basis == Trust::Whole => self.basis = Trust::Partial,
                KvEvent::Cleared | KvEvent::Removed { .. } => {}
            }
        }
    }

    /// Messages are missing for good.
    fn lose(&mut self, messages: u64) {
        if self.next.is_some() {
            self.faults.lost += messages;
            self.is_void = true;
        }
        self.basis = Trust::Partial;
    }

    /// Another process has begun: its history from the start.
    fn begin_anew(&mut self, now: Timestamp, out: &mut Outcome) {
        self.restarted(now);
        self.next = None;
        self.last_digest = None;
        self.ask(0, None, 0, now, out);
    }

    fn ask(&mut self, from: u64, check: Option<u64>, vain: u32, now: Timestamp, out: &mut Outcome) {
        self.asks += 1;
        self.faults.replays += 1;
        let ask = Ask { id: self.asks, from };
        let held = match &mut self.phase {
            Phase::Replaying(replay) => std::mem::take(&mut replay.held),
            _ => Held::default(),
        };
        let deadline = now.plus_ms(REPLAY_IDLE_MS_MAX);
        self.phase = Phase::Replaying(Replay { ask, check, has_begun: false, vain, deadline, held });
        out.ask = Some(ask);
    }

    fn restarted(&mut self, now: Timestamp) {
        self.faults.restarts += 1;
        self.restarts.note(now);
        self.groups = Groups::default();
        self.has_lower_tiers = false;
        self.is_void = true;
    }

    fn note_lag(&mut self, content: &Content, now: Timestamp) {
        let Some(made_ms) = content.decoded.as_ref().ok().and_then(|decoded| decoded.made_ms) else { return };
        self.faults.late += u64::from(self.lag.note(made_ms, now) > LAG_MS_MAX);
    }

    /// Lets the receiver rely on what can be relied on now.
    fn settle(&mut self, out: &mut Outcome) {
        let wanted = self.wanted();
        let is_cleared = std::mem::take(&mut self.is_void);
        if wanted != self.reported || is_cleared {
            self.reported = wanted;
            out.steps.push(Step::Trust { trust: wanted, is_cleared });
        }
    }

    fn wanted(&self) -> Trust {
        match &self.phase {
            _ if self.restarts.are_contested() || self.groups.are_unknown() => Trust::None,
            Phase::Following if self.basis != Trust::None && self.lag.is_late() => Trust::Suspect,
            Phase::Following => self.basis,
            Phase::Replaying(replay) if replay.has_begun || self.next.is_some() => Trust::Suspect,
            Phase::Doubtful if self.next.is_some() => Trust::Suspect,
            _ => Trust::None,
        }
    }
}

#[cfg(test)]
mod tests;
