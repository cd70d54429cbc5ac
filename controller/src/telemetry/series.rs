//! The series of one quantity on a page -> one figure, by what their labels mean.
//!
//! | label | meaning | series that differ in it only |
//! |---|---|---|
//! | `priority`, `lora_name`, `reason` | a part; empty or absent: the total | the total alone, or else the parts' sum |
//! | `tp_rank`, `pp_rank`, `moe_ep_rank`, .. | ranks that work on the same requests; `pid`: processes that show the same | the largest |
//! | `engine`, `dp_rank`, `model_name`, any other | engines, replicas or models with work of their own | the sum of counts, the mean of shares |
//!
//! The obvious sum over all series counts a request once for each label set that it appears in: SGLang shows a total and
//! its priorities, and every tensor-parallel rank of it, if asked to, the same queue.

use super::page::Sample;
use fnv::{FnvBuildHasher, FnvHashMap};
use std::hash::BuildHasher;

/// Labels whose values divide a total that stands beside them.
const PARTS: [&[u8]; 3] = [b"priority", b"lora_name", b"reason"];
/// Labels of ranks and processes that show the same work.
const SHARED: [&[u8]; 8] = [
    b"tp_rank",
    b"pp_rank",
    b"moe_ep_rank",
    b"moe_dp_rank",
    b"ep_rank",
    b"attn_tp_rank",
    b"attn_cp_rank",
    b"pid",
];

/// The series of one quantity, by who shows them.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    owners: FnvHashMap<u64, Owner>,
}

/// The series of one engine, replica or model.
#[derive(Clone, Debug, Default)]
struct Owner {
    total: Option<f64>,
    parts: FnvHashMap<u64, f64>,
}

// === impl Series ===

impl Series {
    /// Adds a series. One without a known value (NaN until the engine knows it) is none.
    pub(super) fn add(&mut self, sample: &Sample<'_>) {
        let (mut owner, mut part) = (0_u64, 0_u64);
        for (label, value) in sample.labels() {
            // Sums, because engines do not agree on the order of labels.
            let hash = FnvBuildHasher::default().hash_one((label, value));
            if PARTS.contains(&label) {
                part = part.wrapping_add(if value.is_empty() { 0 } else { hash });
            } else if !SHARED.contains(&label) {
                owner = owner.wrapping_add(hash);
            }
        }
        self.put(owner, part, sample.value);
    }

    /// Adds a value of the owner that identity labels alone name, where the others are values.
    pub(super) fn add_of(&mut self, sample: &Sample<'_>, value: f64) {
        let identity = ["engine", "dp_rank", "model_name", "model"].map(|label| sample.label(label));
        self.put(FnvBuildHasher::default().hash_one(identity), 0, value);
    }

    fn put(&mut self, owner: u64, part: u64, value: f64) {
        if !value.is_finite() {
            return;
        }
        let owner = self.owners.entry(owner).or_default();
        if part == 0 {
            owner.total = Some(owner.total.map_or(value, |total| total.max(value)));
        } else {
            let largest = owner.parts.entry(part).or_insert(value);
            *largest = largest.max(value);
        }
    }

    /// Whether there is no series.
    pub(super) fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// The sum over all owners: a count of requests, tokens or blocks.
    pub(super) fn sum(&self) -> f64 {
        self.owners.values().map(Owner::value).sum()
    }

    /// The mean over all owners: a share.
    pub(super) fn mean(&self) -> Option<f64> {
        let owners = warmpath_core::num::float_len(self.owners.len());
        (!self.is_empty()).then(|| self.sum() / owners)
    }

    /// The largest of all owners: a figure that all of them share.
    pub(super) fn largest(&self) -> f64 {
        self.owners.values().map(Owner::value).fold(0.0, f64::max)
    }
}

// === impl Owner ===

impl Owner {
    fn value(&self) -> f64 {
        self.total.unwrap_or_else(|| self.parts.values().sum())
    }
}
