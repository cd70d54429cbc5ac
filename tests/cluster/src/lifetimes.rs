//! When pods became ready and when their deletion began, and how soon requests followed that.
//!
//! A watch of the test's own sees these moments when the controller's watch does. The times of pods themselves would not do:
//! Kubernetes writes them in whole seconds.

use crate::cluster::{Namespace, is_ready};
use crate::traffic::Span;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_pods};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use warmpath_report::percentile;

/// The pods of some labels, watched until this is dropped.
pub struct Lifetimes {
    by_pod: Arc<Mutex<BTreeMap<String, Lifetime>>>,
    _watch: JoinSet<()>,
}

/// What was seen of a pod.
#[derive(Clone, Copy, Debug, Default)]
struct Lifetime {
    /// Ready for the first time; of a pod that was ready before the watch began, when that is unknown: `None`.
    ready: Option<Instant>,
    was_ready_before: bool,
    /// With a deletion timestamp for the first time.
    deleted: Option<Instant>,
}

/// How soon requests followed, of all pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// From ready to the first request that the pod served.
    pub first: Vec<Duration>,
    /// From deletion to the last request that the pod served; none if there was none after it.
    pub last: Vec<Duration>,
    /// Pods that became ready and served nothing.
    pub idle: usize,
}

// === impl Lifetimes ===

impl Lifetimes {
    /// Begins to watch.
    pub fn watch(namespace: &Namespace, labels: &str) -> Self {
        let by_pod = Arc::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(follow(namespace.api(), labels.to_owned(), Arc::clone(&by_pod)));
        Self { by_pod, _watch: tasks }
    }

    /// How soon requests followed; `by_pod` says what each pod served.
    pub fn delays(&self, by_pod: &BTreeMap<String, Span>) -> Delays {
        delays(&self.by_pod.lock().unwrap_or_else(PoisonError::into_inner), by_pod)
    }
}

async fn follow(api: Api<Pod>, labels: String, by_pod: Arc<Mutex<BTreeMap<String, Lifetime>>>) {
    let mut events = watch_pods(api, watcher::Config::default().labels(&labels)).default_backoff().boxed();
    let mut has_begun = false;
    while let Some(event) = events.next().await {
        let Ok(Event::InitApply(pod) | Event::Apply(pod) | Event::Delete(pod)) = event else {
            has_begun |= matches!(event, Ok(Event::InitDone));
            continue;
        };
        let now = Instant::now();
        let mut by_pod = by_pod.lock().unwrap_or_else(PoisonError::into_inner);
        let lifetime = by_pod.entry(pod.metadata.name.clone().unwrap_or_default()).or_default();
        if is_ready(&pod) && lifetime.ready.is_none() {
            lifetime.was_ready_before |= !has_begun;
            lifetime.ready = Some(now);
        }
        if pod.metadata.deletion_timestamp.is_some() && lifetime.deleted.is_none() {
            lifetime.deleted = Some(now);
        }
    }
}

fn delays(lifetimes: &BTreeMap<String, Lifetime>, served: &BTreeMap<String, Span>) -> Delays {
    let mut delays = Delays::default();
    for (pod, lifetime) in lifetimes {
        let span = served.get(pod);
        if let Some(ready) = lifetime.ready.filter(|_| !lifetime.was_ready_before) {
            match span {
                Some(span) => delays.first.push(span.first.saturating_duration_since(ready)),
                None => delays.idle += 1,
            }
        }
        if let (Some(deleted), Some(span)) = (lifetime.deleted, span) {
            delays.last.push(span.last.saturating_duration_since(deleted));
        }
    }
    delays
}

// === impl Delays ===

impl fmt::Display for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from ready to the first request: {}", quantiles(&self.first))?;
        if self.idle > 0 {
            write!(f, ", {} more got none", self.idle)?;
        }
        write!(f, "; from deletion to the last request: {}", quantiles(&self.last))
    }
}

fn quantiles(delays: &[Duration]) -> String {
    if delays.is_empty() {
        return "no pod".to_owned();
    }
    let ms = || delays.iter().map(|delay| delay.as_secs_f64() * 1e3);
    let [p50, p90, p99, max] = [50, 90, 99, 100].map(|percent| percentile(ms(), percent));
    format!(
        "p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms, at most {max:.1} ms, of {} pods",
        delays.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_those_of_pods_that_came_or_went_while_requests_ran() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let span = |first: u64, last: u64| Span { served: 1, first: at(first), last: at(last) };
        let seen = |ready: u64, was_ready_before, deleted: Option<u64>| Lifetime {
            ready: Some(at(ready)),
            was_ready_before,
            deleted: deleted.map(at),
        };
        let lifetimes = BTreeMap::from(
            [
                ("there before", seen(0, true, Some(500))),
                ("came", seen(100, false, None)),
                ("came and went", seen(100, false, Some(600))),
                ("got nothing", seen(100, false, Some(600))),
            ]
            .map(|(name, lifetime)| (name.to_owned(), lifetime)),
        );
        let served = BTreeMap::from(
            [("there before", span(1, 520)), ("came", span(140, 900)), ("came and went", span(90, 400))]
                .map(|(name, span)| (name.to_owned(), span)),
        );
        let ms = Duration::from_millis;
        let delays = delays(&lifetimes, &served);
        assert_eq!(delays, Delays { first: vec![ms(40), ms(0)], last: vec![ms(0), ms(20)], idle: 1 });
        assert_eq!(
            delays.to_string(),
            "from ready to the first request: p50 0.0 ms, p90 40.0 ms, p99 40.0 ms, at most 40.0 ms, of 2 pods, 1 more got none; \
             from deletion to the last request: p50 0.0 ms, p90 20.0 ms, p99 20.0 ms, at most 20.0 ms, of 2 pods"
        );
    }
}
