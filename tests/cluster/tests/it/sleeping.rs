//! A model whose engines sleep at zero and do not leave: they wake for its requests, and none comes to an engine that sleeps.

use crate::models::{MODEL, SERVICE, condition, role, seed};
use anyhow::{Context, ensure};
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use warmpath_cluster::{Namespace, Release, engine_address, until};
use warmpath_http::Client;

/// Requests that come at once.
const REQUESTS: usize = 50;
/// How long an engine takes to wake, in seconds.
const WAKE_S: u32 = 3;
/// How long a client waits.
const PATIENCE: Duration = Duration::from_mins(2);
const ENGINES: usize = 2;

fn sleeping(level: u8) -> Value {
    let mut values = seed(0, 0);
    values["serve"] = json!({"replicas": ENGINES});
    values["autoscaling"] = json!({"enabled": true, "scaleToZero": true});
    values["model"]["spec"] = json!({
        "roles": {"serve": {"replicas": {"min": ENGINES, "max": ENGINES}}},
        "autoscaling": {"idleSeconds": 20, "sleepLevel": level},
        "engine": {"env": [{"name": "SIMULATED_WAKE_SECONDS", "value": WAKE_S.to_string()}]},
        "router": {"hold": {"endpointSeconds": 100}},
    });
    values
}

/// The names of the engines' pods once all of them sleep at this level.
async fn asleep(namespace: &Namespace, level: u8) -> anyhow::Result<BTreeSet<String>> {
    let labels = format!("{},warmpath.dev/endpoint=asleep-{level}", role("serve"));
    let pods = until("engines that sleep", async || {
        let pods = namespace.pods(&labels).await.ok()?;
        for pod in &pods {
            let said = Client::http1(engine_address(pod).ok()?).get("/is_sleeping").await.ok()?;
            if said.json().get("is_sleeping") != Some(&json!(true)) {
                return None;
            }
        }
        (pods.len() == ENGINES).then_some(pods)
    });
    let names = pods.await?.into_iter().filter_map(|pod| pod.metadata.name).collect();
    condition(namespace, "Ready", "False", "Idle").await?;
    Ok(names)
}

/// Sends requests at once; returns how many had which status, and the longest wait. Without a response, the status is 0.
async fn ask(gateway: SocketAddr) -> (BTreeMap<u16, usize>, Duration) {
    let one = |at: usize| async move {
        let begun = Instant::now();
        let text = format!("request {at}: {}", "what is it that wakes? ".repeat(40));
        let body = json!({"model": MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": text}]});
        let client = Client::http1(gateway).with_time_max(PATIENCE);
        let response = client.post_json("/v1/chat/completions", &body).await;
        (response.map_or(0, |response| response.status.as_u16()), begun.elapsed())
    };
    let (mut by_status, mut longest) = (BTreeMap::new(), Duration::ZERO);
    for (status, waited) in join_all((0..REQUESTS).map(one)).await {
        *by_status.entry(status).or_default() += 1;
        longest = longest.max(waited);
    }
    (by_status, longest)
}

/// Asserts that no request came to an engine that slept, or had lost its weights; returns how often engines have woken.
async fn wakes(namespace: &Namespace) -> anyhow::Result<u64> {
    let pods: Vec<Pod> = namespace.pods(&format!("warmpath.dev/model-service={SERVICE}")).await?;
    let mut wakes = 0;
    for pod in &pods {
        let state = Client::http1(engine_address(pod)?).get("/sim/state").await?.json();
        let slept = state.get("slept").context("an engine without sleep mode")?;
        for of in ["disturbed", "interrupted", "without_weights"] {
            ensure!(slept[of] == 0, "{}: {slept}", pod.metadata.name.as_deref().unwrap_or_default());
        }
        wakes += slept["wakes"].as_u64().unwrap_or_default();
    }
    Ok(wakes)
}

async fn installed(namespace: &Namespace, values: &Value) -> anyhow::Result<(Release, SocketAddr)> {
    let release = namespace.install(values).await?;
    release.ready("controller", 2).await?;
    release.ready("gateway", 2).await?;
    Ok((release, namespace.service("warmpath-gateway").await?))
}

pub(crate) async fn engines_that_sleep_wake_for_their_requests_and_sleep_again(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let (_, gateway) = installed(&namespace, &sleeping(1)).await?;
    let before = asleep(&namespace, 1).await?;
    let (by_status, longest) = ask(gateway).await;
    println!(
        "{REQUESTS} requests to engines that sleep and wake in {WAKE_S} s: {by_status:?}, the longest {} ms",
        longest.as_millis()
    );
    ensure!(by_status == BTreeMap::from([(200, REQUESTS)]), "lost: {by_status:?}");
    // They go back to sleep by themselves, and are the same pods.
    let after = asleep(&namespace, 1).await?;
    ensure!(before == after, "pods were replaced: {before:?} {after:?}");
    let wakes = wakes(&namespace).await?;
    ensure!(wakes == 2, "each engine has woken once: {wakes}");
    condition(&namespace, "SleepMode", "True", "").await?;
    Ok(())
}

pub(crate) async fn no_request_is_lost_when_the_leader_dies_while_engines_wake(
    namespace: Namespace,
) -> anyhow::Result<()> {
    // Without their weights, which a new leader must load as well.
    let (_, gateway) = installed(&namespace, &sleeping(2)).await?;
    asleep(&namespace, 2).await?;
    let leader = crate::churn::leader(&namespace).await?;
    let asking = tokio::spawn(ask(gateway));
    until("an engine that is being woken", async || {
        let pods = namespace.pods(&role("serve")).await.ok()?;
        let state = Client::http1(engine_address(pods.first()?).ok()?).get("/sim/state").await.ok()?.json();
        state["requests"].get("/wake_up").map(drop)
    })
    .await?;
    namespace.kill(&leader).await?;
    let (by_status, longest) = asking.await?;
    println!("the leader killed while engines wake: {by_status:?}, the longest {} ms", longest.as_millis());
    ensure!(by_status == BTreeMap::from([(200, REQUESTS)]), "lost: {by_status:?}");
    wakes(&namespace).await?;
    Ok(())
}

/// As vLLM says that it is awake after a sleep that failed, whatever it has lost, it is not asked.
pub(crate) async fn engines_whose_sleep_failed_are_replaced_before_a_request_comes_to_them(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let mut values = sleeping(1);
    let fails = json!({"name": "SIMULATED_SLEEP_FAILS", "value": "1"});
    values["model"]["spec"]["engine"]["env"].as_array_mut().context("no env")?.push(fails);
    let (_, gateway) = installed(&namespace, &values).await?;
    let labels = format!("{},warmpath.dev/endpoint=asleep-1-sent-0", role("serve"));
    let failed = until("engines whose sleep failed", async || {
        let pods = namespace.pods(&labels).await.ok()?;
        (pods.len() == ENGINES)
            .then(|| pods.into_iter().filter_map(|pod| pod.metadata.name).collect::<BTreeSet<_>>())
    });
    let failed = failed.await?;
    let said = condition(&namespace, "SleepMode", "False", "").await?;
    let (by_status, longest) = ask(gateway).await;
    println!("engines whose sleep failed ({said}): {by_status:?}, the longest {} ms", longest.as_millis());
    ensure!(by_status == BTreeMap::from([(200, REQUESTS)]), "lost: {by_status:?}");
    until("other engines", async || {
        let pods = namespace.pods(&role("serve")).await.ok()?;
        pods.iter()
            .filter_map(|pod| pod.metadata.name.as_ref())
            .all(|name| !failed.contains(name))
            .then_some(())
    })
    .await
}
