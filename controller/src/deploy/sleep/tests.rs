//! The sleeper before simulated engines and an API server that takes labels.

use super::plan::{FAILING_MAX, SETTLE};
use super::{Applier, Hands, Pods, SLEEPS_MAX, Sleeper, Target, Targets, tend, tend_all};
use crate::config::ObjectName;
use crate::fake_api::FakeApi;
use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use warmpath_deploy::plan::{Asleep, ENDPOINT_LABEL};
use warmpath_engine::{EngineServer, ServerConfig};

/// Far longer than anything takes here.
const DEADLINE: Duration = Duration::from_secs(30);
/// The pod was deleted.
const DELETED: &str = "deleted";

/// What was done with the pod, in order: the labels that were set, and its deletion. And the client that does so.
fn writes() -> (Arc<Mutex<Vec<String>>>, kube::Client) {
    let set = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&set);
    let client = FakeApi::client(move |request: Request<Bytes>| {
        assert_eq!(request.uri().path(), "/api/v1/namespaces/llm/pods/decode-0");
        let write = if request.method() == Method::DELETE {
            DELETED.to_owned()
        } else {
            let patch: Value = serde_json::from_slice(request.body()).unwrap();
            patch["metadata"]["labels"][ENDPOINT_LABEL].as_str().unwrap().to_owned()
        };
        seen.lock().unwrap().push(write);
        let pod =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "decode-0", "namespace": "llm"}});
        Response::new(pod.to_string())
    });
    (set, client)
}

async fn engine(wake_time: Option<Duration>) -> EngineServer {
    EngineServer::start(ServerConfig { wake_time, ..ServerConfig::instant() }).await.unwrap()
}

fn name(name: &str) -> ObjectName {
    ObjectName { namespace: "llm".to_owned(), name: name.to_owned() }
}

fn awake(engine: &EngineServer, labelled: Option<Asleep>) -> Targets {
    Targets::from([(name("decode-0"), target(engine, false, labelled))])
}

fn target(engine: &EngineServer, sleeps: bool, labelled: Option<Asleep>) -> Target {
    let addresses = vec![engine.addr().to_string()];
    Target { service: name("llama"), level: 1, sleeps, labelled, restarts: 0, is_ready: true, addresses }
}

/// Looks once at a pod that has taken no requests for as long as one must before it is put to sleep.
async fn look_at_settled(hands: &Hands, target: &Target) {
    let begun = hands.pods.lock().entry(name("decode-0")).or_default().begin(target).unwrap();
    hands.pods.lock().get_mut(&name("decode-0")).unwrap().withheld = Instant::now().checked_sub(SETTLE);
    tend(name("decode-0"), begun, hands.clone()).await;
}

async fn post(engine: &EngineServer, path: &str) {
    let reply = crate::web::request(Method::POST, &engine.addr().to_string(), path, super::engine::ASK).await;
    assert!(reply.unwrap().status.is_success(), "{path}");
}

