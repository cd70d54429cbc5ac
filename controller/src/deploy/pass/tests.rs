//! Passes over ModelServices at an API server of this process: what is written, how, and what is left alone.

use super::{AT_ONCE_MAX, Carrier, DEBOUNCE, Insights, Settings};
use crate::config::{Kubernetes, ObjectName, Selector};
use crate::fake_api::FakeApi;
use crate::scale::{RoleScaling, Scaling};
use crate::watch::{Facts, Item, Kind, Source, Update};
use http::{Method, Response, StatusCode};
use kube::api::DynamicObject;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::time::Instant;
use warmpath_deploy::api::RoleName;

const NOT_FOUND: StatusCode = StatusCode::NOT_FOUND;

/// What was called, in order.
type Calls = Arc<Mutex<Vec<Call>>>;

/// One call: method, kind, query and body.
#[derive(Clone, Debug)]
struct Call {
    method: Method,
    kind: String,
    query: String,
    body: Value,
}

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
    let (leads, is_leader) = watch::channel(true);
    let (carrier, calls) = carrier_at(is_leader, move |call| match call.method {
        Method::GET => NOT_FOUND,
        _ if refuses(&call.kind) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::OK,
    });
    (carrier, leads, calls)
}

/// A carrier whose API server responds with what `respond` says. What it reads is an object of nobody.
fn carrier_at(
    is_leader: watch::Receiver<bool>,
    mut respond: impl FnMut(&Call) -> StatusCode + Send + 'static,
) -> (Carrier, Calls) {
    let calls = Calls::default();
    let log = Arc::clone(&calls);
    let client = FakeApi::client(move |request| {
        let path = request.uri().path().to_owned();
        let mut parts = path.rsplit('/');
        let last = parts.next().unwrap().to_owned();
        let kind = parts.next().unwrap().to_owned();
        let kind = if last == "status" { "status".to_owned() } else { kind };
        let query = request.uri().query().unwrap_or_default().to_owned();
        let body = serde_json::from_slice(request.body()).unwrap_or_default();
        let call = Call { method: request.method().clone(), kind, query, body };
        let status = respond(&call);
        log.lock().unwrap().push(call);
        let body = if status == StatusCode::OK {
            json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}})
        } else {
            let reason = if status == NOT_FOUND { "NotFound" } else { "Invalid" };
            json!({"kind": "Status", "code": status.as_u16(), "reason": reason, "message": "no"})
        };
        Response::builder().status(status).body(body.to_string()).unwrap()
    });
    let service = ObjectName { namespace: "llm".to_owned(), name: "warmpath-controller".to_owned() };
    let kubernetes = Kubernetes { service: Some(service), ..Kubernetes::default() };
    let settings = Settings { kubernetes, grpc_port: 18_000, pod: "pod".to_owned() };
    (Carrier::new(client, &settings, is_leader, Arc::default()), calls)
}

/// Carries out all that is due, to the end. Returns when to look again.
async fn pass(carrier: &mut Carrier, facts: &Facts) -> Option<Instant> {
    pass_with(carrier, facts, &mut Insights::default()).await
}

async fn pass_with(carrier: &mut Carrier, facts: &Facts, shown: &mut Insights) -> Option<Instant> {
    let later = Instant::now() + DEBOUNCE;
    carrier.look(facts, shown, later).await;
    while !carrier.busy.is_empty() {
        carrier.ended().await;
    }
    carrier.look(facts, shown, later).await
}

/// An object that somebody has made for the ModelService, with a replica that is ready.
fn made(kind: Kind, name: &str, owner: &str, uid: &str) -> (Kind, Value) {
    let resource = kind.resource();
    let role = name.rsplit('-').next();
    let labels = json!({
        "app.kubernetes.io/managed-by": "warmpath", "warmpath.dev/model-service": "llama", "warmpath.dev/role": role,
    });
    let owners = json!([{"apiVersion": "v1", "kind": "K", "name": "n", "uid": owner, "controller": true}]);
    let object = json!({
        "apiVersion": resource.api_version, "kind": resource.kind,
        "metadata": {"name": name, "namespace": "llm", "uid": uid, "resourceVersion": uid, "labels": labels, "ownerReferences": owners},
        "spec": {"replicas": 1},
        "status": {"readyReplicas": 1, "updatedReplicas": 1, "replicas": 1},
    });
    (kind, object)
}

