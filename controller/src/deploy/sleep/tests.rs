//! The sleeper before simulated engines and an API server that takes labels.

use super::{Sleeper, Target, Targets};
use crate::config::ObjectName;
use crate::fake_api::FakeApi;
use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;
use warmpath_deploy::plan::ENDPOINT_LABEL;
use warmpath_engine::{EngineServer, ServerConfig};

/// Far longer than anything takes here.
const DEADLINE: Duration = Duration::from_secs(30);

/// Labels that were set, in order, and the client that sets them.
fn labels() -> (Arc<Mutex<Vec<String>>>, kube::Client) {
    let set = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&set);
    let client = FakeApi::client(move |request: Request<Bytes>| {
        assert_eq!(
            (request.method(), request.uri().path()),
            (&Method::PATCH, "/api/v1/namespaces/llm/pods/decode-0")
        );
        let patch: Value = serde_json::from_slice(request.body()).unwrap();
        let label = patch["metadata"]["labels"][ENDPOINT_LABEL].as_str().unwrap().to_owned();
        seen.lock().unwrap().push(label);
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

fn awake(engine: &EngineServer, labelled: Option<u8>) -> Targets {
    let addresses = vec![engine.addr().to_string()];
    let target = Target { service: name("llama"), level: 1, sleeps: false, labelled, addresses };
    Targets::from([(name("decode-0"), target)])
}

async fn post(engine: &EngineServer, path: &str) {
    let reply = crate::web::request(Method::POST, &engine.addr().to_string(), path, super::engine::ASK).await;
    assert!(reply.unwrap().status.is_success(), "{path}");
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
        let (engine, (set, client)) = (engine(Some(Duration::ZERO)).await, labels());
        post(&engine, &format!("/sleep?level={level}")).await;
        let (_leads, is_leader) = watch::channel(true);
        let sleeper = Sleeper::start(client, is_leader);
        // Its ModelService has another level by now: what counts is what it was put to sleep with.
        sleeper.follow(awake(&engine, Some(level)));
        until("a label", || !set.lock().unwrap().is_empty()).await;
        assert_eq!(set.lock().unwrap()[0], "true");
        let state = engine.state();
        assert_eq!((state.slept.wakes, state.requests.contains_key("/collective_rpc")), (1, level == 2));
        assert!(sleeper.diagnoses()[0].1.is_fine);
    }
}

#[tokio::test]
async fn an_engine_that_somebody_put_to_sleep_takes_no_requests_until_it_is_awake() {
    let (engine, (set, client)) = (engine(Some(Duration::ZERO)).await, labels());
    post(&engine, "/sleep").await;
    let (_leads, is_leader) = watch::channel(true);
    let sleeper = Sleeper::start(client, is_leader);
    sleeper.follow(awake(&engine, None));
    until("two labels", || set.lock().unwrap().len() >= 2).await;
    assert_eq!(set.lock().unwrap()[..2], ["asleep-1".to_owned(), "true".to_owned()]);
    assert_eq!(engine.state().slept.wakes, 1);
}

#[tokio::test]
async fn a_leader_that_takes_over_does_not_trust_that_an_engine_is_awake() {
    let (engine, (set, client)) = (engine(Some(Duration::ZERO)).await, labels());
    let (_leads, is_leader) = watch::channel(true);
    let sleeper = Sleeper::start(client, is_leader);
    sleeper.follow(awake(&engine, Some(1)));
    until("a label", || !set.lock().unwrap().is_empty()).await;
    assert_eq!(
        engine.state().requests.get("/wake_up"),
        Some(&1),
        "the leader before may have sent it to sleep"
    );
}

#[tokio::test]
async fn an_engine_without_the_endpoints_is_said() {
    let (engine, (set, client)) = (engine(None).await, labels());
    let (_leads, is_leader) = watch::channel(true);
    let sleeper = Sleeper::start(client, is_leader);
    sleeper.follow(awake(&engine, Some(1)));
    until("a failure", || sleeper.diagnoses().first().is_some_and(|(_, said)| !said.is_fine)).await;
    let (of, said) = sleeper.diagnoses().remove(0);
    assert_eq!((of, said.kind.as_str(), said.reason.as_str()), (name("llama"), "SleepMode", "Fails"));
    assert!(said.message.contains("pod decode-0: it does not say whether it sleeps"), "{}", said.message);
    assert!(set.lock().unwrap().is_empty());
}
