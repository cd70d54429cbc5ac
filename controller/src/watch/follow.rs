//! One watch: the API server's events as [`Update`]s.
//!
//! The list that begins a watch comes in pages, and replaces what is known only when it is complete. A watch that fails is
//! restarted, where it was if the server still knows that place. No event announces that it works again; the absence of failures
//! does.

use super::engine::{ApiEngine, EnginePod};
use super::facts::{Described, Item, Revision, Source, SourceState, Update};
use super::kinds::Kind;
use super::pod::{ApiPod, Pod};
use crate::config::ObjectName;
use futures::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::Status;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Objects of a page of a list.
const PAGE_OBJECTS: u32 = 500;
/// How long the API server lets a watch run; the client then restarts it where it was.
const WATCH_S: u32 = 290;
/// Wait after the first failure in a row; it doubles with each further one.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// The longest wait while the API server fails. It bounds how late a change is noticed once the server is back.
const RETRY_MAX: Duration = Duration::from_secs(8);
/// The longest wait while a watch is forbidden, which only people fix.
const RETRY_BLOCKED: Duration = Duration::from_secs(30);
/// Refusals in a row, over some 4 s, until a watch counts as forbidden: an API server that has just started refuses everybody
/// until it has loaded the roles.
const REFUSALS_MIN: u32 = 5;
/// How long a watch that has failed must be silent to count as resumed: longer than the client tries to connect (30 s).
const RESUMED_AFTER: Duration = Duration::from_secs(35);
/// Bytes of a message of the API server that are kept.
const MESSAGE_BYTES_MAX: usize = 300;

/// What a watch reports, with its source.
pub(super) type Report = (Source, Update);

/// When a watch is tried again, and when its silence means that it works. Pure.
#[derive(Debug, Default)]
struct Retry {
    /// Failures in a row.
    failures: u32,
    /// Refusals in a row.
    refusals: u32,
}

/// Follows a source until `to` is closed, or the API server does not know its kind.
pub(super) async fn follow(client: Client, source: Source, to: mpsc::Sender<Report>) {
    let resource = source.kind.resource();
    match source.kind {
        Kind::Pod => run(api::<ApiPod>(client, &source, &resource), source, read_pod, to).await,
        Kind::EnginePod => run(api::<ApiEngine>(client, &source, &resource), source, read_engine, to).await,
        kind if kind.is_kept_whole() => {
            run(api::<DynamicObject>(client, &source, &resource), source, read_whole, to).await;
        }
        _ => run(api::<DynamicObject>(client, &source, &resource), source, read_object, to).await,
    }
}

pub(super) fn api<K>(client: Client, source: &Source, resource: &ApiResource) -> Api<K>
where
    K: Resource<DynamicType = ApiResource, Scope = kube::core::DynamicResourceScope>,
{
    match &source.namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, resource),
        None => Api::all_with(client, resource),
    }
}

async fn run<K>(
    api: Api<K>,
    source: Source,
    read: fn(K) -> Option<(ObjectName, Item)>,
    to: mpsc::Sender<Report>,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let labels: Vec<String> = source.selector.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let config =
        watcher::Config::default().page_size(PAGE_OBJECTS).timeout(WATCH_S).labels(&labels.join(","));
    let mut events = pin!(watcher(api, config));
    let mut list = BTreeMap::new();
    let mut retry = Retry::default();
    loop {
        let update = match tokio::time::timeout(retry.silence(), events.next()).await {
            Err(_) => {
                retry = Retry::default();
                Some(Update::Resumed)
            }
            Ok(None) => return,
            Ok(Some(Ok(event))) => {
                retry.note(&event);
                take(event, &mut list, read)
            }
            Ok(Some(Err(error))) => {
                let (state, wait) = retry.failed(classify(&error));
                let is_missing = state == SourceState::Missing && Kind::DEFINED.contains(&source.kind);
                tracing::debug!(kind = source.kind.label(), %error, "watch failed");
                if to.send((source.clone(), Update::Failed(state))).await.is_err() || is_missing {
                    return;
                }
                tokio::time::sleep(wait).await;
                None
            }
        };
        if let Some(update) = update
            && to.send((source.clone(), update)).await.is_err()
        {
            return;
        }
    }
}

fn take<K>(
    event: Event<K>,
    list: &mut BTreeMap<ObjectName, Item>,
    read: fn(K) -> Option<(ObjectName, Item)>,
) -> Option<Update> {
    match event {
        Event::Init => list.clear(),
        Event::InitApply(object) => list.extend(read(object)),
        Event::InitDone => return Some(Update::Listed(std::mem::take(list))),
        Event::Apply(object) => return read(object).map(|(name, item)| Update::Applied(name, item)),
        Event::Delete(object) => return read(object).map(|(name, _)| Update::Deleted(name)),
    }
    None
}

pub(super) fn read_pod(pod: ApiPod) -> Option<(ObjectName, Item)> {
    Pod::read(pod).map(|(name, pod)| (name, Item::Pod(pod)))
}

fn read_engine(pod: ApiEngine) -> Option<(ObjectName, Item)> {
    EnginePod::read(pod).map(|(name, pod)| (name, Item::Engine(pod)))
}

fn read_whole(object: DynamicObject) -> Option<(ObjectName, Item)> {
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let name = ObjectName { namespace, name: object.metadata.name.clone()? };
    Some((name, Item::Whole(Arc::new(object))))
}

