//! What is to be done next with a pod whose engine may sleep, from what is wanted, what its label says, and what its engine says. Pure.
//!
//! The label comes before the sleep and goes after the wake, so that at no time a request comes to an engine that sleeps: it is what
//! Services, pools and every replica of the controller go by.
//!
//! An engine is not believed that it is awake while the end of a `/sleep` is not known. vLLM pauses before it gives memory back, and says
//! that it sleeps from then on: where the rest fails, `/wake_up` makes it say that it is awake, without its weights; and where the rest
//! waits for something, a wake does not cancel it. The label says so, for the leader that comes next, and the way out is another pod.

use crate::config::ObjectName;
use std::time::Duration;
use warmpath_deploy::plan::Asleep;

/// How long a pod takes no requests before its engine is put to sleep: by then every proxy knows, as when a pod is deleted.
pub(super) const SETTLE: Duration = Duration::from_secs(5);
/// After this time without new requests an engine should have none: those of the longest responses have ended.
pub(super) const SETTLE_MAX: Duration = Duration::from_mins(10);
/// An engine that is not woken by so many tries, for at least so long, or for so long by any number, is given up: a start takes minutes
/// and does end.
const FAILURES: u32 = 3;
const FAILING: Duration = Duration::from_mins(2);
pub(super) const FAILING_MAX: Duration = Duration::from_mins(10);

/// A pod whose engine may sleep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::deploy) struct Target {
    /// Its ModelService.
    pub(super) service: ObjectName,
    /// The level at which engines of that sleep.
    pub(super) level: u8,
    /// Whether it should sleep.
    pub(super) sleeps: bool,
    /// How it sleeps by its label; none: it takes requests.
    pub(super) labelled: Option<Asleep>,
    /// How often its containers have been started again.
    pub(super) restarts: u32,
    pub(super) is_ready: bool,
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
    /// Whether all of it has fallen asleep when this leader sent it to sleep last.
    pub(super) fell: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Rest,
    /// Nothing: how its sleep has ended is not known, or it failed.
    Unsure,
    /// Nothing: it has ended when it was put to sleep, and is awake again.
    Restarted,
    /// Let no more requests come.
    Withhold(u8),
    /// Wait for those that it has.
    Settle,
    /// Put it to sleep.
    Sleep(u8),
    /// Write down that it fell asleep.
    Confirm(u8),
    /// Wake it.
    Wake(u8),
    /// Let requests come.
    Admit,
    /// Delete it, for another one to start.
    Replace,
}

/// What is to be done with a pod.
pub(super) fn step(target: &Target, known: Known) -> Step {
    let Known { engines, asleep, is_idle, withheld, fell } = known;
    // One that sleeps or pauses without a label does so for somebody else.
    let Some(Asleep { level, sent }) = target.labelled else {
        return if target.sleeps { Step::Withhold(target.level) } else { Step::Rest };
    };
    // Its engine is another process, to which nothing was sent.
    let has_restarted = sent.is_some_and(|restarts| restarts < target.restarts);
    match (target.sleeps, sent) {
        (true, Some(_)) if fell => Step::Confirm(level),
        (true, Some(_)) if has_restarted => Step::Restarted,
        (true, Some(_)) => Step::Unsure,
        (false, Some(_)) if !(fell || has_restarted && asleep == 0) => Step::Replace,
        (true, None) if asleep == engines => Step::Rest,
        (true, None) if is_idle && withheld >= SETTLE => Step::Sleep(level),
        (true, None) => Step::Settle,
        (false, _) if asleep > 0 => Step::Wake(level),
        (false, _) => Step::Admit,
    }
}

/// Whether an engine is given up that could not be woken by so many tries in a row, for so long.
pub(super) fn is_lost(failures: u32, failing: Duration) -> bool {
    failing >= FAILING_MAX || (failures >= FAILURES && failing >= FAILING)
}

// === impl Step ===

