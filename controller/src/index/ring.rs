//! The recent deltas, with which a proxy resumes after a short break of its stream.
//!
//! Bounded in number and in bytes. A proxy that missed older deltas gets a snapshot, which costs more and has the same
//! effect.

use super::delta::Delta;
use std::collections::VecDeque;
use std::sync::Arc;
use warmpath_core::ids::Generation;

/// Deltas kept: at 10,000 requests a second with about four deltas each, 1.6 s; at 100, minutes.
const DELTAS_MAX: usize = 65_536;
/// Bytes of deltas kept.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// The last deltas, each one generation after the one before it.
#[derive(Debug, Default)]
pub(super) struct Ring {
    deltas: VecDeque<Arc<Delta>>,
    bytes: usize,
    /// Generation of the newest delta.
    generation: Generation,
}

// === impl Ring ===

impl Ring {
    /// Appends a delta, which thereby becomes the next generation.
    pub(super) fn push(&mut self, delta: Arc<Delta>) {
        self.generation.0 += 1;
        self.bytes += delta.bytes.len();
        self.deltas.push_back(delta);
        while self.deltas.len() > DELTAS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.deltas.pop_front() else { return };
            self.bytes -= oldest.bytes.len();
        }
    }

    /// The generation of the newest delta; zero before any.
    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    /// The deltas after `generation`, oldest first. `None`: some of them are gone, or there was no such generation.
    pub(super) fn since(&self, generation: Generation) -> Option<impl Iterator<Item = &Arc<Delta>>> {
        let missed = usize::try_from(self.generation.0.checked_sub(generation.0)?).ok()?;
        let skipped = self.deltas.len().checked_sub(missed)?;
        Some(self.deltas.iter().skip(skipped))
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, DELTAS_MAX, Ring};
    use crate::index::{Author, Delta};
    use std::sync::Arc;
    use warmpath_core::ids::Generation;
    use warmpath_core::wire::{InFlightReport, Kind, Routed};

    fn delta(requests: u32) -> Arc<Delta> {
        Arc::new(Delta::new(
            Author::Controller,
            Kind::InFlight(InFlightReport { requests, ..InFlightReport::default() }),
        ))
    }

    #[test]
    fn since_yields_exactly_what_was_missed() {
        let mut ring = Ring::default();
        let deltas: Vec<_> = (1..=5).map(delta).collect();
        for delta in &deltas {
            ring.push(Arc::clone(delta));
        }
        let missed: Vec<_> = ring.since(Generation(3)).unwrap().collect();
        assert_eq!(missed, [&deltas[3], &deltas[4]]);
        assert_eq!(ring.since(Generation(5)).unwrap().count(), 0);
        assert_eq!(ring.since(Generation(0)).unwrap().count(), 5);
        assert!(ring.since(Generation(6)).is_none(), "a generation that never was");
    }

    #[test]
    fn what_fell_out_is_not_resumed() {
        let mut ring = Ring::default();
        for _ in 0..=DELTAS_MAX {
            ring.push(delta(1));
        }
        assert!(ring.since(Generation(0)).is_none());
        assert_eq!(ring.since(Generation(1)).unwrap().count(), DELTAS_MAX);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut ring = Ring::default();
        let big = Arc::new(Delta::new(
            Author::Controller,
            Kind::Routed(Routed { endpoint: 1, cells: vec![7; 4096], ..Routed::default() }),
        ));
        for _ in 0..=BYTES_MAX / big.bytes.len() {
            ring.push(Arc::clone(&big));
        }
        assert!(ring.bytes <= BYTES_MAX);
        assert!(ring.since(Generation(0)).is_none());
    }
}