fn patched(calls: &Calls) -> Vec<String> {
    let calls = calls.lock().unwrap();
    calls.iter().filter(|call| call.method == Method::PATCH).map(|call| call.kind.clone()).collect()
}

#[tokio::test]
async fn what_has_not_changed_is_looked_at_once() {
    let (mut carrier, _leads, calls) = carrier(|_| false);
    let facts = facts(&[(Kind::ModelService, service())]);
    assert_eq!(pass(&mut carrier, &facts).await, None);
    let first = calls.lock().unwrap().len();
    assert!(patched(&calls).contains(&"deployments".to_owned()), "{:?}", patched(&calls));
    pass(&mut carrier, &facts).await;
    assert_eq!(calls.lock().unwrap().len(), first);
}

#[tokio::test]
async fn a_new_leader_does_not_announce_what_another_one_has() {
    for (observed, expected) in [(0, 1), (1, 0)] {
        let mut service = service();
        let hardware = json!({"gpu": {"type": "nvidia-h100"}});
        service["spec"]["roles"] =
            json!({"prefill": {"hardware": hardware}, "decode": {"hardware": hardware}});
        service["status"] = json!({"observedGeneration": observed});
        let (mut carrier, _leads, calls) = carrier(|_| false);
        pass(&mut carrier, &facts(&[(Kind::ModelService, service)])).await;
        let calls = calls.lock().unwrap();
        let announced = calls.iter().filter(|call| call.body["reason"] == "NoRdma");
        assert_eq!(announced.count(), expected, "{calls:?}");
    }
}

#[tokio::test]
async fn an_object_that_is_refused_does_not_keep_the_others_from_being_made() {
    let (mut carrier, _leads, calls) = carrier(|kind| kind == "deployments");
    let facts = facts(&[(Kind::ModelService, service())]);
    let due = pass(&mut carrier, &facts).await;
    assert!(due.is_some(), "it is tried again");
    let patched = patched(&calls);
    for kind in ["deployments", "services", "inferencepools", "status"] {
        assert!(patched.contains(&kind.to_owned()), "{kind}: {patched:?}");
    }
}

#[tokio::test]
async fn a_model_is_woken_at_once_though_something_else_of_it_was_refused() {
    let (mut carrier, _leads, calls) = carrier(|kind| kind == "services");
    let mut sleeping = service();
    sleeping["spec"]["roles"]["serve"]["replicas"] = json!({"min": 0, "max": 4});
    sleeping["spec"]["autoscaling"] = json!({"enabled": true, "scaleToZero": true});
    let (facts, mut shown) = (facts(&[(Kind::ModelService, sleeping)]), Insights::default());
    let asks = |shown: &mut Insights, replicas| {
        let name = ObjectName { namespace: "llm".to_owned(), name: "llama".to_owned() };
        let role = RoleScaling { replicas, order: Vec::new() };
        let scaling = Scaling { roles: BTreeMap::from([(RoleName::Serve, role)]), ..Scaling::default() };
        shown.scale(BTreeMap::from([(name, scaling)]));
    };
    let written = || {
        let calls = calls.lock().unwrap();
        let deployments =
            calls.iter().filter(|call| call.method == Method::PATCH && call.kind == "deployments");
        deployments.map(|call| call.body["spec"]["replicas"].clone()).collect::<Vec<_>>()
    };
    pass_with(&mut carrier, &facts, &mut shown).await;
    assert_eq!(written(), [json!(0)], "nobody asks for any");
    pass_with(&mut carrier, &facts, &mut shown).await;
    assert_eq!(written().len(), 1, "the refusal is tried again later");
    asks(&mut shown, 2);
    pass_with(&mut carrier, &facts, &mut shown).await;
    assert_eq!(written(), [json!(0), json!(2)]);
}

