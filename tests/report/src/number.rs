//! Numbers as people read them.

/// A number with about three digits.
pub fn number(value: f64) -> String {
    format!("{value:.*}", decimals(value))
}

/// A share in percent.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Milliseconds, or seconds when there are many.
pub fn time_ms(ms: f64) -> String {
    if ms < 10_000.0 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1_000.0) }
}

/// A ratio.
pub fn times(ratio: f64) -> String {
    format!("{ratio:.2}x")
}

/// Decimals that leave about three digits of a number.
pub(crate) fn decimals(value: f64) -> usize {
    match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_long_times_are_seconds() {
        assert_eq!([number(0.0512), number(12.34), number(1234.5)], ["0.051", "12.3", "1234"]);
        assert_eq!([time_ms(9_999.0), time_ms(12_340.0)], ["9999 ms", "12.3 s"]);
    }
}
