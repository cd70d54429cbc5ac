//! Time as the core sees it: an argument, with a type of its own, so that milliseconds, microseconds and counts of
//! other things cannot be mistaken for each other.
//!
//! A view's owner may use any clock, as long as it is always the same one. Where proxies must agree on the time
//! ([`crate::view::Turn`]) it is the wall clock, which can be set back: [`Timestamp::ms_since`] then yields zero, and
//! code that waits for an interval to pass uses [`Timestamp::ms_apart`].

const US_PER_MS: u64 = 1_000;

/// A moment, in microseconds since the clock's zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    us: u64,
}

// === impl Timestamp ===

impl Timestamp {
    /// The clock's zero.
    pub const ZERO: Self = Self::from_us(0);

    /// A moment in milliseconds since the clock's zero.
    pub const fn from_ms(ms: u64) -> Self {
        Self { us: ms.saturating_mul(US_PER_MS) }
    }

    /// A moment in microseconds since the clock's zero.
    pub const fn from_us(us: u64) -> Self {
        Self { us }
    }

    /// Whole milliseconds since the clock's zero.
    pub const fn ms(self) -> u64 {
        self.us / US_PER_MS
    }

    /// Microseconds since the clock's zero.
    pub const fn us(self) -> u64 {
        self.us
    }

    /// The moment so many milliseconds later.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self { us: self.us.saturating_add(ms.saturating_mul(US_PER_MS)) }
    }

    /// The moment so many milliseconds earlier; the clock's zero at the earliest.
    #[must_use]
    pub const fn minus_ms(self, ms: u64) -> Self {
        Self { us: self.us.saturating_sub(ms.saturating_mul(US_PER_MS)) }
    }

    /// Whole milliseconds since `earlier`; zero when that is later.
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.us_since(earlier) / US_PER_MS
    }

    /// Microseconds since `earlier`; zero when that is later.
    pub const fn us_since(self, earlier: Self) -> u64 {
        self.us.saturating_sub(earlier.us)
    }

    /// Whole milliseconds between two moments, whichever is the later one.
    pub const fn ms_apart(self, other: Self) -> u64 {
        self.us.abs_diff(other.us) / US_PER_MS
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn a_clock_that_was_set_back_yields_no_huge_interval() {
        let (early, late) = (Timestamp::from_ms(1_000), Timestamp::from_us(3_500_999));
        assert_eq!((late.ms(), late.us()), (3_500, 3_500_999));
        assert_eq!((late.ms_since(early), early.ms_since(late)), (2_500, 0));
        assert_eq!((late.us_since(early), early.us_since(late)), (2_500_999, 0));
        assert_eq!((late.ms_apart(early), early.ms_apart(late)), (2_500, 2_500));
    }

    #[test]
    fn the_end_of_time_is_an_edge_not_an_overflow() {
        let end = Timestamp::from_ms(u64::MAX);
        assert_eq!(end.plus_ms(1), end);
        assert!(Timestamp::from_ms(5).plus_ms(u64::MAX) == end);
    }
}
