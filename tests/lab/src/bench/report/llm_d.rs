//! What llm-d's own picker costs, measured on a machine like these: its endpoint picker (main of 2026-11-22, file
//! discovery, prefix-cache and load-aware scorers) beside Envoy 1.40 with one worker, one client that keeps its
//! connection, unique prompts; and, on the same machine, Envoy with its buffer filter.
//!
//! It is a Go program that no recipe here could bring, so it is not run again. Its figures are scaled by what the same
//! Envoy costs in this run: a machine twice as slow is taken to make both twice as dear. Repeats of that measurement
//! differed by about 10 %.

/// What the scaled figures are called in tables.
pub(super) const NAME: &str = "llm-d, scaled";

/// What that means, for whoever reads a table.
pub(super) const DESCRIPTION: &str = "llm-d's picker (a Go program beside Envoy) is not run here; what it was measured to \
                                      cost elsewhere, as a multiple of the same Envoy, times what that Envoy costs in \
                                      this run";

/// Microseconds a request, by bytes of the body: picker and its Envoy together, and Envoy with its buffer filter.
const REQUEST_US: [(usize, f64, f64); 4] = [
    (1 << 10, 874.0, 93.0),
    (8 << 10, 1_247.0, 120.0),
    (32 << 10, 1_820.0, 113.0),
    (128 << 10, 4_180.0, 160.0),
];

/// Microseconds a streamed piece: picker and its Envoy together, and plain Envoy.
const CHUNK_US: (f64, f64) = (206.0, 32.0);

/// How many times as much as Envoy with its buffer filter a request costs. `None`: nobody has measured that size.
pub(super) fn times_buffer(body_bytes: usize) -> Option<f64> {
    let row = REQUEST_US.into_iter().find(|(bytes, ..)| *bytes == body_bytes);
    row.map(|(_, picker, buffer)| picker / buffer)
}

/// How many times as much as plain Envoy a streamed piece costs.
pub(super) fn times_plain_chunk() -> f64 {
    CHUNK_US.0 / CHUNK_US.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sizes_that_were_measured_are_scaled() {
        assert!(times_buffer(1 << 10).is_some_and(|times| (times - 9.398).abs() < 0.001));
        assert!(times_buffer(128 << 10).is_some_and(|times| (times - 26.125).abs() < 0.001));
        assert_eq!(times_buffer(2 << 10), None);
        assert!((times_plain_chunk() - 6.4375).abs() < 1e-9);
    }
}
