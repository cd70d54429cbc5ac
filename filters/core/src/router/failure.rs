//! The meaning of a response's status for the endpoint that sent it.
//!
//! The only definition of "failed": the counter, the avoidance of the endpoint, and whether the first byte teaches a speed
//! all follow from it.

/// The meaning of a status for the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It did the work.
    Served,
    /// It responded, neither refusing nor serving the request: the prefill, if any, is over.
    Responded,
    /// It is full, or could not be reached: it is avoided for a while.
    Failed,
    /// It failed internally: nothing is learned.
    Faulty,
}

// === impl Verdict ===

impl Verdict {
    /// The meaning of `status`, after RFC 9110 and the practice of engines: 429 and 503 when they are full; 502, 503 and 504
    /// also from the proxy, when nothing could be reached.
    pub(super) fn of(status: Option<u16>) -> Self {
        match status {
            Some(200) => Self::Served,
            Some(429 | 502..=504) => Self::Failed,
            Some(500..) => Self::Faulty,
            _ => Self::Responded,
        }
    }

    /// Whether the first byte of such a response ends a prefill.
    pub(super) fn ends_prefill(self) -> bool {
        matches!(self, Self::Served | Self::Responded)
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict;

    #[test]
    fn every_class_of_status_has_its_verdict() {
        let cases = [
            (None, Verdict::Responded),
            (Some(200), Verdict::Served),
            (Some(404), Verdict::Responded),
            (Some(429), Verdict::Failed),
            (Some(500), Verdict::Faulty),
            (Some(501), Verdict::Faulty),
            (Some(502), Verdict::Failed),
            (Some(503), Verdict::Failed),
            (Some(504), Verdict::Failed),
            (Some(505), Verdict::Faulty),
        ];
        for (status, verdict) in cases {
            assert_eq!(Verdict::of(status), verdict, "{status:?}");
        }
    }
}
