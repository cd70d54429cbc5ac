//! What is to be done next with a pod whose engine may sleep, from what is wanted, what its label says, and what its engine says. Pure.
//!
//! The label comes before the sleep and goes after the wake, so that at no time a request comes to an engine that sleeps: it is what
//! Services, pools and every replica of the controller go by.

use crate::config::ObjectName;
use std::time::Duration;

/// How long a pod takes no requests before its engine is put to sleep: by then every proxy knows, as when a pod is deleted.
const SETTLE: Duration = Duration::from_secs(5);

/// A pod whose engine may sleep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::deploy) struct Target {
    /// Its ModelService.
    pub(super) service: ObjectName,
    /// The level at which engines of that sleep.
    pub(super) level: u8,
    /// Whether it should sleep.
    pub(super) sleeps: bool,
    /// The level that its label says; none: it takes requests.
    pub(super) labelled: Option<u8>,
    /// Where its engines listen.
    pub(super) addresses: Vec<String>,
}

/// What its engines say, and what this leader has done to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// How many engines it has, and how many of them sleep, at least in part.
    pub(super) engines: usize,
    pub(super) asleep: usize,
    /// Whether they have no requests.
    pub(super) is_idle: bool,
    /// How long it has taken none, as far as this leader knows.
    pub(super) withheld: Duration,
    /// Whether nobody else can have sent it to sleep a moment ago: this leader has labelled it, or woken it.
    pub(super) is_ours: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Rest,
    /// Let no more requests come.
    Withhold(u8),
    /// Wait for those that it has.
    Settle,
    /// Put it to sleep.
    Sleep(u8),
    /// Wake it.
    Wake(u8),
    /// Let requests come.
    Admit,
}

/// What is to be done with a pod.
pub(super) fn step(target: &Target, known: Known) -> Step {
    let Known { engines, asleep, is_idle, withheld, is_ours } = known;
    match (target.sleeps, target.labelled) {
        (true, None) => Step::Withhold(target.level),
        (true, Some(_)) if asleep == engines => Step::Rest,
        (true, Some(level)) if is_idle && withheld >= SETTLE => Step::Sleep(level),
        (true, Some(_)) => Step::Settle,
        // A leader before this one may have sent it to sleep, and it may not have begun.
        (false, Some(level)) if asleep > 0 || !is_ours => Step::Wake(level),
        (false, Some(_)) => Step::Admit,
        // Somebody else has put it to sleep.
        (false, None) if asleep > 0 => Step::Withhold(target.level),
        (false, None) => Step::Rest,
    }
}

#[cfg(test)]
mod tests {
    use super::{Known, SETTLE, Step, Target, step};
    use crate::config::ObjectName;
    use std::time::Duration;

    fn target(sleeps: bool, labelled: Option<u8>) -> Target {
        let service = ObjectName { namespace: "llm".to_owned(), name: "llama".to_owned() };
        Target { service, level: 1, sleeps, labelled, addresses: Vec::new() }
    }

    const AWAKE: Known =
        Known { engines: 2, asleep: 0, is_idle: true, withheld: Duration::ZERO, is_ours: true };

    #[test]
    fn no_engine_is_put_to_sleep_before_its_requests_have_ended_and_none_can_come() {
        let settled = Known { withheld: SETTLE, ..AWAKE };
        assert_eq!(step(&target(true, None), settled), Step::Withhold(1));
        let labelled = target(true, Some(2));
        assert_eq!(step(&labelled, AWAKE), Step::Settle);
        assert_eq!(step(&labelled, Known { is_idle: false, ..settled }), Step::Settle);
        assert_eq!(step(&labelled, settled), Step::Sleep(2), "as its label says");
        assert_eq!(step(&labelled, Known { asleep: 1, ..settled }), Step::Sleep(2), "one of two ranks");
        assert_eq!(step(&labelled, Known { asleep: 2, ..settled }), Step::Rest);
    }

    #[test]
    fn no_request_comes_before_all_engines_of_a_pod_are_awake() {
        let labelled = target(false, Some(2));
        assert_eq!(step(&labelled, Known { asleep: 1, ..AWAKE }), Step::Wake(2));
        assert_eq!(step(&labelled, AWAKE), Step::Admit);
        // Whoever led before may have sent it to sleep a moment ago.
        assert_eq!(step(&labelled, Known { is_ours: false, ..AWAKE }), Step::Wake(2));
        assert_eq!(step(&target(false, None), AWAKE), Step::Rest);
        assert_eq!(step(&target(false, None), Known { asleep: 1, ..AWAKE }), Step::Withhold(1));
    }
}
