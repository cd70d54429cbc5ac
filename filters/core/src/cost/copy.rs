//! The copy: what is computed although another endpoint holds it.
//!
//! A copy takes room in two caches for one prefix, and the later turns find their beginning in one of two places.
//! A cell that many hold already is proportionally less worth keeping where it is: so a conversation stays, and a
//! system prompt that everybody uses spreads. What the computing itself costs others is in the terms before.

use super::{Place, Work};
use crate::num::float;

/// How deep the holders of one prompt reach, to tell what a further copy would repeat.
#[derive(Clone, Debug, Default)]
pub struct Copies {
    /// Cells held by each holder, ascending.
    depths: Vec<u32>,
    /// `beyond[i]`: cells beyond `depths[i]`, each divided by the number of its holders.
    beyond: Vec<f64>,
}

// === impl Copies ===

impl Copies {
    /// Takes each holder's cells, in any order.
    pub fn new(mut depths: Vec<u32>) -> Self {
        depths.sort_unstable();
        let mut beyond = vec![0.0; depths.len()];
        let mut sum = 0.0;
        let mut holders = 0.0;
        let mut deeper: Option<u32> = None;
        for (depth, beyond) in depths.iter().zip(&mut beyond).rev() {
            if let Some(deeper) = deeper {
                sum += f64::from(deeper - depth) / holders;
            }
            *beyond = sum;
            holders += 1.0;
            deeper = Some(*depth);
        }
        Self { depths, beyond }
    }

    /// Cells that an endpoint which holds `cells` would have to compute although others hold them, each
    /// divided by the number of its holders.
    pub fn repeated_cells(&self, cells: u32) -> f64 {
        let at = self.depths.partition_point(|depth| *depth <= cells);
        match (self.depths.get(at), self.beyond.get(at)) {
            (Some(next), Some(beyond)) => {
                f64::from(next - cells) / crate::num::float_len(self.depths.len() - at) + beyond
            }
            _ => 0.0,
        }
    }
}

/// Seconds to compute once more what is repeated, as some later turn will.
pub(super) fn seconds(place: &Place<'_>, work: &Work) -> f64 {
    float(work.repeated_tokens) * place.prefill_s_per_token
}

#[cfg(test)]
mod tests {
    use super::Copies;
    use proptest::prelude::*;

    proptest! {
        /// Cell by cell: one over the number of endpoints that hold it.
        #[test]
        fn equals_counting_each_cell(depths in prop::collection::vec(0_u32..40, 0..10), cells in 0_u32..50) {
            let deepest = depths.iter().copied().max().unwrap_or(0);
            let naive: f64 = (cells..deepest)
                .map(|cell| 1.0 / crate::num::float_len(depths.iter().filter(|depth| **depth > cell).count()))
                .sum();
            let copies = Copies::new(depths);
            prop_assert!((copies.repeated_cells(cells) - naive).abs() < 1e-9);
        }
    }
}
