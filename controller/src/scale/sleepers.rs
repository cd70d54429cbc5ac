//! Engines that sleep while their service is at zero, and how long they take to wake: seconds, which must not be mixed with those of starts.

use crate::watch::EnginePod;
use std::collections::{BTreeMap, BTreeSet};
use warmpath_scale::{EngineState, Wake};

/// How long a service takes to wake.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct WakeSeconds {
    /// What it usually takes, in seconds.
    pub(super) usual_s: f64,
    /// Seconds since it began; `None`: it does not wake now.
    pub(super) passed_s: Option<f64>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sleepers {
    /// The pods that sleep, or are about to.
    asleep: BTreeSet<String>,
    /// Whether any did since the service was awake last: the last one is awake a moment before that is.
    any: bool,
    /// The level of those that were timed.
    level: Option<u8>,
    wakes: Wake,
    /// Since when replicas are wanted, in seconds; `None`: they are not.
    wanted_since_s: Option<f64>,
}

// === impl Sleepers ===

impl Sleepers {
    /// Engines sleep at this level from now on: of another one, or of other engines, nothing that was learned holds.
    pub(super) fn are_of(&mut self, level: Option<u8>, are_same_engines: bool) {
        if self.level != level || !are_same_engines {
            (self.level, self.wakes) = (level, Wake::default());
        }
    }

    /// Takes in which pods sleep. One that sleeps no more has woken, within the seconds for which the service has been waking.
    pub(super) fn note(&mut self, pods: &BTreeMap<&str, &EnginePod>, waking_s: Option<f64>) {
        let is_awake = |name: &String| pods.get(name.as_str()).is_some_and(|pod| pod.asleep.is_none());
        if let Some(waking_s) = waking_s {
            self.asleep.iter().filter(|name| is_awake(name)).for_each(|_| self.wakes.note(waking_s));
        }
        let asleep = pods.iter().filter(|(_, pod)| pod.asleep.is_some() && !pod.is_leaving);
        self.asleep = asleep.map(|(name, _)| (*name).to_owned()).collect();
        self.any |= !self.asleep.is_empty();
    }

    /// Takes in whether replicas are wanted by the plan, and whether none is there yet.
    pub(super) fn note_plan(&mut self, is_wanted: bool, is_waking: bool, now_s: f64) {
        self.wanted_since_s = is_wanted.then(|| self.wanted_since_s.unwrap_or(now_s));
        self.any &= !self.asleep.is_empty() || is_waking || !is_wanted;
    }

    /// What an engine that sleeps is doing. One that is wanted starts, as far as others have to be made up for it.
    pub(super) fn state(&self, now_s: f64) -> EngineState {
        let starting = |since_s: f64| EngineState::Starting { for_s: (now_s - since_s).max(0.0) };
        self.wanted_since_s.map_or(EngineState::Asleep, starting)
    }

    /// Whether any pod sleeps, or did when the service began to wake.
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// Seconds that they take to wake; none before one has.
    pub(super) fn wake_s(&self) -> Option<f64> {
        self.wakes.wake_s()
    }
}

#[cfg(test)]
mod tests {
    use super::{EnginePod, EngineState, Sleepers};
    use std::collections::BTreeMap;
    use warmpath_deploy::plan::Asleep;

    fn note(sleepers: &mut Sleepers, asleep: bool, waking_s: Option<f64>) {
        let pod = EnginePod { asleep: asleep.then_some(Asleep::at(1)), ..EnginePod::default() };
        sleepers.note(&BTreeMap::from([("m-0", &pod)]), waking_s);
    }

    /// One that has slept, and woken within three seconds.
    fn woken() -> Sleepers {
        let mut sleepers = Sleepers::default();
        sleepers.are_of(Some(1), false);
        note(&mut sleepers, true, None);
        sleepers.note_plan(true, true, 100.0);
        note(&mut sleepers, false, Some(3.0));
        sleepers
    }

    #[test]
    fn wakes_at_another_level_or_of_another_model_say_nothing() {
        let mut sleepers = woken();
        sleepers.are_of(Some(1), true);
        assert_eq!(sleepers.wake_s(), Some(3.0));
        sleepers.are_of(Some(2), true);
        assert_eq!(sleepers.wake_s(), None);
        let mut sleepers = woken();
        sleepers.are_of(Some(1), false);
        assert_eq!(sleepers.wake_s(), None);
    }

    #[test]
    fn a_service_whose_last_engine_has_woken_does_not_take_as_long_as_a_start() {
        let mut sleepers = woken();
        assert!(sleepers.any(), "the next plan finds out that it is awake");
        sleepers.note_plan(true, false, 105.0);
        assert!(!sleepers.any());
    }

    #[test]
    fn an_engine_that_sleeps_though_it_is_wanted_is_made_up_for_as_one_that_does_not_start() {
        let mut sleepers = Sleepers::default();
        note(&mut sleepers, true, None);
        assert_eq!(sleepers.state(90.0), EngineState::Asleep);
        sleepers.note_plan(true, true, 100.0);
        sleepers.note_plan(true, false, 105.0);
        assert_eq!(sleepers.state(400.0), EngineState::Starting { for_s: 300.0 });
        sleepers.note_plan(false, false, 500.0);
        assert_eq!(sleepers.state(600.0), EngineState::Asleep);
    }
}
