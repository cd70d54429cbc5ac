//! The recent deltas, so that a proxy whose stream broke for a moment goes on where it was.
//!
//! Bounded in number and in bytes: what has fallen out is replaced by a snapshot, which costs more and
//! says the same.

use super::fact::Fact;
use std::collections::VecDeque;
use std::sync::Arc;
use warmpath_core::ids::Generation;

/// EngineStatus kept: at 10,000 requests a second with about four facts each, 1.6 s; at 100, minutes.
const FACTS_MAX: usize = 65_536;
/// Bytes of facts kept.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// The last facts, each one generation after the one before it.
#[derive(Debug, Default)]
pub struct Ring {
    facts: VecDeque<Arc<Fact>>,
    bytes: usize,
    /// Generation of the newest fact.
    generation: Generation,
}

// === impl Ring ===

impl Ring {
    /// Appends a fact, which thereby becomes the next generation.
    pub fn push(&mut self, fact: Arc<Fact>) {
        self.generation.0 += 1;
        self.bytes += fact.bytes.len();
        self.facts.push_back(fact);
        while self.facts.len() > FACTS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.facts.pop_front() else { return };
            self.bytes -= oldest.bytes.len();
        }
    }

    /// The generation of the newest fact; zero before any.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The facts after `generation`, oldest first. `None`: some of them are gone, or it never was.
    pub fn since(&self, generation: Generation) -> Option<impl Iterator<Item = &Arc<Fact>>> {
        let missed = usize::try_from(self.generation.0.checked_sub(generation.0)?).ok()?;
        let skipped = self.facts.len().checked_sub(missed)?;
        Some(self.facts.iter().skip(skipped))
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, FACTS_MAX, Ring};
    use crate::index::{Author, Fact};
    use std::sync::Arc;
    use warmpath_core::ids::Generation;
    use warmpath_core::wire::{InFlightReport, Kind, Routed};

    fn fact(requests: u32) -> Arc<Fact> {
        Arc::new(Fact::new(
            Author::Controller,
            Kind::InFlight(InFlightReport { requests, ..InFlightReport::default() }),
        ))
    }

    #[test]
    fn since_yields_exactly_what_was_missed() {
        let mut ring = Ring::default();
        let facts: Vec<_> = (1..=5).map(fact).collect();
        for fact in &facts {
            ring.push(Arc::clone(fact));
        }
        let missed: Vec<_> = ring.since(Generation(3)).unwrap().collect();
        assert_eq!(missed, [&facts[3], &facts[4]]);
        assert_eq!(ring.since(Generation(5)).unwrap().count(), 0);
        assert_eq!(ring.since(Generation(0)).unwrap().count(), 5);
        assert!(ring.since(Generation(6)).is_none(), "a generation that never was");
    }

    #[test]
    fn what_fell_out_is_not_resumed() {
        let mut ring = Ring::default();
        for _ in 0..=FACTS_MAX {
            ring.push(fact(1));
        }
        assert!(ring.since(Generation(0)).is_none());
        assert_eq!(ring.since(Generation(1)).unwrap().count(), FACTS_MAX);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut ring = Ring::default();
        let big = Arc::new(Fact::new(
            Author::Controller,
            Kind::Routed(Routed { endpoint: 1, cells: vec![7; 4096] }),
        ));
        for _ in 0..=BYTES_MAX / big.bytes.len() {
            ring.push(Arc::clone(&big));
        }
        assert!(ring.bytes <= BYTES_MAX);
        assert!(ring.since(Generation(0)).is_none());
    }
}