#[tokio::test]
async fn a_model_service_that_is_being_deleted_is_left_to_the_garbage_collector() {
    let (mut carrier, _leads, calls) = carrier(|_| false);
    let mut leaving = service();
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    pass(&mut carrier, &facts(&[(Kind::ModelService, leaving)])).await;
    assert_eq!(patched(&calls), Vec::<String>::new());
}

#[tokio::test]
async fn a_replica_that_does_not_lead_writes_nothing() {
    let (mut carrier, leads, calls) = carrier(|_| false);
    leads.send_replace(false);
    pass(&mut carrier, &facts(&[(Kind::ModelService, service())])).await;
    assert_eq!(patched(&calls), Vec::<String>::new());
}

#[tokio::test]
async fn what_does_not_fit_the_definition_changes_nothing_but_the_status() {
    let (mut carrier, _leads, calls) = carrier(|_| false);
    let mut odd = service();
    odd["spec"]["roles"] = json!("many");
    pass(&mut carrier, &facts(&[(Kind::ModelService, odd)])).await;
    assert_eq!(patched(&calls), ["status"]);
}

#[tokio::test]
async fn objects_are_applied_without_force_and_the_status_with_it() {
    let (mut carrier, _leads, calls) = carrier(|_| false);
    pass(&mut carrier, &facts(&[(Kind::ModelService, service())])).await;
    let calls = calls.lock().unwrap();
    let patches: Vec<&Call> = calls.iter().filter(|call| call.method == Method::PATCH).collect();
    assert!(patches.len() > 3, "{patches:?}");
    for call in patches {
        assert!(call.query.contains("fieldManager=warmpath"), "{call:?}");
        assert_eq!(call.query.contains("force=true"), call.kind == "status", "{call:?}");
    }
}

#[tokio::test]
async fn a_replica_that_loses_the_lease_during_a_write_writes_nothing_more() {
    let (leads, is_leader) = watch::channel(true);
    let (mut carrier, calls) = carrier_at(is_leader, move |call| {
        if call.method == Method::GET {
            return NOT_FOUND;
        }
        leads.send_replace(false);
        StatusCode::OK
    });
    pass(&mut carrier, &facts(&[(Kind::ModelService, service())])).await;
    assert_eq!(patched(&calls).len(), 1, "{:?}", patched(&calls));
}

#[tokio::test]
async fn an_object_of_somebody_else_that_the_watches_do_not_show_is_not_written_to() {
    let (_leads, is_leader) = watch::channel(true);
    // Everything that the plan names is there, without labels or owners.
    let (mut carrier, calls) = carrier_at(is_leader, |_| StatusCode::OK);
    pass(&mut carrier, &facts(&[(Kind::ModelService, service())])).await;
    assert_eq!(patched(&calls), ["status"]);
    let calls = calls.lock().unwrap();
    let status = calls.iter().find(|call| call.kind == "status").unwrap();
    assert!(status.body.to_string().contains("NameTaken"), "{}", status.body);
}

#[tokio::test]
async fn what_the_plan_no_longer_has_is_deleted_by_its_uid_and_only_if_it_is_ours() {
    let (mut carrier, _leads, calls) = carrier(|_| false);
    let objects = [
        (Kind::ModelService, service()),
        made(Kind::Deployment, "llama-serve", "u", "0"),
        made(Kind::Deployment, "llama-prefill", "u", "1"),
        made(Kind::Deployment, "llama-decode", "other", "2"),
    ];
    pass(&mut carrier, &facts(&objects)).await;
    let calls = calls.lock().unwrap();
    let deleted: Vec<&Call> = calls.iter().filter(|call| call.method == Method::DELETE).collect();
    assert_eq!(deleted.len(), 1, "{deleted:?}");
    assert_eq!(deleted[0].body["preconditions"]["uid"], "1");
}

