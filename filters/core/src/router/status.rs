//! The meaning of a response's status for the endpoint that sent it.
//!
//! The only definition: the counters, the avoidance of the endpoint, the learning of its cache all follow from it.

use crate::wire::OutcomeClass;

/// The meaning of `status`, after RFC 9110 and the practice of engines: 429 and 503 when they are full; 502 and 504 also
/// from the proxy, when nothing could be reached. `None`: a success, whose body will show what it comes to.
pub(super) fn class_of(status: Option<u16>) -> Option<OutcomeClass> {
    match status {
        Some(200..=299) => None,
        // An engine that does not know the model, the path or the key is not what its pool is meant to be, if the
        // others do.
        Some(401 | 403 | 404 | 405) => Some(OutcomeClass::Rejected),
        Some(429 | 503) => Some(OutcomeClass::Full),
        Some(502 | 504) => Some(OutcomeClass::Unreachable),
        Some(500..) => Some(OutcomeClass::Faulty),
        Some(400..=499) => Some(OutcomeClass::Refused),
        _ => Some(OutcomeClass::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_of_status_has_its_meaning() {
        let cases = [
            (None, Some(OutcomeClass::None)),
            (Some(101), Some(OutcomeClass::None)),
            (Some(200), None),
            (Some(202), None),
            (Some(307), Some(OutcomeClass::None)),
            (Some(400), Some(OutcomeClass::Refused)),
            (Some(401), Some(OutcomeClass::Rejected)),
            (Some(404), Some(OutcomeClass::Rejected)),
            (Some(413), Some(OutcomeClass::Refused)),
            (Some(422), Some(OutcomeClass::Refused)),
            (Some(429), Some(OutcomeClass::Full)),
            (Some(500), Some(OutcomeClass::Faulty)),
            (Some(501), Some(OutcomeClass::Faulty)),
            (Some(502), Some(OutcomeClass::Unreachable)),
            (Some(503), Some(OutcomeClass::Full)),
            (Some(504), Some(OutcomeClass::Unreachable)),
            (Some(505), Some(OutcomeClass::Faulty)),
        ];
        for (status, class) in cases {
            assert_eq!(class_of(status), class, "{status:?}");
        }
    }
}
