//! What the requests at each endpoint came to, counted for the metrics page.

use fnv::FnvHashMap;
use warmpath_core::ids::EndpointId;
use warmpath_core::view::View;
use warmpath_core::wire::{Outcome, OutcomeClass};

/// The classes by their names in metrics; the filter's counters have the same.
const CLASSES: [(OutcomeClass, &str); 9] = [
    (OutcomeClass::None, "none"),
    (OutcomeClass::Served, "served"),
    (OutcomeClass::Refused, "refused"),
    (OutcomeClass::Rejected, "rejected"),
    (OutcomeClass::Full, "full"),
    (OutcomeClass::Faulty, "faulty"),
    (OutcomeClass::Unreachable, "unreachable"),
    (OutcomeClass::Silent, "silent"),
    (OutcomeClass::Empty, "empty"),
];

/// Counts of each endpoint, in the order of [`CLASSES`].
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    counts: FnvHashMap<EndpointId, [u64; CLASSES.len()]>,
}

// === impl Outcomes ===

impl Outcomes {
    /// Counts an outcome at an endpoint that is in a pool.
    pub(super) fn note(&mut self, outcome: &Outcome) {
        let counts = self.counts.entry(EndpointId(outcome.endpoint)).or_default();
        for ((class, _), count) in CLASSES.iter().zip(counts) {
            *count += u64::from(*class == outcome.class());
        }
    }

    /// Drops endpoints that are in no pool any more.
    pub(super) fn retain(&mut self, view: &View) {
        self.counts.retain(|endpoint, _| view.slot(*endpoint).is_some());
    }

    /// The counts of an endpoint, by class.
    pub(super) fn of(&self, endpoint: EndpointId) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.counts.get(&endpoint).copied().unwrap_or_default();
        CLASSES.into_iter().zip(counts).map(|((_, label), count)| (label, count))
    }
}
