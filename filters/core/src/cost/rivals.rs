//! The rivals: another proxy may send a prompt like ours to the same endpoint at this very moment, unseen.
//!
//! In front of an endpoint that it is not our turn to take ([`crate::view::Turn`]) one more prefill like ours is
//! reckoned with, by the share of the prompt that nobody holds: what is new may go anywhere, and so may the rival's.
//! A prompt whose beginning lies somewhere goes there, whoever's turn it is.

use super::Work;

/// Seconds of a prefill that may stand before ours, and that we do not see.
pub(super) fn seconds(work: &Work, prefill_s: f64) -> f64 {
    work.rival_share * prefill_s
}