impl Hands {
    /// What is said of the pod.
    fn failure(&self) -> Option<String> {
        self.pods.lock().get(&name("decode-0"))?.failure.clone()
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let so = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, so).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn an_engine_is_woken_as_it_sleeps_and_takes_requests_only_then() {
    for level in [1, 2] {
        let (engine, (set, client)) = (engine(Some(Duration::ZERO)).await, writes());
        post(&engine, &format!("/sleep?level={level}")).await;
        let (_leads, is_leader) = watch::channel(true);
        let sleeper = Sleeper::start(client, is_leader);
        // Its ModelService has another level by now: what counts is what it was put to sleep with.
        sleeper.follow(awake(&engine, Some(Asleep::at(level))));
        until("a label", || !set.lock().unwrap().is_empty()).await;
        assert_eq!(set.lock().unwrap()[0], "true");
        let state = engine.state();
        assert_eq!((state.slept.wakes, state.requests.contains_key("/collective_rpc")), (1, level == 2));
        assert!(sleeper.diagnoses()[0].1.is_fine);
    }
}

#[tokio::test]
async fn an_engine_says_that_it_sleeps_before_that_counts() {
    let (engine, (set, client)) = (engine(Some(Duration::ZERO)).await, writes());
    let (_leads, is_leader) = watch::channel(true);
    let hands = Hands { applier: Arc::new(Applier { client }), is_leader, pods: Pods::default() };
    look_at_settled(&hands, &target(&engine, true, Some(Asleep::at(1)))).await;
    assert_eq!(*set.lock().unwrap(), ["asleep-1-sent-0", "asleep-1"]);
    assert_eq!((engine.state().slept.sleeps, hands.failure()), (1, None));
}

#[tokio::test]
async fn an_engine_whose_sleep_failed_is_replaced_when_it_is_wanted_and_never_serves() {
    let config =
        ServerConfig { wake_time: Some(Duration::ZERO), sleep_fails: true, ..ServerConfig::instant() };
    let (engine, (set, client)) = (EngineServer::start(config).await.unwrap(), writes());
    let (_leads, is_leader) = watch::channel(true);
    let hands = Hands { applier: Arc::new(Applier { client }), is_leader, pods: Pods::default() };
    look_at_settled(&hands, &target(&engine, true, Some(Asleep::at(1)))).await;
    assert_eq!(*set.lock().unwrap(), ["asleep-1-sent-0"]);
    assert!(hands.failure().unwrap().contains("it cannot be put to sleep: 500"));
    // A request comes; the watch has yet to show the label.
    look_at_settled(&hands, &target(&engine, false, Some(Asleep::at(1)))).await;
    assert_eq!(*set.lock().unwrap(), ["asleep-1-sent-0", DELETED]);
    assert_eq!(engine.state().requests.get("/wake_up"), None);
}

#[tokio::test]
async fn a_failed_sleep_is_still_said_at_the_next_look() {
    let (engine, (set, client)) = (engine(Some(Duration::ZERO)).await, writes());
    let (_leads, is_leader) = watch::channel(true);
    let hands = Hands { applier: Arc::new(Applier { client }), is_leader, pods: Pods::default() };
    // A leader that takes over knows no more than the label; the engine says that it sleeps, as it does when it has only paused.
    post(&engine, "/sleep").await;
    let labelled = Asleep { level: 1, sent: Some(0) };
    look_at_settled(&hands, &target(&engine, true, Some(labelled))).await;
    assert!(hands.failure().unwrap().contains("how its last sleep ended is not known"));
    assert!(set.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_leader_that_takes_over_does_not_trust_that_an_engine_is_awake() {
    let (engine, (set, client)) = (engine(Some(Duration::ZERO)).await, writes());
    let (_leads, is_leader) = watch::channel(true);
    let sleeper = Sleeper::start(client, is_leader);
    // The leader before has sent it to sleep, and it may not have begun.
    sleeper.follow(awake(&engine, Some(Asleep { level: 1, sent: Some(0) })));
    until("a write", || !set.lock().unwrap().is_empty()).await;
    assert_eq!(set.lock().unwrap()[0], DELETED);
}

#[tokio::test]
async fn an_engine_that_cannot_be_woken_is_replaced_in_the_end() {
    let ((set, client), engine) = (writes(), engine(None).await);
    let (_leads, is_leader) = watch::channel(true);
    let hands = Hands { applier: Arc::new(Applier { client }), is_leader, pods: Pods::default() };
    let asleep = target(&engine, false, Some(Asleep::at(2)));
    look_at_settled(&hands, &asleep).await;
    assert!(set.lock().unwrap().is_empty() && hands.failure().is_some());
    hands
        .pods
        .lock()
        .get_mut(&name("decode-0"))
        .unwrap()
        .fails_since(Instant::now().checked_sub(FAILING_MAX));
    look_at_settled(&hands, &asleep).await;
    assert_eq!(*set.lock().unwrap(), [DELETED]);
}

#[tokio::test]
async fn a_wish_that_changes_does_not_wait_for_the_retry_of_what_failed() {
    let ((_, client), down) = (writes(), engine(None).await);
    let (_leads, is_leader) = watch::channel(true);
    let hands = Hands { applier: Arc::new(Applier { client }), is_leader, pods: Pods::default() };
    look_at_settled(&hands, &target(&down, true, Some(Asleep::at(1)))).await;
    let mut pods = hands.pods.lock();
    let pod = pods.get_mut(&name("decode-0")).unwrap();
    assert!(pod.begin(&target(&down, true, Some(Asleep::at(1)))).is_none(), "it waits");
    assert!(pod.begin(&target(&down, false, Some(Asleep::at(1)))).is_some());
}

#[tokio::test]
async fn a_pod_that_is_not_ready_for_a_moment_is_not_woken_twice() {
    let ((_, client), engine) = (writes(), engine(Some(Duration::ZERO)).await);
    let (_leads, is_leader) = watch::channel(true);
    let hands = Hands { applier: Arc::new(Applier { client }), is_leader, pods: Pods::default() };
    let waking = target(&engine, false, Some(Asleep::at(2)));
    assert!(hands.pods.lock().entry(name("decode-0")).or_default().begin(&waking).is_some());
    hands.pods.retain(|_| false);
    assert!(hands.pods.lock().entry(name("decode-0")).or_default().begin(&waking).is_none());
}

#[tokio::test]
async fn a_pod_that_is_woken_waits_for_none_that_are_put_to_sleep() {
    let ((set, client), engine) = (writes(), engine(Some(Duration::ZERO)).await);
    let (_leads, is_leader) = watch::channel(true);
    let hands = Hands { applier: Arc::new(Applier { client }), is_leader, pods: Pods::default() };
    let sleeping = target(&engine, true, Some(Asleep::at(1)));
    let mut targets = awake(&engine, Some(Asleep::at(1)));
    for at in 0..SLEEPS_MAX {
        let name = name(&format!("a-{at}"));
        assert!(hands.pods.lock().entry(name.clone()).or_default().begin(&sleeping).is_some());
        targets.insert(name, sleeping.clone());
    }
    let (_targets, targeted) = watch::channel(targets);
    tokio::spawn(tend_all(targeted, hands));
    until("a label", || !set.lock().unwrap().is_empty()).await;
    assert_eq!(set.lock().unwrap()[0], "true");
}

#[tokio::test]
async fn an_engine_without_the_endpoints_is_said() {
    let (engine, (set, client)) = (engine(None).await, writes());
    let (_leads, is_leader) = watch::channel(true);
    let sleeper = Sleeper::start(client, is_leader);
    sleeper.follow(awake(&engine, Some(Asleep::at(1))));
    until("a failure", || sleeper.diagnoses().first().is_some_and(|(_, said)| !said.is_fine)).await;
    let (of, said) = sleeper.diagnoses().remove(0);
    assert_eq!((of, said.kind.as_str(), said.reason.as_str()), (name("llama"), "SleepMode", "Fails"));
    assert!(said.message.contains("pod decode-0: it does not say whether it sleeps"), "{}", said.message);
    assert!(set.lock().unwrap().is_empty());
}
