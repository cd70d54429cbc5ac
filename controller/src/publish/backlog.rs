//! What one proxy has not been sent yet: bounded, and as short as its meaning allows.
//!
//! A proxy that reads slowly must not grow the controller, nor be told a load ten times that changed ten
//! times. A newer fact takes the place of an older one of the same key; where the order matters (see
//! [`Place`]), keys are forgotten so that nothing moves across. A backlog that is full even so is thrown
//! away: the proxy will get a snapshot, which is never longer than the view.

use crate::index::{Fact, Key, Place};
use fnv::FnvHashMap;
use std::sync::Arc;

/// Facts that may wait for one proxy.
const FACTS_MAX: usize = 16_384;
/// Bytes of facts that may wait for one proxy.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// The facts that wait for one proxy, in order.
#[derive(Debug, Default)]
pub struct Backlog {
    facts: Vec<Arc<Fact>>,
    places: FnvHashMap<Key, usize>,
    bytes: usize,
}

/// What became of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It waits at the end.
    Queued,
    /// It took an older one's place.
    Coalesced,
    /// There was no room: the backlog is empty now, and the proxy needs a snapshot.
    Overflowed,
}

// === impl Backlog ===

impl Backlog {
    /// Adds the newest fact.
    pub fn add(&mut self, fact: Arc<Fact>) -> Added {
        match fact.place {
            Place::Barrier => self.places.clear(),
            Place::Ends { origin } => self.places.retain(|key, _| !key.is_of(origin)),
            Place::Own | Place::Load { .. } | Place::Alive { .. } | Place::Engine { .. } | Place::Proxies => {
            }
        }
        let key = fact.place.key();
        let older = key.and_then(|key| self.facts.get_mut(*self.places.get(&key)?));
        if let Some(older) = older.filter(|older| older.place == fact.place) {
            self.bytes = self.bytes + fact.bytes.len() - older.bytes.len();
            *older = fact;
            return Added::Coalesced;
        }
        if self.facts.len() >= FACTS_MAX || self.bytes + fact.bytes.len() > BYTES_MAX {
            self.take();
            return Added::Overflowed;
        }
        if let Some(key) = key {
            self.places.insert(key, self.facts.len());
        }
        self.bytes += fact.bytes.len();
        self.facts.push(fact);
        Added::Queued
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Takes all facts out.
    pub fn take(&mut self) -> Vec<Arc<Fact>> {
        self.places.clear();
        self.bytes = 0;
        std::mem::take(&mut self.facts)
    }
}