pub(super) fn read_object(mut object: DynamicObject) -> Option<(ObjectName, Item)> {
    let meta = object.metadata;
    let name = ObjectName { namespace: meta.namespace.unwrap_or_default(), name: meta.name? };
    let created = meta.creation_timestamp.map(|time| time.0);
    let described = Described {
        revision: Revision { created, generation: meta.generation.unwrap_or_default() },
        annotations: meta.annotations.unwrap_or_default(),
        spec: object.data.get_mut("spec").map(serde_json::Value::take).unwrap_or_default(),
    };
    Some((name, Item::Object(described)))
}

/// What the failure of a watch says about its source.
fn classify(error: &watcher::Error) -> SourceState {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => classify_error(error),
        watcher::Error::WatchError(status) => classify_status(status),
        watcher::Error::NoResourceVersion => SourceState::Failing(error.to_string()),
    }
}

/// What a failed request says about its source.
pub(super) fn classify_error(error: &kube::Error) -> SourceState {
    match error {
        kube::Error::Api(status) => classify_status(status),
        other => SourceState::Failing(chain(other)),
    }
}

fn classify_status(status: &Status) -> SourceState {
    match status.code {
        403 => SourceState::Forbidden(cut(&status.message)),
        404 => SourceState::Missing,
        _ => SourceState::Failing(cut(&status.message)),
    }
}

/// An error with its causes: alone, it is often only "service error".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    cut(&text)
}

fn cut(message: &str) -> String {
    let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
    message.get(..end).unwrap_or_default().to_owned()
}

// === impl Retry ===

impl Retry {
    /// What a failure comes to, and the wait after it.
    fn failed(&mut self, state: SourceState) -> (SourceState, Duration) {
        let doubled = |times: u32| RETRY_FIRST.saturating_mul(2_u32.saturating_pow(times.min(16)));
        let (failures, refusals) = (self.failures, self.refusals);
        self.failures = failures.saturating_add(1);
        let SourceState::Forbidden(message) = state else {
            self.refusals = 0;
            let wait =
                if state == SourceState::Missing { RETRY_BLOCKED } else { doubled(failures).min(RETRY_MAX) };
            return (state, wait);
        };
        // Without the failures before: while the server was away, the waits have become long.
        self.refusals = refusals.saturating_add(1);
        let wait = doubled(refusals).min(RETRY_BLOCKED);
        if self.refusals < REFUSALS_MIN {
            (SourceState::Failing(message), wait)
        } else {
            (SourceState::Forbidden(message), wait)
        }
    }

    /// Takes note of an event. `Init` shows nothing: it comes before the API server is asked for the list.
    fn note<K>(&mut self, event: &Event<K>) {
        if !matches!(event, Event::Init) {
            *self = Self::default();
        }
    }

    /// How long the watch may be silent before it counts as resumed.
    fn silence(&self) -> Duration {
        if self.failures > 0 { RESUMED_AFTER } else { Duration::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Event, REFUSALS_MIN, RESUMED_AFTER, RETRY_BLOCKED, RETRY_FIRST, RETRY_MAX, Retry, SourceState,
    };
    use std::time::Duration;

    #[test]
    fn a_list_that_fails_again_and_again_is_tried_ever_later() {
        let (mut retry, failing) = (Retry::default(), SourceState::Failing(String::new()));
        let mut waits = Vec::new();
        for _ in 0..8 {
            retry.note(&Event::<()>::Init);
            waits.push(retry.failed(failing.clone()).1);
        }
        assert_eq!(waits[..3], [RETRY_FIRST, 2 * RETRY_FIRST, 4 * RETRY_FIRST]);
        assert_eq!(waits[7], RETRY_MAX);
        retry.note(&Event::Apply(()));
        assert_eq!(retry.failed(failing).1, RETRY_FIRST);
        assert_eq!(retry.failed(SourceState::Missing).1, RETRY_BLOCKED);
    }

    #[test]
    fn refusals_of_an_api_server_that_starts_do_not_stop_a_watch_for_long() {
        let mut retry = Retry::default();
        for _ in 0..10 {
            retry.failed(SourceState::Failing("connection refused".to_owned()));
        }
        let refused = SourceState::Forbidden("RBAC: not found".to_owned());
        let early: Vec<_> = (1..REFUSALS_MIN).map(|_| retry.failed(refused.clone())).collect();
        assert!(early.iter().all(|(state, _)| matches!(state, SourceState::Failing(_))), "{early:?}");
        assert!(early.iter().map(|(_, wait)| *wait).sum::<Duration>() < Duration::from_secs(5));
        let later: Vec<_> = (0..4).map(|_| retry.failed(refused.clone())).collect();
        assert!(later.iter().all(|(state, _)| *state == refused), "{later:?}");
        assert_eq!(later[3].1, RETRY_BLOCKED);
    }

    #[test]
    fn only_a_watch_that_has_failed_counts_as_resumed_by_its_silence() {
        let mut retry = Retry::default();
        assert_eq!(retry.silence(), Duration::MAX);
        retry.failed(SourceState::Failing(String::new()));
        assert_eq!(retry.silence(), RESUMED_AFTER);
        retry.note(&Event::InitApply(()));
        assert_eq!(retry.silence(), Duration::MAX);
    }
}
