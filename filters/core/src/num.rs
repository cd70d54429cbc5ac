//! The few number conversions that `From` does not offer, in one place.
//!
//! The crate bans `as`, because a silent truncation in a cost or an index is a wrong route that no test
//! notices. Each function documents its limits.

/// A count as a float. Exact below 2^53, which every count here is.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub fn float(count: u64) -> f64 {
    count as f64
}

/// A length as a float; see [`float`].
pub fn float_len(length: usize) -> f64 {
    float(u64_len(length))
}

/// A length as `u64`; `usize` is never wider.
pub fn u64_len(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A length as `u32`, saturating.
pub fn u32_len(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// An index as `usize`; exact on 32-bit targets and wider.
pub fn index(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// A non-negative float as a count: rounds to nearest, saturates, and maps NaN and negatives to zero.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float-to-int `as` saturates, which is the documented edge"
)]
pub fn count(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn count_maps_the_odd_floats_to_the_edges() {
        assert_eq!(count(f64::NAN), 0);
        assert_eq!(count(-3.0), 0);
        assert_eq!(count(f64::INFINITY), u64::MAX);
        assert_eq!(count(2.5), 3);
    }
}
