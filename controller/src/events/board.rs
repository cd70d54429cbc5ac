//! What is seen of all feeds, for people and for checks.

use super::sources::Source;
use super::trust::Faults;
use fnv::FnvHashMap;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use warmpath_core::wire::Trust;

/// The feeds of all engines. Its copies share one state.
#[derive(Clone, Debug, Default)]
pub struct Board {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    feeds: BTreeMap<(SocketAddr, u32), Seen>,
    processes: FnvHashMap<SocketAddr, Process>,
}

/// What is seen of one rank's feed.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Where it publishes.
    pub source: Source,
    /// How far its reports can be relied on.
    pub trust: Trust,
    /// Whether there is a connection.
    pub is_connected: bool,
    /// Why there is none, by its name in metrics.
    pub problem: Option<&'static str>,
    /// The topic of what comes in place of what is followed.
    pub topic: Option<String>,
    /// Messages that came.
    pub messages: u64,
    /// When the last one came.
    pub last: Option<Instant>,
    /// What went wrong.
    pub faults: Faults,
}

/// What the scrapes show of an engine's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Another one for another process; zero before the first is known.
    pub incarnation: u64,
    /// What it has done, by its counters.
    pub work: Option<u64>,
}

// === impl Board ===

impl Board {
    /// What is seen of the feeds of one engine, by rank.
    pub fn seen(&self, endpoint: SocketAddr) -> Vec<(u32, Seen)> {
        let state = self.lock();
        let of = state.feeds.range((endpoint, 0)..=(endpoint, u32::MAX));
        of.map(|((_, rank), seen)| (*rank, seen.clone())).collect()
    }

    /// How many feeds are relied on how far.
    pub fn trusts(&self) -> [(Trust, usize); 4] {
        let state = self.lock();
        [Trust::None, Trust::Whole, Trust::Partial, Trust::Suspect]
            .map(|trust| (trust, state.feeds.values().filter(|seen| seen.trust == trust).count()))
    }

    /// Takes what a scrape of an engine showed.
    pub fn report(&self, endpoint: SocketAddr, process: Process) {
        let mut state = self.lock();
        if let Some(of) = state.processes.get_mut(&endpoint) {
            *of = process;
        }
    }

    pub(super) fn process(&self, endpoint: SocketAddr) -> Process {
        self.lock().processes.get(&endpoint).copied().unwrap_or_default()
    }

    /// When the last message of any rank of an engine came.
    pub(super) fn last(&self, endpoint: SocketAddr) -> Option<Instant> {
        let state = self.lock();
        let of = state.feeds.range((endpoint, 0)..=(endpoint, u32::MAX));
        of.filter_map(|(_, seen)| seen.last).max()
    }

    /// Whether a rank publishes under other topics than is followed.
    pub(super) fn is_foreign(&self, endpoint: SocketAddr, rank: u32) -> bool {
        self.lock().feeds.get(&(endpoint, rank)).is_some_and(|seen| seen.topic.is_some())
    }

    pub(super) fn work(&self, endpoint: SocketAddr) -> Option<u64> {
        self.process(endpoint).work
    }

    /// Expects reports about an engine, or none any more.
    pub(super) fn follow(&self, endpoint: SocketAddr, is_followed: bool) {
        let mut state = self.lock();
        if is_followed {
            state.processes.entry(endpoint).or_default();
        } else {
            state.processes.remove(&endpoint);
        }
    }

    pub(super) fn insert(&self, endpoint: SocketAddr, source: Source) {
        let seen = Seen {
            trust: Trust::None,
            is_connected: false,
            problem: None,
            topic: None,
            messages: 0,
            last: None,
            faults: Faults::default(),
            source,
        };
        self.lock().feeds.insert((endpoint, seen.source.rank), seen);
    }

    pub(super) fn remove(&self, endpoint: SocketAddr, rank: u32) {
        self.lock().feeds.remove(&(endpoint, rank));
    }

    pub(super) fn note(&self, endpoint: SocketAddr, rank: u32, note: impl FnOnce(&mut Seen)) {
        if let Some(seen) = self.lock().feeds.get_mut(&(endpoint, rank)) {
            note(seen);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No update leaves it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