impl Step {
    /// What is wrong where this is all that can be done.
    pub(super) fn trouble(self) -> Option<&'static str> {
        match self {
            Self::Unsure => {
                Some("how its last sleep ended is not known: it is replaced when the model is wanted again")
            }
            Self::Restarted => Some(
                "its container ended when it was put to sleep, and stays awake now: has it memory for the weights?",
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Asleep, FAILING, FAILING_MAX, Known, SETTLE, Step, Target, is_lost, step};
    use crate::config::ObjectName;
    use std::time::Duration;

    fn target(sleeps: bool, labelled: Option<Asleep>) -> Target {
        let service = ObjectName { namespace: "llm".to_owned(), name: "llama".to_owned() };
        let addresses = Vec::new();
        Target { service, level: 1, sleeps, labelled, restarts: 3, is_ready: true, addresses }
    }

    const AT_2: Option<Asleep> = Some(Asleep { level: 2, sent: None });
    const AWAKE: Known =
        Known { engines: 2, asleep: 0, is_idle: true, withheld: Duration::ZERO, fell: false };
    const ASLEEP: Known = Known { asleep: 2, ..AWAKE };

    #[test]
    fn no_engine_is_put_to_sleep_before_its_requests_have_ended_and_none_can_come() {
        let settled = Known { withheld: SETTLE, ..AWAKE };
        assert_eq!(step(&target(true, None), settled), Step::Withhold(1));
        let labelled = target(true, AT_2);
        assert_eq!(step(&labelled, AWAKE), Step::Settle);
        assert_eq!(step(&labelled, Known { is_idle: false, ..settled }), Step::Settle);
        assert_eq!(step(&labelled, settled), Step::Sleep(2), "as its label says");
        assert_eq!(step(&labelled, Known { asleep: 1, ..settled }), Step::Sleep(2), "one of two ranks");
        assert_eq!(step(&labelled, Known { asleep: 2, ..settled }), Step::Rest);
    }

    #[test]
    fn no_request_comes_before_all_engines_of_a_pod_are_awake() {
        let labelled = target(false, AT_2);
        assert_eq!(step(&labelled, Known { asleep: 1, ..AWAKE }), Step::Wake(2));
        assert_eq!(step(&labelled, AWAKE), Step::Admit);
        assert_eq!(step(&target(false, None), AWAKE), Step::Rest);
    }

    #[test]
    fn an_engine_whose_sleep_did_not_end_well_is_neither_woken_nor_admitted() {
        let sent = Some(Asleep { level: 2, sent: Some(3) });
        for known in [AWAKE, ASLEEP] {
            assert_eq!(step(&target(true, sent), known), Step::Unsure, "{known:?}");
            assert_eq!(step(&target(false, sent), known), Step::Replace, "{known:?}");
        }
        let fell = Known { fell: true, ..ASLEEP };
        assert_eq!(step(&target(true, sent), fell), Step::Confirm(2));
        assert_eq!(step(&target(false, sent), fell), Step::Wake(2), "it is known to have fallen asleep");
    }

    #[test]
    fn an_engine_that_ends_whenever_it_is_put_to_sleep_is_left_awake() {
        let sent = Some(Asleep { level: 1, sent: Some(2) });
        let settled = Known { withheld: SETTLE, ..AWAKE };
        assert_eq!(step(&target(true, sent), settled), Step::Restarted);
        assert_eq!(step(&target(false, sent), AWAKE), Step::Admit, "the new process was sent nothing");
        assert_eq!(step(&target(false, sent), Known { asleep: 1, ..AWAKE }), Step::Replace);
    }

    #[test]
    fn an_engine_that_somebody_else_has_paused_is_left_alone() {
        assert_eq!(step(&target(false, None), ASLEEP), Step::Rest);
    }

    #[test]
    fn an_engine_that_cannot_be_woken_is_given_up_in_the_end() {
        assert!(!is_lost(30, FAILING / 2) && !is_lost(2, FAILING) && is_lost(3, FAILING));
        assert!(is_lost(1, FAILING_MAX), "a try may take minutes");
    }
}
