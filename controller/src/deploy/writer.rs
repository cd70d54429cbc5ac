//! Carries out one ModelService: plans it, writes what its plan lacks, and reports how that went.
//!
//! Its objects are written one after the other, in the plan's order; how many ModelServices are carried out at once is the concern of
//! `pass`.

use super::apply::{Applier, Failure};
use super::events::{Announcer, Note};
use super::leaving::{marks, patch};
use super::planned::{Planned, planned};
use super::seen::Seen;
use super::status::{Applied, Trouble, settle};
use super::step::{Step, Target, is_ours};
use crate::config::ObjectName;
use crate::metrics::Metrics;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::watch;
use warmpath_deploy::api::ModelServiceStatus;
use warmpath_deploy::plan::Cluster;

/// Writes what ModelServices become.
pub(super) struct Writer {
    pub(super) applier: Applier,
    pub(super) announcer: Announcer,
    pub(super) is_leader: watch::Receiver<bool>,
    pub(super) metrics: Arc<Metrics>,
}

/// What came of a ModelService.
pub(super) struct Outcome {
    /// What failed.
    pub(super) troubles: Vec<Trouble>,
    /// What was announced, now or before.
    pub(super) notes: Vec<Note>,
}

// === impl Writer ===

impl Writer {
    /// Carries out one ModelService. `before`: what was announced of it; `None`: nothing is known of that. `held`: what failed before, and
    /// is not tried this time.
    pub(super) async fn carry(
        &self,
        seen: &Seen,
        cluster: &Cluster,
        before: Option<Vec<Note>>,
        held: &[Trouble],
    ) -> Outcome {
        // The garbage collector has begun: what it removes must not be made again.
        if seen.service.metadata.deletion_timestamp.is_some() {
            return Outcome { troubles: Vec::new(), notes: before.unwrap_or_default() };
        }
        let Planned { manifests, retire, status, mut notes } = planned(seen, cluster);
        let before = match before {
            Some(before) => before,
            // A leader before this one has announced what follows from a specification that it has observed.
            None if seen.is_observed() => notes.clone(),
            None => Vec::new(),
        };
        let mut applied = Applied::default();
        self.mark(seen, &manifests).await;
        for manifest in &manifests {
            match Target::of(manifest).and_then(|target| held.iter().find(|trouble| trouble.is_of(&target))) {
                Some(trouble) => applied.troubles.push(trouble.clone()),
                None => self.bring(seen, manifest, &mut applied).await,
            }
        }
        // What could not be made cannot take the place of what is there.
        let retire = if applied.troubles.is_empty() { retire } else { Vec::new() };
        for target in &retire {
            match held.iter().find(|trouble| trouble.is_of(target)) {
                Some(trouble) => applied.troubles.push(trouble.clone()),
                None => self.retire(seen, target, &mut applied).await,
            }
        }
        if let Some(trouble) = held.iter().find(|trouble| trouble.is_of_status()) {
            applied.troubles.push(trouble.clone());
        } else if !self.write_status(seen, status, &mut applied).await {
            return Outcome { troubles: applied.troubles, notes: before };
        }
        for trouble in applied.troubles.iter().filter(|trouble| !held.contains(trouble)) {
            let (service, what, why) = (&seen.name, trouble.what(), trouble.why());
            tracing::warn!(%service, what, why, "a ModelService cannot be carried out as it is");
        }
        notes.extend(applied.troubles.iter().map(Trouble::note));
        let changes = applied.changes.iter().map(|(done, target)| Note::of_change(done, target));
        let new = notes.iter().filter(|note| !before.contains(note)).cloned();
        let new: Vec<Note> = changes.chain(new).collect();
        self.announcer.announce(&seen.service, &new).await;
        Outcome { troubles: applied.troubles, notes }
    }

    /// Marks the pods that leave with the roles that shrink. One that cannot be marked leaves or stays as Kubernetes chooses.
    async fn mark(&self, seen: &Seen, manifests: &[Value]) {
        for (name, cost) in marks(seen, manifests) {
            if !*self.is_leader.borrow() {
                return;
            }
            let pod = ObjectName { namespace: seen.name.namespace.clone(), name };
            match self.applier.mark(&pod, &patch(cost)).await {
                Ok(()) => self.count("pods", "written"),
                // It has left meanwhile.
                Err(Failure::Absent(_)) => {}
                Err(failure) => {
                    self.count("pods", failure.label());
                    tracing::warn!(%pod, ?failure, "a pod cannot be marked to leave first");
                }
            }
        }
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
    async fn bring(&self, seen: &Seen, manifest: &Value, applied: &mut Applied) {
        let Some(target) = Target::of(manifest) else {
            tracing::error!(service = %seen.name, "a plan has an object of a kind that is not applied");
            return;
        };
        let live = seen.made.get(&target).map(Arc::as_ref);
        let (step, contested) = Step::of(manifest, live, seen.uid(), seen.respect());
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
            Step::Force(manifest) => ("Updated", self.applier.force(&target, manifest).await.map(drop)),
        };
        self.note(target, done, result, applied);
    }

    /// Deletes an object that the plan has no more.
    async fn retire(&self, seen: &Seen, target: &Target, applied: &mut Applied) {
        let Some(live) = seen.made.get(target) else { return };
        let is_leaving = live.metadata.deletion_timestamp.is_some();
        if is_leaving || !is_ours(live, seen.uid(), &Value::Null) || !*self.is_leader.borrow() {
            return;
        }
        let result = self.applier.delete(target.kind, live).await;
        self.note(target.clone(), "Deleted", result, applied);
    }

    fn note(&self, target: Target, done: &'static str, result: Result<(), Failure>, applied: &mut Applied) {
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
