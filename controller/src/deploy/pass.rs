//! Which ModelServices are carried out when: each that has changed or is due again, several at once, in turn.
//!
//! ```text
//!   watches ─► look: who is due ─► waiting, in turn ─► under way: `writer`, AT_ONCE_MAX at most ─► ended: when it is due again
//! ```
//!
//! Watches are followed meanwhile, and each look takes the place of the last: nobody is carried out by what was seen long ago. A
//! ModelService is never under way twice, so that its writes keep their order. Not one ModelService after the other: each new one takes
//! two dozen calls, and one whose calls reach their time limits would keep all others waiting.

use super::DEBOUNCE;
use super::Settings;
use super::apply::Applier;
use super::events::{Announcer, Note};
use super::insight::Insights;
use super::offers::{of_installation, with_kinds};
use super::retry::Retry;
use super::seen::{Seen, seen};
use super::status::Trouble;
use super::writer::{Outcome, Writer};
use crate::config::ObjectName;
use crate::metrics::Metrics;
use crate::watch::Facts;
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt, pending};
use futures::stream::FuturesUnordered;
use kube::Client;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;
use warmpath_deploy::api::RoleName;
use warmpath_deploy::plan::Cluster;

/// ModelServices under way at once. Each has one call of the API server under way, which serves a few hundred of everybody's at once.
const AT_ONCE_MAX: usize = 8;

/// Carries out ModelServices.
pub(super) struct Carrier {
    client: Client,
    writer: Arc<Writer>,
    /// What plans may use.
    cluster: Arc<Cluster>,
    carried: BTreeMap<ObjectName, Carried>,
    /// Those that are due, as the last look saw them.
    waiting: VecDeque<Seen>,
    /// The one that was begun last: the others come first.
    last: Option<ObjectName>,
    /// Those under way, and their names.
    under_way: FuturesUnordered<BoxFuture<'static, Ended>>,
    busy: BTreeSet<ObjectName>,
}

/// How a ModelService was carried out last.
#[derive(Clone, Debug)]
struct Carried {
    /// What was seen of it then; `None`: it is carried out again.
    fingerprint: Option<u64>,
    generation: i64,
    /// What the scaler asked for then.
    scaled: BTreeMap<RoleName, i32>,
    retry: Retry,
    /// What failed. It is not tried again before `retry` says so.
    troubles: Vec<Trouble>,
    /// What was announced.
    notes: Vec<Note>,
    /// By then the watches have shown what was written: what they do not show would be made again.
    shown_from: Instant,
}

/// A ModelService that has been carried out.
struct Ended {
    name: ObjectName,
    fingerprint: u64,
    generation: i64,
    scaled: BTreeMap<RoleName, i32>,
    cluster: Arc<Cluster>,
    outcome: Outcome,
    /// Whether more was tried, or failed, than what waits.
    is_tried: bool,
}

// === impl Carrier ===

impl Carrier {
    pub(super) fn new(
        client: Client,
        settings: &Settings,
        is_leader: watch::Receiver<bool>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let writer = Writer {
            applier: Applier { client: client.clone() },
            announcer: Announcer::new(client.clone(), settings.pod.clone()),
            is_leader,
            metrics,
        };
        Self {
            client,
            writer: Arc::new(writer),
            cluster: Arc::new(of_installation(settings)),
            carried: BTreeMap::new(),
            waiting: VecDeque::new(),
            last: None,
            under_way: FuturesUnordered::new(),
            busy: BTreeSet::new(),
        }
    }

