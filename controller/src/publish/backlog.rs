//! The deltas that one subscriber was not sent yet: bounded, and as short as their meaning allows.
//!
//! A proxy that reads slowly must not grow the controller, and needs only the last of ten reports. A newer delta
//! replaces an older one of the same key in its place; where the order matters (see [`Coalescing`]), keys are
//! forgotten so that no delta moves across. A backlog that is full even so is dropped: the proxy gets a snapshot,
//! which is never longer than the view.

use crate::index::{CoalesceKey, Coalescing, Delta};
use std::sync::Arc;
use warmpath_core::hash::{SeededMap, seeded};

/// Deltas that may wait for one subscriber.
const DELTAS_MAX: usize = 16_384;
/// Bytes of deltas that may wait for one subscriber.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// The deltas that wait for one subscriber, in order.
#[derive(Debug)]
pub struct Backlog {
    deltas: Vec<Arc<Delta>>,
    newest: SeededMap<CoalesceKey, usize>,
    bytes: usize,
    /// That the proxy knows all up to here: behind all that waits, or one that was silent would believe what is old.
    current: Option<Arc<Delta>>,
}

/// What happened to a delta.
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
    /// An empty backlog; `seed` as in [`warmpath_core::view::View::new`].
    pub fn new(seed: u64) -> Self {
        Self { deltas: Vec::new(), newest: SeededMap::with_hasher(seeded(seed)), bytes: 0, current: None }
    }

    /// Adds the newest delta.
    pub fn add(&mut self, delta: Arc<Delta>) -> Added {
        if delta.coalescing == Coalescing::Current {
            let older = self.current.replace(delta);
            return if older.is_some() { Added::Coalesced } else { Added::Queued };
        }
        match delta.coalescing {
            Coalescing::Barrier => self.newest.clear(),
            Coalescing::Ends { origin } => self.newest.retain(|key, _| !key.is_of(origin)),
            Coalescing::Never
            | Coalescing::InFlight { .. }
            | Coalescing::Alive { .. }
            | Coalescing::Held { .. }
            | Coalescing::Engine { .. }
            | Coalescing::Proxies
            | Coalescing::Current => {}
        }
        let key = delta.coalescing.key();
        let older = key.and_then(|key| self.deltas.get_mut(*self.newest.get(&key)?));
        if let Some(older) = older.filter(|older| older.coalescing == delta.coalescing) {
            self.bytes = self.bytes + delta.bytes.len() - older.bytes.len();
            *older = delta;
            return Added::Coalesced;
        }
        if self.deltas.len() >= DELTAS_MAX || self.bytes + delta.bytes.len() > BYTES_MAX {
            self.take();
            return Added::Overflowed;
        }
        if let Some(key) = key {
            self.newest.insert(key, self.deltas.len());
        }
        self.bytes += delta.bytes.len();
        self.deltas.push(delta);
        Added::Queued
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.deltas.is_empty() && self.current.is_none()
    }

    /// Takes all deltas out.
    pub fn take(&mut self) -> Vec<Arc<Delta>> {
        self.newest.clear();
        self.bytes = 0;
        let mut deltas = std::mem::take(&mut self.deltas);
        deltas.extend(self.current.take());
        deltas
    }
}
