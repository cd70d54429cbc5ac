//! What the controller knows of a ModelService beyond its objects: how its requests do, and what the router finds wrong with its pool.
//!
//! ```text
//!   /state ─► checks of pools (as in `warmpath check`) ─► Insight of each pool ─► Insights (bounded) ─► status
//! ```
//!
//! The state changes with every request; the status must not. What people would not see is not shown, and the rest at most as often as
//! the intervals here say.

use super::{adapters, sleep};
use crate::api::{PoolState, StatePage};
use crate::check::controller::check_pools;
use crate::check::finding::{Finding, Findings, Level};
use crate::config::ObjectName;
use crate::scale::{Scaled, Scaling};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::time::Duration;
use tokio::time::Instant;
use warmpath_deploy::plan::{Diagnosis, Traffic};

/// Between two looks at the state. A diagnosis that turns is shown at once: at most one write of each ModelService in this time.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// The least time between two writes of a ModelService for numbers alone.
const NUMBERS_INTERVAL: Duration = Duration::from_mins(1);
/// The same for the words of a diagnosis that stays: they name engines and counts, which change.
const WORDS_INTERVAL: Duration = Duration::from_mins(5);
/// Changes from which on numbers are worth a write: points of the cached share, and the ratio of two times.
const CACHED_POINTS_MIN: f64 = 2.0;
const TTFT_RATIO_MIN: f64 = 1.1;
/// Bytes of a diagnosis that are shown.
const MESSAGE_BYTES_MAX: usize = 1_000;

/// The conditions that the checks of `warmpath check` become: check, type, and the reason while it is not as it should be. What the
/// plan or other conditions say already is not among them.
const CONDITIONS: [(&str, &str, &str); 17] = [
    ("pool.usable", "EnginesScraped", "AllScrapesFail"),
    ("engine.healthy", "EnginesHealthy", "ScrapesFail"),
    ("engine.avoided", "EnginesServe", "RequestsFail"),
    ("engine.metrics", "EnginesMeasured", "NoMetrics"),
    ("cache.files", "TokenizerUsable", "FilesUnusable"),
    ("cache.template", "PromptsWritten", "SomeUnwritten"),
    ("cache.match", "CacheMatches", "Mismatch"),
    ("cache.feed", "CacheEventsArrive", "EventsSilent"),
    ("cache.trust", "CacheEventsWhole", "EventsMissing"),
    ("cache.tokens", "TokensKnown", "ForeignTokens"),
    ("cache.usage", "CacheUsageReported", "UsageUnsaid"),
    ("split.legs", "LegsPresent", "LegMissing"),
    ("split.connector", "ConnectorsPresent", "NoConnector"),
    ("split.role", "RolesMatch", "OtherMode"),
    ("split.bootstrap", "BootstrapReachable", "Unreachable"),
    ("hold.room-capacity", "HoldCapacityKnown", "CapacityAssumed"),
    ("hold.oldest", "HoldsEnd", "WaitsTooLong"),
];

/// What is known of one ModelService.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Insight {
    /// How its requests do, if there were enough of them.
    pub(super) traffic: Option<Traffic>,
    /// What the router finds, wrong or right.
    pub(super) diagnoses: Vec<Diagnosis>,
}

/// What is shown of each ModelService, and since when.
#[derive(Debug, Default)]
pub(super) struct Insights {
    shown: BTreeMap<ObjectName, (Insight, Instant)>,
    /// What the scaler asks for.
    scaled: Scaled,
}

/// What a state says of each pool that may be a ModelService's, and what else is found of each.
pub(super) fn insights(
    state: &StatePage,
    more: impl IntoIterator<Item = (ObjectName, Diagnosis)>,
) -> BTreeMap<ObjectName, Insight> {
    let mut findings = Findings::new("");
    check_pools(state, &mut findings);
    let findings = findings.into_vec();
    let mut more_of: BTreeMap<ObjectName, Vec<Diagnosis>> = BTreeMap::new();
    for (name, diagnosis) in more {
        more_of.entry(name).or_default().push(diagnosis);
    }
    let of_pool = |pool: &PoolState| {
        let (namespace, name) = pool.name.split_once('/')?;
        let name = ObjectName { namespace: namespace.to_owned(), name: name.to_owned() };
        let subject = format!("pool {}", pool.name);
        let found: Vec<&Finding> = findings.iter().filter(|finding| finding.subject == subject).collect();
        let mut insight = Insight { traffic: traffic(pool), diagnoses: diagnoses(&found) };
        insight.diagnoses.extend(more_of.remove(&name).unwrap_or_default());
        Some((name, insight))
    };
    state.pools.iter().filter_map(of_pool).collect()
}

/// Whether a condition is one of these.
pub(super) fn is_diagnosis(kind: &str) -> bool {
    [adapters::CONDITION, sleep::CONDITION].contains(&kind)
        || CONDITIONS.iter().any(|(_, known, _)| *known == kind)
}