    /// Looks who is due, and begins as many as may be under way. Returns when to look again at the latest; `None`: after a change.
    pub(super) async fn look(
        &mut self,
        facts: &Facts,
        shown: &mut Insights,
        now: Instant,
    ) -> Option<Instant> {
        let all = seen(facts, shown);
        shown.retain(|name| all.iter().any(|seen| seen.name == *name));
        self.take_kinds(facts).await;
        self.carried.retain(|name, _| all.iter().any(|seen| seen.name == *name));
        self.waiting.clear();
        let mut next: Option<Instant> = None;
        // The end of one that is under way brings a look of its own.
        for seen in all.into_iter().filter(|seen| !self.busy.contains(&seen.name)) {
            match self.due(&seen, now) {
                Some(due) if due <= now => self.waiting.push_back(seen),
                Some(due) => next = Some(next.map_or(due, |next| next.min(due))),
                None => {}
            }
        }
        let turn = self.waiting.iter().position(|seen| Some(&seen.name) > self.last.as_ref());
        self.waiting.rotate_left(turn.unwrap_or_default());
        self.begin();
        next
    }

    /// Waits until one that was under way has ended, and begins others in its place. Never returns while none is under way.
    pub(super) async fn ended(&mut self) {
        let Some(ended) = self.under_way.next().await else { return pending().await };
        self.note(ended);
        self.begin();
    }

    /// When a ModelService is due; `None`: after a change.
    fn due(&self, seen: &Seen, now: Instant) -> Option<Instant> {
        let Some(carried) = self.carried.get(&seen.name) else { return Some(now) };
        let due = match carried.retry.due {
            _ if carried.fingerprint != Some(seen.fingerprint()) => now,
            Some(due) => due,
            None => return None,
        };
        Some(due.max(carried.shown_from))
    }

    fn begin(&mut self) {
        while self.busy.len() < AT_ONCE_MAX
            && let Some(seen) = self.waiting.pop_front()
        {
            let carried = self.carried.get(&seen.name);
            let before = carried.map(|carried| carried.notes.clone());
            // What was refused stays refused while pods come and go; the rest is brought up to date meanwhile. A model that requests
            // wait for does not wait.
            let waits = |carried: &&Carried| {
                let is_same = carried.generation == seen.generation() && carried.scaled == seen.scaled();
                is_same && carried.retry.waits(Instant::now())
            };
            let held = carried.filter(waits).map(|carried| carried.troubles.clone()).unwrap_or_default();
            self.last = Some(seen.name.clone());
            self.busy.insert(seen.name.clone());
            let (writer, cluster) = (Arc::clone(&self.writer), Arc::clone(&self.cluster));
            let carried = async move {
                let outcome = writer.carry(&seen, &cluster, before, &held).await;
                let (fingerprint, generation, scaled) =
                    (seen.fingerprint(), seen.generation(), seen.scaled());
                let is_tried =
                    held.is_empty() || outcome.troubles.iter().any(|trouble| !held.contains(trouble));
                Ended { name: seen.name, fingerprint, generation, scaled, cluster, outcome, is_tried }
            };
            self.under_way.push(carried.boxed());
        }
    }

    fn note(&mut self, ended: Ended) {
        let Ended { name, fingerprint, generation, scaled, cluster, outcome, is_tried } = ended;
        let now = Instant::now();
        let Outcome { troubles, notes } = outcome;
        let before = self.carried.get(&name).filter(|carried| carried.generation == generation);
        let retry = before.map(|carried| carried.retry).unwrap_or_default();
        let is_away = troubles.iter().any(Trouble::ends_soon);
        let carried = Carried {
            // What a plan may use has changed meanwhile.
            fingerprint: Arc::ptr_eq(&cluster, &self.cluster).then_some(fingerprint),
            generation,
            scaled,
            retry: if is_tried { retry.after(is_away, !troubles.is_empty(), now) } else { retry },
            troubles,
            notes,
            shown_from: now + DEBOUNCE,
        };
        self.busy.remove(&name);
        self.carried.insert(name, carried);
    }

    /// Takes in which kinds there are. A change may change every plan.
    async fn take_kinds(&mut self, facts: &Facts) {
        let cluster = with_kinds(Cluster::clone(&self.cluster), facts, &self.client).await;
        if *self.cluster != cluster {
            for carried in self.carried.values_mut() {
                (carried.fingerprint, carried.retry) = (None, Retry::default());
            }
            self.cluster = Arc::new(cluster);
        }
    }
}

#[cfg(test)]
mod tests;
