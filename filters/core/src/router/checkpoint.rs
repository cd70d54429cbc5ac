//! The checkpoint: what the VMs of a process know, in shared data, for one that starts or that the log has overtaken.
//!
//! ```text
//!   a VM with time to spare: view ─► pieces, then their head ─┐                 ┌─ pieces ─► view
//!                                                             ├─► shared data ──┤
//!   each VM:                         records ─► the log ──────┘                 └─ the log from there on
//! ```
//!
//! The log is a ring: it holds seconds or minutes of events, not all that was ever learned. The head says which page of the
//! log a checkpoint reaches, so that checkpoint and log together are complete. The next one is due when the log has moved on
//! by a part of its ring. It is written at once, for a walk of the tree cannot be interrupted; so a VM that serves requests
//! leaves it to one that does not (Envoy's main thread has one, too), unless nobody does it in time.
//!
//! Two generations take turns, so that a reader finds the last one whole while the next one is written.

use super::Router;
use super::io::Output;
use super::metrics::Counter;
use super::pace;
use super::shared::{SharedMap, Version};
use crate::limits::MESSAGE_BYTES_SOFT_MAX;
use crate::time::Timestamp;
use crate::wire::{Down, Event, Kind, PrefixDecoder};
use prost::Message;

/// Part of the ring by which the log moves on before an idle VM writes the next checkpoint.
const DUE_SHARE_IDLE: u64 = 8;
/// The same of a busy VM, which waits for an idle one to do it.
const DUE_SHARE_BUSY: u64 = 4;
/// How long a VM may take to write one, in milliseconds. Later it has trapped, and another VM may begin.
const CLAIM_MS: u64 = 1_000;
/// How long a VM waits for a checkpoint that holds what it lacks, in milliseconds. If there is none by then, all VMs lack
/// something, and the first one to give up writes what it has.
const MISSING_MS_MAX: u64 = 5_000;
/// Bytes of one checkpoint; two of them are kept. Beyond, what is left of the tree is left out: a VM that starts then knows
/// less, which costs prefills and nothing else.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// One VM's side of the checkpoint.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    /// The page of the log that the last known one reaches.
    reaches: u64,
    /// The page from which this VM has read the log, while what lies before it is not known yet.
    missing_before: Option<u64>,
    missing_since: Timestamp,
    /// Whether no checkpoint that holds what is missing has come in time.
    has_given_up: bool,
}

/// What says where a checkpoint is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Head {
    generation: u64,
    /// The VM that wrote it: two may have begun, if one believed the other to be dead.
    writer: u64,
    /// The page of the log that it reaches: all before it is in the checkpoint.
    reaches: u64,
    pieces: u64,
    /// When it was written: the ages in it are those of then.
    written: Timestamp,
    /// Until when a VM is writing the next one.
    claimed_until: Timestamp,
}

/// Stores the events of a checkpoint piece by piece, so that it is never in this VM's memory as a whole: a module never gives
/// memory back.
#[derive(Debug, Default)]
struct Writer {
    prefix: String,
    generation: u64,
    origin: u64,
    open: Vec<Event>,
    open_bytes: usize,
    bytes: usize,
    pieces: u64,
    is_cut: bool,
}

// === impl Checkpoint ===

impl Checkpoint {
    /// Notes that this VM reads the log from `page` on, and knows nothing of what came before. Returns whether there was anything.
    fn miss_before(&mut self, page: u64, now: Timestamp) -> bool {
        self.missing_before = (page > 0).then_some(page);
        self.missing_since = now;
        self.has_given_up = false;
        page > 0
    }
}

// === impl Router ===

impl<S: SharedMap> Router<S> {
    /// What the log had before its next page is missing here.
    pub(super) fn miss_log(&mut self, now: Timestamp) {
        if self.checkpoint.miss_before(self.log.number(), now) {
            self.view.fall_behind();
        }
    }

