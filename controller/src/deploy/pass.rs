//! One pass over the ModelServices: each that has changed is planned, and what its plan lacks is written.

use super::Settings;
use super::apply::{Applier, Failure};
use super::events::{Announcer, Note};
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
    pub(super) async fn pass(&mut self, facts: &Facts) -> Option<Instant> {
        let all = seen(facts);
        let cluster = with_kinds(self.cluster.clone(), facts, &self.applier.client).await;
        if self.cluster != cluster {
            // Every plan may change.
            self.carried.clear();
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
        let mut applied = Applied::default();
        for manifest in &manifests {
            self.bring(seen, manifest, &mut applied).await;
        }
        for target in &retire {
            self.retire(seen, target, &mut applied).await;
        }
        if !self.write_status(seen, status, &mut applied).await {
            return (applied.troubles, before.to_vec());
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
            Err(failure) => applied.troubles.push(Trouble::new("its status", failure)),
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
                applied.troubles.push(Trouble::new(&target.to_string(), why));
            }
            Err(failure) => {
                self.count(target.kind.label(), failure.label());
                applied.troubles.push(Trouble::new(&target.to_string(), failure));
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
mod tests {
    use super::{Carrier, Settings};
    use crate::config::{Kubernetes, ObjectName, Selector};
    use crate::fake_api::FakeApi;
    use crate::watch::{Facts, Item, Kind, Source, Update};
    use http::{Method, Response, StatusCode};
    use kube::api::DynamicObject;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};
    use tokio::sync::watch;

    /// Method and kind of each call.
    type Calls = Arc<Mutex<Vec<(Method, String)>>>;

    fn service() -> Value {
        json!({
            "apiVersion": "warmpath.dev/v1alpha1",
            "kind": "ModelService",
            "metadata": {"name": "llama", "namespace": "llm", "uid": "u", "generation": 1, "resourceVersion": "1"},
            "spec": {
                "model": {"name": "meta-llama/Llama-3.1-8B-Instruct"},
                "roles": {"serve": {"hardware": {"gpu": {"type": "cpu"}}}},
            },
        })
    }

    /// What watches have shown that have listed everything.
    fn facts(objects: &[(Kind, Value)]) -> Facts {
        let mut facts = Facts::default();
        for kind in Kind::OF_MODELS.into_iter().chain([Kind::ModelService, Kind::EnginePod]) {
            let source = Source { kind, namespace: None, selector: Selector::new() };
            let of_kind = objects.iter().filter(|(of, _)| *of == kind).map(|(_, object)| {
                let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
                let name = object.metadata.name.clone().unwrap();
                (ObjectName { namespace: "llm".to_owned(), name }, Item::Whole(Arc::new(object)))
            });
            facts.open(source.clone());
            facts.apply(&source, Update::Listed(of_kind.collect::<BTreeMap<_, _>>()));
        }
        facts
    }

    /// A carrier whose API server has nothing, and does with writes of a kind what `refuses` says.
    fn carrier(refuses: fn(&str) -> bool) -> (Carrier, watch::Sender<bool>, Calls) {
        let calls = Calls::default();
        let log = Arc::clone(&calls);
        let client = FakeApi::client(move |request| {
            let path = request.uri().path().to_owned();
            let mut parts = path.rsplit('/');
            let last = parts.next().unwrap().to_owned();
            let kind = parts.next().unwrap().to_owned();
            let kind = if last == "status" { "status".to_owned() } else { kind };
            log.lock().unwrap().push((request.method().clone(), kind.clone()));
            let (status, body) = if *request.method() == Method::GET {
                (
                    StatusCode::NOT_FOUND,
                    json!({"kind": "Status", "code": 404, "reason": "NotFound"}).to_string(),
                )
            } else if refuses(&kind) {
                (
                    StatusCode::UNPROCESSABLE_ENTITY,
                    json!({"kind": "Status", "code": 422, "message": "no"}).to_string(),
                )
            } else {
                (StatusCode::OK, json!({"apiVersion": "v1", "kind": "K", "metadata": {}}).to_string())
            };
            Response::builder().status(status).body(body).unwrap()
        });
        let (leads, is_leader) = watch::channel(true);
        let service = ObjectName { namespace: "llm".to_owned(), name: "warmpath-controller".to_owned() };
        let kubernetes = Kubernetes { service: Some(service), ..Kubernetes::default() };
        let settings = Settings { kubernetes, grpc_port: 18_000, pod: "pod".to_owned() };
        (Carrier::new(client, &settings, is_leader, Arc::default()), leads, calls)
    }

    fn patched(calls: &Calls) -> Vec<String> {
        let patches =
            calls.lock().unwrap().clone().into_iter().filter(|(method, _)| *method == Method::PATCH);
        patches.map(|(_, kind)| kind).collect()
    }

    #[tokio::test]
    async fn what_has_not_changed_is_looked_at_once() {
        let (mut carrier, _leads, calls) = carrier(|_| false);
        let facts = facts(&[(Kind::ModelService, service())]);
        assert_eq!(carrier.pass(&facts).await, None);
        let first = calls.lock().unwrap().len();
        assert!(patched(&calls).contains(&"deployments".to_owned()), "{:?}", patched(&calls));
        carrier.pass(&facts).await;
        assert_eq!(calls.lock().unwrap().len(), first);
    }

    #[tokio::test]
    async fn an_object_that_is_refused_does_not_keep_the_others_from_being_made() {
        let (mut carrier, _leads, calls) = carrier(|kind| kind == "deployments");
        let facts = facts(&[(Kind::ModelService, service())]);
        let due = carrier.pass(&facts).await;
        assert!(due.is_some(), "it is tried again");
        let patched = patched(&calls);
        for kind in ["deployments", "services", "inferencepools", "status"] {
            assert!(patched.contains(&kind.to_owned()), "{kind}: {patched:?}");
        }
    }

    #[tokio::test]
    async fn a_model_service_that_is_being_deleted_is_left_to_the_garbage_collector() {
        let (mut carrier, _leads, calls) = carrier(|_| false);
        let mut leaving = service();
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        carrier.pass(&facts(&[(Kind::ModelService, leaving)])).await;
        assert_eq!(patched(&calls), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_replica_that_does_not_lead_writes_nothing() {
        let (mut carrier, leads, calls) = carrier(|_| false);
        leads.send_replace(false);
        carrier.pass(&facts(&[(Kind::ModelService, service())])).await;
        assert_eq!(patched(&calls), Vec::<String>::new());
    }

    #[tokio::test]
    async fn what_does_not_fit_the_definition_changes_nothing_but_the_status() {
        let (mut carrier, _leads, calls) = carrier(|_| false);
        let mut odd = service();
        odd["spec"]["roles"] = json!("many");
        carrier.pass(&facts(&[(Kind::ModelService, odd)])).await;
        assert_eq!(patched(&calls), ["status"]);
    }
}
