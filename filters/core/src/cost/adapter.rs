//! A request's LoRA adapter: the load of one that is not on the GPU, and the wait for a place among those that a batch mixes.
//!
//! A place is free when all requests of an adapter have ended, which nobody reports. But when the last of them had its first token is
//! known, and how long responses take. Where no page states how many places there are, nothing is known to wait for.

use super::{CostInput, Work};
use crate::ids::AdapterId;
use crate::num::{float, float_len, index};
use crate::view::Endpoint;

/// Time to put an adapter onto the GPU, in seconds: 0.54 GB, which is rank 32 on all matrices of Qwen3-32B, from one NVMe drive.
const LOAD_S: f64 = 0.077;
const MS_PER_S: f64 = 1_000.0;

/// Seconds that the request waits for its adapter; `response_s`: how long a response there takes.
pub(super) fn wait_s(input: &CostInput<'_>, work: &Work, response_s: f64) -> f64 {
    if work.adapter == AdapterId::BASE {
        return 0.0;
    }
    if is_in_batch(input, work.adapter, response_s) {
        return 0.0;
    }
    let places = index(input.endpoint.status().adapter_slots);
    let load_s = if is_loaded(input.endpoint, work.adapter, places) { 0.0 } else { LOAD_S };
    if places == 0 {
        return load_s;
    }
    let mut ends: Vec<f64> = left_s(input, response_s).map(|(_, left_s)| left_s).collect();
    // Those that came before take the places that are free, and the next ones that will be.
    let free = places.saturating_sub(ends.len());
    if free > work.coming {
        return load_s;
    }
    ends.sort_by(f64::total_cmp);
    let behind = work.coming - free;
    // With more than there are places, whole rounds of responses come first.
    let rounds = float_len(behind / places);
    load_s + ends.get(behind % places).or(ends.last()).copied().unwrap_or(response_s) + rounds * response_s
}

/// Whether the batch has requests of an adapter.
pub(super) fn is_in_batch(input: &CostInput<'_>, adapter: AdapterId, response_s: f64) -> bool {
    left_s(input, response_s).any(|(used, _)| used == adapter)
}

/// The adapters in the batch, each with the time until the response to its last request has ended.
fn left_s(input: &CostInput<'_>, response_s: f64) -> impl Iterator<Item = (AdapterId, f64)> {
    let left = move |since| response_s - float(input.now.ms_since(since)) / MS_PER_S;
    let all = input.endpoint.adapters().latest().map(move |used| (used.adapter, left(used.served)));
    all.filter(|(_, left_s)| *left_s > 0.0)
}

/// Whether an adapter is among the last ones used, which are those on the GPU. Where nobody knows how many fit, the last one is.
fn is_loaded(endpoint: &Endpoint, adapter: AdapterId, places: usize) -> bool {
    endpoint.adapters().latest().take(places.max(1)).any(|used| used.adapter == adapter)
}