fn traffic(pool: &PoolState) -> Option<Traffic> {
    Some(Traffic { cached_percent: pool.cached_share? * 100.0, ttft_ms_p90: pool.ttft_p90_ms? })
}

fn diagnoses(found: &[&Finding]) -> Vec<Diagnosis> {
    let of_check = |(id, kind, reason): &(&str, &str, &str)| {
        let worst = found.iter().filter(|finding| finding.check.id == *id).max_by_key(|it| it.level)?;
        let is_fine = worst.level == Level::Ok;
        let message = if is_fine {
            "nothing speaks against it".to_owned()
        } else {
            let words = format!("{}: {}; {}", worst.seen, worst.check.why, worst.check.remedy);
            words.get(..words.floor_char_boundary(MESSAGE_BYTES_MAX)).unwrap_or_default().to_owned()
        };
        let reason = if is_fine { "AsItShouldBe" } else { reason };
        Some(Diagnosis { kind: (*kind).to_owned(), is_fine, reason: reason.to_owned(), message })
    };
    CONDITIONS.iter().filter_map(of_check).collect()
}

// === impl Insight ===

impl Insight {
    /// Whether another one should be shown in its place, which has been shown for so long.
    fn gives_way(&self, to: &Self, age: Duration) -> bool {
        let verdicts = |insight: &Self| {
            let verdict = |it: &Diagnosis| (it.kind.clone(), it.is_fine);
            insight.diagnoses.iter().map(verdict).collect::<Vec<_>>()
        };
        verdicts(self) != verdicts(to)
            || (age >= NUMBERS_INTERVAL && self.differs_visibly(to))
            || (age >= WORDS_INTERVAL && self.diagnoses != to.diagnoses)
    }

    fn differs_visibly(&self, to: &Self) -> bool {
        let (Some(shown), Some(to)) = (self.traffic, to.traffic) else {
            return self.traffic.is_some() != to.traffic.is_some();
        };
        let (least, most) = (shown.ttft_ms_p90.min(to.ttft_ms_p90), shown.ttft_ms_p90.max(to.ttft_ms_p90));
        (shown.cached_percent - to.cached_percent).abs() >= CACHED_POINTS_MIN
            || most >= least * TTFT_RATIO_MIN
    }
}

impl Hash for Insight {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let bits = |traffic: Traffic| (traffic.cached_percent.to_bits(), traffic.ttft_ms_p90.to_bits());
        self.traffic.map(bits).hash(state);
        for Diagnosis { kind, is_fine, reason, message } in &self.diagnoses {
            (kind, is_fine, reason, message).hash(state);
        }
    }
}

// === impl Insights ===

impl Insights {
    /// What is shown of a ModelService; `None`: nothing is known yet.
    pub(super) fn of(&self, name: &ObjectName) -> Option<&Insight> {
        self.shown.get(name).map(|(insight, _)| insight)
    }

    /// What the scaler asks for of a ModelService; `None`: nothing.
    pub(super) fn scaling(&self, name: &ObjectName) -> Option<&Scaling> {
        self.scaled.get(name)
    }

    /// Takes in what the scaler asks for.
    pub(super) fn scale(&mut self, scaled: Scaled) {
        self.scaled = scaled;
    }

    /// Takes in a look at the state. Returns whether anything of it is to be shown.
    pub(super) fn take(&mut self, looked: BTreeMap<ObjectName, Insight>, now: Instant) -> bool {
        // A pool that is away for a moment, as while the controller starts, takes nothing from the status.
        let mut is_changed = false;
        for (name, insight) in looked {
            let is_due = match self.shown.get(&name) {
                Some((shown, since)) => shown.gives_way(&insight, now.duration_since(*since)),
                None => true,
            };
            if is_due {
                self.shown.insert(name, (insight, now));
                is_changed = true;
            }
        }
        is_changed
    }

    /// Drops ModelServices that are gone.
    pub(super) fn retain(&mut self, is_there: impl Fn(&ObjectName) -> bool) {
        self.shown.retain(|name, _| is_there(name));
    }
}

#[cfg(test)]
mod tests {
    use super::{
        CONDITIONS, Insight, Insights, LOOK_INTERVAL, NUMBERS_INTERVAL, ObjectName, WORDS_INTERVAL, insights,
    };
    use crate::api::{EndpointState, KvState, PoolState, PromptState, StatePage};
    use crate::check::catalog;
    use std::collections::BTreeMap;
    use tokio::time::Instant;
    use warmpath_deploy::plan::{Diagnosis, Traffic};

    fn name() -> ObjectName {
        ObjectName { namespace: "llm".to_owned(), name: "llama".to_owned() }
    }

