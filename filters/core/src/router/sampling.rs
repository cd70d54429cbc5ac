//! The sample of streams whose usage is read.
//!
//! The usage of a stream may be in any of its pieces, so each piece of a stream that is read is copied into the VM,
//! at three times the cost of passing it on. The values learned from usage (bytes per token, reuse, length of responses)
//! are the same in all streams of a pool, so a sample is enough.

/// Streams of a VM whose usage is read, from its first.
const STREAMS_FIRST: u64 = 64;
/// After those, one stream in this many is read.
const STREAMS_PER_SAMPLE: u64 = 8;

/// The streams of one VM so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UsageSampling {
    streams: u64,
}

// === impl UsageSampling ===

impl UsageSampling {
    /// Whether the next stream that reports its usage is one of the sample.
    pub(super) fn takes_next(&mut self) -> bool {
        let number = self.streams;
        self.streams += 1;
        number < STREAMS_FIRST || number.is_multiple_of(STREAMS_PER_SAMPLE)
    }
}

#[cfg(test)]
mod tests {
    use super::UsageSampling;

    #[test]
    fn one_stream_of_eight_is_taken_after_the_first_sixty_four() {
        let mut sampling = UsageSampling::default();
        let taken: Vec<bool> = (0..64 + 80).map(|_| sampling.takes_next()).collect();
        assert!(taken[..64].iter().all(|taken| *taken));
        assert_eq!(taken[64..].iter().filter(|taken| **taken).count(), 10);
    }
}
