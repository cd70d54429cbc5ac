//! The requests that proxies hold for a pool, in numbers: for `/state` and for the metrics.
//!
//! All proxies' are counted, whichever replica of the controller is asked, because each follows the others.

use warmpath_core::time::Timestamp;
use warmpath_core::view::View;
use warmpath_core::wire::HeldFor;

/// What a pool's requests may wait for, with the names in metrics.
pub(super) const REASONS: [(HeldFor, &str); 2] =
    [(HeldFor::Room, "no_room"), (HeldFor::Endpoint, "no_endpoint")];

/// Requests that wait for the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    /// How many.
    pub(super) requests: usize,
    /// How long the oldest of them has waited, in milliseconds.
    pub(super) oldest_ms: u64,
    /// Bytes of their bodies, which the proxies keep.
    pub(super) body_bytes: u64,
}

/// Those that wait for `reason` in a pool.
pub(super) fn waiting(view: &View, pool: &str, reason: HeldFor, now: Timestamp) -> Waiting {
    let queue = view.admission(pool).into_iter().flat_map(|gate| gate.queue().iter());
    queue.filter(|one| one.held_for == reason).fold(Waiting::default(), |sum, one| Waiting {
        requests: sum.requests + 1,
        oldest_ms: sum.oldest_ms.max(now.ms_since(one.since)),
        body_bytes: sum.body_bytes.saturating_add(one.body_bytes),
    })
}