    fn insight(cached_percent: f64, ttft_ms_p90: f64) -> Insight {
        Insight { traffic: Some(Traffic { cached_percent, ttft_ms_p90 }), diagnoses: Vec::new() }
    }

    fn diagnosis(is_fine: bool, message: &str) -> Diagnosis {
        let (kind, reason) = ("CacheMatches".to_owned(), "Mismatch".to_owned());
        Diagnosis { kind, is_fine, reason, message: message.to_owned() }
    }

    #[test]
    fn each_condition_is_of_a_check_that_there_is() {
        for (id, ..) in CONDITIONS {
            assert!(catalog().any(|check| check.id == id), "{id}");
        }
    }

    #[test]
    fn what_the_router_finds_becomes_conditions_that_say_what_to_do() {
        let kv = KvState {
            trust: "none".to_owned(),
            sources: vec!["10.0.0.1:5557".to_owned()],
            ..KvState::default()
        };
        let endpoint = EndpointState {
            address: "10.0.0.1:8000".to_owned(),
            health: "healthy".to_owned(),
            kv: Some(kv),
            ..EndpointState::default()
        };
        let prompt = PromptState { is_written: true, ..PromptState::default() };
        let pool = PoolState {
            name: "llm/llama".to_owned(),
            cached_share: Some(0.734),
            ttft_p90_ms: Some(420.0),
            prompt: Some(prompt),
            endpoints: vec![endpoint],
            ..PoolState::default()
        };
        let other = PoolState { name: "of-the-file".to_owned(), ..PoolState::default() };
        let state = StatePage { pools: vec![pool, other], ..StatePage::default() };
        let found = insights(&state, BTreeMap::new());
        assert_eq!(found.len(), 1);
        let insight = found.get(&name()).unwrap();
        assert_eq!(insight.traffic.map(|traffic| traffic.cached_percent.round()), Some(73.0));
        let of = |kind: &str| insight.diagnoses.iter().find(|it| it.kind == kind);
        assert!(of("CacheMatches").unwrap().is_fine);
        let silent = of("CacheEventsArrive").unwrap();
        assert_eq!((silent.is_fine, silent.reason.as_str()), (false, "EventsSilent"));
        assert!(
            silent.message.contains("no connection yet") && silent.message.contains("--kv-events-config")
        );
        assert_eq!(of("LegsPresent"), None, "it has no roles");
    }

    #[test]
    fn a_busy_service_is_written_once_a_minute_at_most_and_only_for_what_people_see() {
        let (mut shown, start) = (Insights::default(), Instant::now());
        let (mut now, mut writes) = (start, Vec::new());
        // Ten minutes in which both numbers move with every look, as those of a busy service do.
        for (look, cached) in (0_u32..60).zip([10.0, 60.0, 35.0].into_iter().cycle()) {
            if shown.take(BTreeMap::from([(name(), insight(cached, f64::from(100 + look)))]), now) {
                writes.push(now);
            }
            now += LOOK_INTERVAL;
        }
        assert!((5..=10).contains(&writes.len()), "{}", writes.len());
        assert!(writes.windows(2).all(|pair| pair[1] - pair[0] >= NUMBERS_INTERVAL));
        // What nobody would see is never written.
        let still = |cached, ttft| BTreeMap::from([(name(), insight(cached, ttft))]);
        assert!(shown.take(still(50.0, 300.0), now + NUMBERS_INTERVAL));
        assert!(!shown.take(still(51.0, 310.0), now + 100 * NUMBERS_INTERVAL));
    }

    #[test]
    fn a_verdict_that_turns_is_shown_at_once_and_its_words_seldom() {
        let (mut shown, start) = (Insights::default(), Instant::now());
        let mut take = |is_fine, message: &str, after| {
            let insight = Insight { diagnoses: vec![diagnosis(is_fine, message)], ..Insight::default() };
            shown.take(BTreeMap::from([(name(), insight)]), start + after)
        };
        assert!(take(true, "", LOOK_INTERVAL));
        assert!(take(false, "they found 1 token", 2 * LOOK_INTERVAL));
        assert!(!take(false, "they found 2 tokens", 3 * LOOK_INTERVAL));
        assert!(take(false, "they found 3 tokens", 2 * LOOK_INTERVAL + WORDS_INTERVAL));
        assert!(take(true, "", 3 * LOOK_INTERVAL + WORDS_INTERVAL));
    }

    #[test]
    fn a_pool_that_is_away_for_a_moment_takes_nothing_from_the_status() {
        let (mut shown, now) = (Insights::default(), Instant::now());
        shown.take(BTreeMap::from([(name(), insight(50.0, 100.0))]), now);
        assert!(!shown.take(BTreeMap::new(), now + WORDS_INTERVAL));
        assert_eq!(shown.of(&name()), Some(&insight(50.0, 100.0)));
        shown.retain(|_| false);
        assert_eq!(shown.of(&name()), None);
    }
}