#[tokio::test]
async fn a_change_of_what_was_made_is_looked_at_again() {
    let (mut carrier, _leads, calls) = carrier(|_| false);
    let made = |version: &str| {
        let labels = json!({"warmpath.dev/model-service": "llama"});
        let metadata =
            json!({"name": "llama", "namespace": "llm", "resourceVersion": version, "labels": labels});
        let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata});
        facts(&[(Kind::ModelService, service()), (Kind::Service, object)])
    };
    pass(&mut carrier, &made("1")).await;
    let first = calls.lock().unwrap().len();
    pass(&mut carrier, &made("1")).await;
    assert_eq!(calls.lock().unwrap().len(), first);
    pass(&mut carrier, &made("2")).await;
    assert!(calls.lock().unwrap().len() > first, "somebody has changed the Service");
}

/// So many ModelServices, each in this version.
fn many(count: usize, version: impl Fn(usize) -> usize) -> Facts {
    let service = |number: usize| {
        let mut service = service();
        service["metadata"]["name"] = json!(name_of(number).name);
        service["metadata"]["resourceVersion"] = json!(version(number).to_string());
        (Kind::ModelService, service)
    };
    facts(&(0..count).map(service).collect::<Vec<_>>())
}

fn name_of(number: usize) -> ObjectName {
    ObjectName { namespace: "llm".to_owned(), name: format!("model-{number:03}") }
}

#[tokio::test]
async fn some_are_carried_out_at_once_and_all_of_them_once() {
    let (mut carrier, _leads, calls) = carrier(|_| false);
    let facts = many(3 * AT_ONCE_MAX, |_| 1);
    assert_eq!(carrier.look(&facts, &mut Insights::default(), Instant::now()).await, None);
    assert_eq!((carrier.busy.len(), carrier.waiting.len()), (AT_ONCE_MAX, 2 * AT_ONCE_MAX));
    // A look meanwhile begins none a second time.
    carrier.look(&facts, &mut Insights::default(), Instant::now()).await;
    assert_eq!((carrier.busy.len(), carrier.waiting.len()), (AT_ONCE_MAX, 2 * AT_ONCE_MAX));
    while !carrier.busy.is_empty() {
        carrier.ended().await;
        assert!(carrier.busy.len() <= AT_ONCE_MAX);
    }
    let statuses = patched(&calls).iter().filter(|kind| *kind == "status").count();
    assert_eq!(statuses, 3 * AT_ONCE_MAX);
}

#[tokio::test]
async fn those_that_change_all_the_time_do_not_keep_others_waiting() {
    let (mut carrier, _leads, _calls) = carrier(|_| false);
    let count = 4 * AT_ONCE_MAX;
    // As many as may be under way, and the first by their names, are new in every look.
    for look in 0..8 {
        let facts = many(count, |number| if number < AT_ONCE_MAX { look } else { 0 });
        // By then all that the look before has written is shown, however long that took.
        carrier.look(&facts, &mut Insights::default(), Instant::now() + DEBOUNCE).await;
        for _ in 0..AT_ONCE_MAX {
            carrier.ended().await;
        }
    }
    for number in 0..count {
        assert!(carrier.carried.contains_key(&name_of(number)), "{number}");
    }
}

#[tokio::test]
async fn one_whose_calls_hang_does_not_hold_the_others_up() {
    let (mut carrier, _leads, _calls) = carrier(|_| false);
    carrier.busy.insert(name_of(0));
    carrier.under_way.push(Box::pin(std::future::pending()));
    let count = 3 * AT_ONCE_MAX;
    carrier.look(&many(count, |_| 1), &mut Insights::default(), Instant::now()).await;
    while carrier.busy.len() > 1 {
        carrier.ended().await;
    }
    assert_eq!(carrier.carried.len(), count - 1, "all but the one that hangs");
}

