//! One pass over the ModelServices: each that has changed is planned, and what its plan lacks is written.

use super::Settings;
use super::apply::{Applier, Failure};
use super::events::{Announcer, Note};
use super::insight::Insights;
use super::offers::{of_installation, with_kinds};
use super::planned::{Planned, planned};
use super::retry::Retry;
use super::seen::{Seen, seen};
use super::status::{Applied, Trouble, settle};
use super::step::{Step, Target, is_ours};
use crate::config::ObjectName;
use crate::metrics::Metrics;
use crate::watch::Facts;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;
use warmpath_deploy::api::ModelServiceStatus;
use warmpath_deploy::plan::Cluster;

/// Carries out ModelServices.
pub(super) struct Carrier {
    applier: Applier,
    announcer: Announcer,
    is_leader: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
    /// What plans may use.
    cluster: Cluster,
    carried: BTreeMap<ObjectName, Carried>,
}

/// How a ModelService was carried out last.
#[derive(Clone, Debug, Default)]
struct Carried {
    /// What was seen of it then.
    fingerprint: u64,
    generation: i64,
    retry: Retry,
    /// What was announced.
    notes: Vec<Note>,
}

// === impl Carrier ===

impl Carrier {
    pub(super) fn new(
        client: Client,
        settings: &Settings,
        is_leader: watch::Receiver<bool>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            applier: Applier { client: client.clone() },
            announcer: Announcer::new(client, settings.pod.clone()),
            is_leader,
            metrics,
            cluster: of_installation(settings),
            carried: BTreeMap::new(),
        }
    }

    /// Carries out what has changed, or is due again. Returns when the next try is due.
    pub(super) async fn pass(&mut self, facts: &Facts, shown: &mut Insights) -> Option<Instant> {
        let all = seen(facts, shown);
        shown.retain(|name| all.iter().any(|seen| seen.name == *name));
        let cluster = with_kinds(self.cluster.clone(), facts, &self.applier.client).await;
        if self.cluster != cluster {
            // Every plan may change. What was announced was.
            for carried in self.carried.values_mut() {
                *carried = Carried { notes: std::mem::take(&mut carried.notes), ..Carried::default() };
            }
            self.cluster = cluster;
        }
        self.carried.retain(|name, _| all.iter().any(|seen| seen.name == *name));
        for seen in &all {
            if !*self.is_leader.borrow() {
                return None;
            }
            let fingerprint = seen.fingerprint();
            let mut carried = self.carried.get(&seen.name).cloned().unwrap_or_default();
            let now = Instant::now();
            let is_due = carried.retry.due.is_some_and(|due| due <= now);
            // What was refused stays refused while its pods come and go.
            let is_held = carried.retry.waits(now) && carried.generation == seen.generation();
            if is_held || (!is_due && carried.fingerprint == fingerprint) {
                continue;
            }
            if carried.generation != seen.generation() {
                carried.retry = Retry::default();
            }
            let (troubles, notes) = self.carry(seen, &carried.notes).await;
            let is_away = troubles.iter().any(Trouble::passes);
            let retry = carried.retry.after(is_away, !troubles.is_empty(), Instant::now());
            let carried = Carried { fingerprint, generation: seen.generation(), retry, notes };
            self.carried.insert(seen.name.clone(), carried);
        }
        self.carried.values().filter_map(|carried| carried.retry.due).min()
    }

    /// Carries out one ModelService. Returns what failed, and what was announced.
    async fn carry(&mut self, seen: &Seen, before: &[Note]) -> (Vec<Trouble>, Vec<Note>) {
        // The garbage collector has begun: what it removes must not be made again.
        if seen.service.metadata.deletion_timestamp.is_some() {
            return (Vec::new(), before.to_vec());
        }
        let Planned { manifests, retire, status, mut notes } = planned(seen, &self.cluster);
        // A leader before this one has announced what follows from a specification that it has observed.
        let is_first = !self.carried.contains_key(&seen.name);
        let before = if is_first && seen.is_observed() { notes.clone() } else { before.to_vec() };
        let mut applied = Applied::default();
        for manifest in &manifests {
            self.bring(seen, manifest, &mut applied).await;
        }
        for target in &retire {
            self.retire(seen, target, &mut applied).await;
        }
        if !self.write_status(seen, status, &mut applied).await {
            return (applied.troubles, before);
        }
        for trouble in &applied.troubles {
            let (service, what, why) = (&seen.name, trouble.what(), trouble.why());
            tracing::warn!(%service, what, why, "a ModelService cannot be carried out as it is");
        }
        notes.extend(applied.troubles.iter().map(Trouble::note));
        let changes = applied.changes.iter().map(|(done, target)| Note::of_change(done, target));
        let new = notes.iter().filter(|note| !before.contains(note)).cloned();
        let new: Vec<Note> = changes.chain(new).collect();
        self.announcer.announce(&seen.service, &new).await;
        (applied.troubles, notes)
    }

    /// Writes the status if it differs. Returns whether this replica still leads.
    async fn write_status(&self, seen: &Seen, status: ModelServiceStatus, applied: &mut Applied) -> bool {
        let Some(status) = settle(status, applied, &seen.service, &now()) else { return true };
        if !*self.is_leader.borrow() {
            return false;
        }
        match self.applier.write_status(&seen.name, &status).await {
            Ok(_) => self.count("modelservices/status", "written"),
            // Deleted a moment ago.
            Err(Failure::Absent(_)) => {}
            Err(failure) => applied.troubles.push(Trouble::of_status(failure)),
        }
        true
    }

    /// Brings one object to its manifest.
    async fn bring(&mut self, seen: &Seen, manifest: &Value, applied: &mut Applied) {
        let Some(target) = Target::of(manifest) else {
            tracing::error!(service = %seen.name, "a plan has an object of a kind that is not applied");
            return;
        };
        let live = seen.made.get(&target).map(Arc::as_ref);
        let (step, contested) = Step::of(manifest, live, seen.uid());
        if !contested.is_empty() {
            applied.contested.push((target.clone(), contested));
        }
        // A slow API server may keep this replica here for longer than it holds the lease.
        if !*self.is_leader.borrow() {
            return;
        }
        let (done, result) = match &step {
            Step::Keep | Step::Wait => return,
            Step::LeaveAlone => ("Created", Err(Failure::Foreign)),
            Step::Create(manifest) => {
                ("Created", self.applier.create(&target, seen.uid(), manifest).await.map(drop))
            }
            Step::Apply(manifest) => ("Updated", self.applier.apply(&target, manifest).await.map(drop)),
        };
        self.note(target, done, result, applied);
    }

    /// Deletes an object that the plan has no more.
    async fn retire(&mut self, seen: &Seen, target: &Target, applied: &mut Applied) {
        let Some(live) = seen.made.get(target) else { return };
        let is_leaving = live.metadata.deletion_timestamp.is_some();
        if is_leaving || !is_ours(live, seen.uid(), &Value::Null) || !*self.is_leader.borrow() {
            return;
        }
        let result = self.applier.delete(target.kind, live).await;
        self.note(target.clone(), "Deleted", result, applied);
    }

    fn note(
        &mut self,
        target: Target,
        done: &'static str,
        result: Result<(), Failure>,
        applied: &mut Applied,
    ) {
        match result {
            Ok(()) => {
                self.count(target.kind.label(), "written");
                applied.changes.push((done, target));
            }
            Err(Failure::Contested(fields)) => {
                self.count(target.kind.label(), "contested");
                // The next look at the object leaves them out.
                let why = Failure::Contested(fields);
                applied.troubles.push(Trouble::of(target, why));
            }
            Err(failure) => {
                self.count(target.kind.label(), failure.label());
                applied.troubles.push(Trouble::of(target, failure));
            }
        }
    }

    fn count(&self, resource: &'static str, result: &'static str) {
        let labels = [("resource", resource), ("result", result)];
        self.metrics.deploy_writes.get_or_create(&labels).inc();
    }
}

/// The time as the API writes it: whole seconds.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests;
