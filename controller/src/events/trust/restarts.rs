//! The restarts of an engine, as its messages and its metrics show them.

use warmpath_core::time::Timestamp;

/// Restarts that follow each other too fast before they are none, but several engines under one name.
const QUICK_MAX: u32 = 4;
/// How far apart restarts are at least: an engine takes longer to start.
const APART_MS_MIN: u64 = 5_000;
/// After how long without another one those are forgotten.
const CONTEST_MS: u64 = 30_000;
/// How long after a message did the metrics may show the other process.
const RENEWAL_MS_MAX: u64 = 60_000;

/// What is remembered of them.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    quick: u32,
    last_at: Option<Timestamp>,
    /// When a message's number showed one that the metrics have not shown yet.
    seen_at: Option<Timestamp>,
}

// === impl Restarts ===

impl Restarts {
    /// There was one.
    pub(super) fn note(&mut self, now: Timestamp) {
        let is_quick = self.last_at.is_some_and(|at| now.ms_since(at) < APART_MS_MIN);
        self.quick = if is_quick { self.quick.saturating_add(1) } else { 0 };
        self.last_at = Some(now);
    }

    pub(super) fn note_time(&mut self, now: Timestamp) {
        if self.last_at.is_some_and(|at| now.ms_since(at) >= CONTEST_MS) {
            self.quick = 0;
        }
    }

    /// A message's number showed it.
    pub(super) fn note_seen(&mut self, now: Timestamp) {
        self.seen_at = Some(now);
    }

    /// Another connection may be to yet another process.
    pub(super) fn forget_seen(&mut self) {
        self.seen_at = None;
    }

    /// Whether the one that the metrics show now was seen before.
    pub(super) fn take_seen(&mut self, now: Timestamp) -> bool {
        self.seen_at.take().is_some_and(|at| now.ms_since(at) < RENEWAL_MS_MAX)
    }

    /// Whether several engines seem to publish under one name.
    pub(super) fn are_contested(&self) -> bool {
        self.quick >= QUICK_MAX
    }
}
