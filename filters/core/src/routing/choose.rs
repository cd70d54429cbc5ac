//! The choice: endpoints that may serve, their cost, an order.
//!
//! Pools up to [`SCAN_ENDPOINTS_MAX`] are examined whole, larger ones by a [`sample`]; where no endpoint of a sample is fit, all
//! are examined. Ties are broken at random, by a nonce that the caller draws.

use super::sample::sample;
use super::weigh::{Weighed, weigh_all};
use super::{Decision, NoEndpoint, Query, Reason};
use crate::cost::Weights;
use crate::ids::Slot;
use crate::limits::SCAN_ENDPOINTS_MAX;
use crate::num::{float, float_len};
use crate::time::Timestamp;
use crate::view::{Fitness, Leg, Match, Turn};

/// Share of the prompt by which another endpoint may hold more before the choice counts as one against it: a cell or two
/// do not matter.
const NOISE_SHARE: f64 = 0.1;

/// The inputs of a choice besides the request and the view.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Endpoints wanted after the chosen one.
    pub alternates: usize,
    /// Random bits.
    pub nonce: u64,
    /// Now, on the view's clock; for turns to mean the same in all proxies, the wall clock.
    pub now: Timestamp,
    /// How much each term of the cost counts.
    pub weights: Weights,
}

/// Chooses an endpoint for a whole request.
pub fn choose(query: &Query<'_>, options: &Options) -> Result<Decision, NoEndpoint> {
    let matches = query.matches();
    let ranked = rank(query, options, Leg::Whole, &matches);
    ranked.decision(query, options, options.alternates).ok_or(NoEndpoint::NoneKnown)
}

/// The endpoints of a leg that were weighed.
pub(super) struct Ranked<'a> {
    /// All of them, in any order.
    pub(super) weighed: Vec<Weighed<'a>>,
    considered: usize,
}

/// Weighs the endpoints that take a leg.
pub(super) fn rank<'a>(query: &Query<'a>, options: &Options, leg: Leg, matches: &[Match]) -> Ranked<'a> {
    let pinned = query.pinned.as_ref().filter(|_| leg == Leg::Whole);
    let slots = pinned.map_or(query.pool().taking(leg), std::slice::from_ref);
    let mut weighed = if slots.len() > SCAN_ENDPOINTS_MAX {
        // A sample of our own is hardly another proxy's.
        let mut drawn = sample(query, leg, matches, options.nonce);
        let places = query.places.iter().filter(|_| leg == Leg::Whole).take(SCAN_ENDPOINTS_MAX);
        let missing: Vec<Slot> = places.filter(|place| !drawn.contains(place)).copied().collect();
        drawn.extend(missing);
        weigh_all(query, options, (leg, matches), &drawn, Turn::default())
    } else {
        weigh_all(query, options, (leg, matches), slots, query.view().turn())
    };
    if slots.len() > SCAN_ENDPOINTS_MAX && !weighed.iter().any(|one| one.fitness == Fitness::Fit) {
        // A sample without a fit endpoint does not mean that there is none.
        weighed = weigh_all(query, options, (leg, matches), slots, query.view().turn());
    }
    let considered = weighed.len();
    // An unhealthy endpoint is no alternate either: a retry there is a retry lost. But where all are, it is more likely that
    // whoever looks at their health fails, and a request that is tried may succeed.
    if weighed.iter().any(|one| one.fitness != Fitness::Unhealthy) {
        weighed.retain(|one| one.fitness != Fitness::Unhealthy);
    }
    Ranked { weighed, considered }
}

// === impl Ranked ===

impl Ranked<'_> {
    /// The best and `alternates` others; `None`: no endpoint takes the leg.
    pub(super) fn decision(
        mut self,
        query: &Query<'_>,
        options: &Options,
        alternates: usize,
    ) -> Option<Decision> {
        put_best_first(&mut self.weighed, alternates.saturating_add(1));
        let (chosen, others) = self.weighed.split_first()?;
        let reason = if query.pinned.is_some() { Reason::Stored } else { reason(query, chosen, others) };
        let alternates = others.get(..alternates).unwrap_or(others);
        Some(Decision {
            chosen: chosen.candidate(options.now),
            alternates: alternates.iter().map(|one| one.candidate(options.now)).collect(),
            reason,
            considered: self.considered,
            priority: query.priority,
        })
    }
}

/// Puts the best `wanted` first, in order. The rest may have any order: all but a few are thrown away.
fn put_best_first(weighed: &mut [Weighed<'_>], wanted: usize) {
    let wanted = wanted.min(weighed.len());
    if let Some(last) = wanted.checked_sub(1) {
        weighed.select_nth_unstable_by_key(last, Weighed::rank);
    }
    if let Some(best) = weighed.get_mut(..wanted) {
        best.sort_unstable_by_key(Weighed::rank);
    }
}

/// The reason for the choice. Only endpoints as fit as the chosen one count as others, and with a place as it has: to avoid a failing
/// one, or one without room, is not a choice.
fn reason(query: &Query<'_>, chosen: &Weighed<'_>, others: &[Weighed<'_>]) -> Reason {
    if query.chain.is_empty() {
        return Reason::Load;
    }
    let as_fit = others
        .iter()
        .filter(|other| other.fitness == chosen.fitness && other.is_elsewhere == chosen.is_elsewhere);
    let longest = as_fit.map(|other| other.cells).max().unwrap_or(0).max(chosen.cells);
    let noise = NOISE_SHARE * float_len(query.chain.len());
    if longest == 0 {
        Reason::Cold
    } else if chosen.cells == longest
        || (chosen.cells > 0 && float(u64::from(longest - chosen.cells)) <= noise)
    {
        Reason::Warm
    } else {
        Reason::Spill
    }
}