#[tokio::test]
async fn what_was_written_is_not_made_again_before_the_watches_can_have_shown_it() {
    let (mut carrier, _leads, calls) = carrier(|_| false);
    pass(&mut carrier, &many(1, |_| 1)).await;
    let (written, now) = (calls.lock().unwrap().len(), Instant::now());
    let due = carrier.look(&many(1, |_| 2), &mut Insights::default(), now).await;
    assert!(carrier.busy.is_empty(), "the status that it wrote itself has changed it");
    assert_eq!(calls.lock().unwrap().len(), written);
    let due = due.unwrap();
    assert!(due <= now + DEBOUNCE);
    carrier.look(&many(1, |_| 2), &mut Insights::default(), due).await;
    assert_eq!(carrier.busy.len(), 1);
}

#[tokio::test]
async fn an_edit_is_carried_out_at_once_though_what_was_refused_waits() {
    let (mut carrier, _leads, calls) = carrier(|kind| kind == "deployments");
    let refused_writes = |calls: &Calls| patched(calls).iter().filter(|kind| *kind == "deployments").count();
    let facts_of = |generation: i64, version: &str| {
        let mut service = service();
        service["metadata"]["generation"] = json!(generation);
        service["metadata"]["resourceVersion"] = json!(version);
        facts(&[(Kind::ModelService, service)])
    };
    let retry = pass(&mut carrier, &facts_of(1, "1")).await.unwrap();
    assert_eq!(refused_writes(&calls), 1);
    // Something else has changed, such as its pods.
    assert_eq!(pass(&mut carrier, &facts_of(1, "2")).await, Some(retry), "no later than it was");
    assert_eq!(refused_writes(&calls), 1, "what was refused waits");
    pass(&mut carrier, &facts_of(2, "3")).await;
    assert_eq!(refused_writes(&calls), 2);
}

#[tokio::test]
async fn what_is_refused_does_not_keep_the_status_and_other_objects_as_they_were() {
    let (mut carrier, _leads, calls) = carrier(|kind| kind == "services");
    let of_ready = |ready: i64, version: &str| {
        let (kind, mut deployment) = made(Kind::Deployment, "llama-serve", "u", version);
        deployment["status"]["readyReplicas"] = json!(ready);
        facts(&[(Kind::ModelService, service()), (kind, deployment)])
    };
    pass(&mut carrier, &of_ready(0, "1")).await;
    calls.lock().unwrap().clear();
    pass(&mut carrier, &of_ready(1, "2")).await;
    assert!(!patched(&calls).contains(&"services".to_owned()), "{:?}", patched(&calls));
    let calls = calls.lock().unwrap();
    let status = calls.iter().find(|call| call.kind == "status").expect("the status is written");
    assert_eq!(status.body["status"]["roles"][0]["ready"], 1, "{}", status.body);
    assert!(status.body.to_string().contains("Service llama"), "and still says what fails: {}", status.body);
}

#[tokio::test]
async fn what_serves_is_not_deleted_where_what_takes_its_place_is_refused() {
    for (is_refused, deleted) in [(true, 0), (false, 1)] {
        let (leads, is_leader) = watch::channel(true);
        let (mut carrier, calls) = carrier_at(is_leader, move |call| match call.method {
            Method::GET => NOT_FOUND,
            _ if is_refused && call.kind == "inferencepools" => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::OK,
        });
        let objects = [
            (Kind::ModelService, service()),
            made(Kind::Deployment, "llama-serve", "u", "0"),
            made(Kind::Deployment, "llama-decode", "u", "1"),
        ];
        pass(&mut carrier, &facts(&objects)).await;
        let calls = calls.lock().unwrap();
        assert_eq!(calls.iter().filter(|call| call.method == Method::DELETE).count(), deleted);
        drop(leads);
    }
}