    /// Reads what this VM has missed, and writes a checkpoint when one is due. Once a tick.
    pub(super) fn tend_checkpoint(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if !self.load_checkpoint(now, out) && now.ms_apart(self.checkpoint.missing_since) >= MISSING_MS_MAX {
            self.give_up_missing(now, out);
        }
        let behind = self.log.number().saturating_sub(self.checkpoint.reaches);
        let is_busy = now.ms_apart(self.busy_at) < pace::BUSY_MS;
        let share = if is_busy { DUE_SHARE_BUSY } else { DUE_SHARE_IDLE };
        // A VM that lacks something itself would leave it out.
        let is_missing = self.checkpoint.missing_before.is_some() && !self.checkpoint.has_given_up;
        if behind < self.log.pages() / share || is_missing {
            return;
        }
        let (head, version) = self.checkpoint_head();
        self.checkpoint.reaches = head.reaches;
        if self.log.number().saturating_sub(head.reaches) < self.log.pages() / share || head.is_claimed(now) {
            return;
        }
        let claim = Head { claimed_until: now.plus_ms(CLAIM_MS), ..head };
        if self.shared.set(&self.checkpoint_key(), &claim.encode(), version).is_ok() {
            self.write_checkpoint(head, now, out);
        }
    }

    /// Takes over the checkpoint, if it holds what this VM has missed. Returns whether nothing is missing now.
    pub(super) fn load_checkpoint(&mut self, now: Timestamp, out: &mut Vec<Output>) -> bool {
        let Some(missing_before) = self.checkpoint.missing_before else { return true };
        if self.view.pools().is_empty() {
            // Nothing can be learned of endpoints that are not known yet.
            return false;
        }
        let (head, _) = self.checkpoint_head();
        if head.pieces == 0 || head.reaches < missing_before {
            return false;
        }
        let mut prefixes = PrefixDecoder::default();
        let key_prefix = piece_prefix(self.view.cell_bytes(), head.generation);
        for number in 0..head.pieces {
            let stored = self.shared.get(&format!("{key_prefix}{number}"));
            let Some(piece) = Down::decode(stored.value.as_slice())
                .ok()
                .filter(|piece| (piece.generation, piece.instance) == (head.generation, head.writer))
            else {
                // Overwritten by the one after the next: that is tried at the next tick.
                return false;
            };
            for mut event in piece.events {
                if let Some(Kind::Prefix(prefix)) = &event.kind {
                    let Ok(whole) = prefixes.decode(prefix) else {
                        out.push(Output::Count(Counter::Malformed, 1));
                        continue;
                    };
                    event.kind = Some(Kind::Prefix(whole));
                }
                let has_ages = matches!(event.kind, Some(Kind::Conversation(_) | Kind::WakeTime(_)));
                // A clock that was set back since does not make them younger than now.
                let at = if has_ages { head.written.min(now) } else { now };
                self.view.apply(&event, at);
            }
        }
        self.repeat_reports(head.reaches);
        self.checkpoint.reaches = head.reaches;
        out.push(Output::Count(Counter::CheckpointRead, 1));
        // Its writer may have lacked reports itself: then another one is waited for, while all else is known.
        let lacks_reports = self.view.reported().is_behind();
        self.checkpoint.missing_before = lacks_reports.then_some(head.reaches + 1);
        self.checkpoint.has_given_up |= lacks_reports;
        !lacks_reports
    }

    /// Applies what came since a checkpoint of reports once more: they are as old as it is now. What is learned adds up, and is not
    /// changed by it.
    fn repeat_reports(&mut self, reaches: u64) {
        if self.view.reported().is_behind() {
            return;
        }
        let Self { view, log, shared, pending, .. } = self;
        let mut repeat = |event: &Event, at: Timestamp| {
            if matches!(event.kind, Some(Kind::Reported(_) | Kind::Reporting(_))) {
                view.apply(event, at);
            }
        };
        let is_whole = log.read_again(shared, reaches, |record| repeat(&record.event, record.at));
        for record in pending.iter() {
            repeat(&record.event, record.at);
        }
        if !is_whole {
            self.view.fall_behind();
        }
    }

    /// No checkpoint holds what is missing. What was learned is lost; of reports a snapshot brings all, and only the controller has
    /// one.
    fn give_up_missing(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if self.view.reported().is_behind() {
            self.checkpoint.has_given_up = true;
            // Asked for again, as another VM may have the stream by then.
            self.checkpoint.missing_since = now;
            self.request_snapshot(now, out);
        } else {
            self.checkpoint.missing_before = None;
        }
    }

    fn write_checkpoint(&mut self, last: Head, now: Timestamp, out: &mut Vec<Output>) {
        let generation = last.generation + 1;
        let (view, shared) = (&self.view, &mut self.shared);
        let origin = self.ledger.origin().0;
        let prefix = piece_prefix(view.cell_bytes(), generation);
        let mut writer = Writer { prefix, generation, origin, ..Writer::default() };
        // Pools and statuses are stored apart, and in-flight work is published again each second.
        view.export_learned(now, |event| writer.push(event, shared));
        writer.store(shared);
        if writer.is_cut {
            out.push(Output::Count(Counter::CheckpointCut, 1));
        }
        let pieces = writer.pieces;
        let reaches = self.log.number();
        let head = Head {
            generation,
            writer: origin,
            reaches,
            pieces,
            written: now,
            claimed_until: Timestamp::ZERO,
        };
        let (stored, version) = self.checkpoint_head();
        // Whoever took it for abandoned meanwhile writes one of its own.
        if stored.generation == last.generation
            && self.shared.set(&self.checkpoint_key(), &head.encode(), version).is_ok()
        {
            self.checkpoint.reaches = head.reaches;
            out.push(Output::Count(Counter::CheckpointWritten, 1));
        }
    }

    fn checkpoint_head(&mut self) -> (Head, Option<Version>) {
        let stored = self.shared.get(&self.checkpoint_key());
        (Head::decode(&stored.value), stored.version)
    }

    fn checkpoint_key(&self) -> String {
        format!("warmpath/1/{}/checkpoint", self.view.cell_bytes())
    }
}

fn piece_prefix(cell_bytes: usize, generation: u64) -> String {
    format!("warmpath/1/{cell_bytes}/checkpoint/{}/", generation % 2)
}

// === impl Writer ===

impl Writer {
    fn push(&mut self, event: Event, shared: &mut impl SharedMap) {
        let bytes = event.encoded_len();
        if self.bytes + bytes > BYTES_MAX {
            self.is_cut = true;
            return;
        }
        self.bytes += bytes;
        self.open_bytes += bytes;
        self.open.push(event);
        if self.open_bytes >= MESSAGE_BYTES_SOFT_MAX {
            self.store(shared);
        }
    }

    fn store(&mut self, shared: &mut impl SharedMap) {
        if self.open.is_empty() {
            return;
        }
        let events = std::mem::take(&mut self.open);
        let (generation, instance) = (self.generation, self.origin);
        let piece = Down { instance, generation, events, ..Down::default() }.encode_to_vec();
        let _ = shared.set(&format!("{}{}", self.prefix, self.pieces), &piece, None);
        self.pieces += 1;
        self.open_bytes = 0;
    }
}

// === impl Head ===

impl Head {
    /// Without one, the log from its first page on is all there is.
    fn decode(value: &[u8]) -> Self {
        let numbers: Vec<u64> = value
            .chunks_exact(size_of::<u64>())
            .filter_map(|bytes| Some(u64::from_be_bytes(*bytes.first_chunk()?)))
            .collect();
        match *numbers.as_slice() {
            [generation, writer, reaches, pieces, written_ms, until_ms] => {
                let (written, claimed_until) = (Timestamp::from_ms(written_ms), Timestamp::from_ms(until_ms));
                Self { generation, writer, reaches, pieces, written, claimed_until }
            }
            _ => Self::default(),
        }
    }

    fn encode(self) -> Vec<u8> {
        let numbers = [
            self.generation,
            self.writer,
            self.reaches,
            self.pieces,
            self.written.ms(),
            self.claimed_until.ms(),
        ];
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    /// A claim beyond the longest one was stored before the clock was set back.
    fn is_claimed(self, now: Timestamp) -> bool {
        now < self.claimed_until && self.claimed_until.ms_since(now) <= CLAIM_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let head = Head {
            generation: 3,
            writer: 8,
            reaches: 900,
            pieces: 7,
            written: Timestamp::from_ms(4),
            claimed_until: Timestamp::from_ms(5),
        };
        assert_eq!(Head::decode(&head.encode()), head);
        assert_eq!(Head::decode(b"short"), Head::default());
        assert!(head.is_claimed(Timestamp::from_ms(4)) && !head.is_claimed(Timestamp::from_ms(5)));
        assert!(!Head { claimed_until: Timestamp::from_ms(9_000), ..head }.is_claimed(Timestamp::from_ms(1)));
    }
}
