//! A model that follows its demand: at zero until requests come, woken by them, and back at zero when they end.
//!
//! Prefill and decode engines take some seconds to start. Requests come through the chart's Envoys, which hold them.

use crate::models::{MODEL, SERVICE, condition, deployment, edit, nothing_left, ready, role, says, seed};
use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use warmpath_cluster::{Namespace, Release, Traffic, is_ready, until};
use warmpath_http::Client;

/// Requests that come at about the same time.
const REQUESTS: u32 = 200;
/// The time in which they come.
const ARRIVE_MS: u32 = 5_000;
/// How long an engine takes to start, in seconds: 20 s, four times as fast.
const START_S: u32 = 5;
/// How long requests may wait in a proxy, in seconds.
const HOLD_S: u32 = 100;
/// How long a client waits.
const PATIENCE: Duration = Duration::from_mins(2);

/// Both roles at zero, until somebody asks.
fn sleeping(start_s: u32, hold_s: u32) -> Value {
    let role = json!({"replicas": {"min": 0, "max": 3}});
    let mut values = sleeping_as(&json!({"prefill": role, "decode": role}), start_s, hold_s);
    values["prefill"] = json!({"replicas": 1});
    values["decode"] = json!({"replicas": 1});
    values
}

/// The same with these roles.
fn sleeping_as(roles: &Value, start_s: u32, hold_s: u32) -> Value {
    let mut values = seed(0, 0);
    values["autoscaling"] = json!({"enabled": true, "scaleToZero": true});
    values["model"]["spec"] = json!({
        "roles": roles,
        "autoscaling": {"idleSeconds": 20},
        "engine": {"env": [{"name": "SIMULATED_START_SECONDS", "value": start_s.to_string()}]},
        "router": {"hold": {"endpointSeconds": hold_s}},
    });
    values
}

/// Installs a model that sleeps, and waits until that is so.
async fn asleep(namespace: &Namespace, values: &Value) -> anyhow::Result<(Release, SocketAddr)> {
    let release = namespace.install(values).await?;
    release.ready("controller", 2).await?;
    let gateways = release.ready("gateway", 2).await?;
    condition(namespace, "Scaling", "True", "").await?;
    condition(namespace, "Ready", "False", "Idle").await?;
    let roles = values.pointer("/model/spec/roles").and_then(Value::as_object).context("no roles")?;
    for name in roles.keys() {
        let replicas = deployment(namespace, name).await?.spec.and_then(|spec| spec.replicas);
        ensure!(replicas == Some(0), "{name} has {replicas:?} replicas before anybody asked");
    }
    for controller in release.ready("controller", 2).await? {
        until("both proxies at each controller", async || {
            let state = release.state(&controller).await.ok()?;
            (state.proxies.len() == gateways.len() && !state.pools.is_empty()).then_some(())
        })
        .await?;
    }
    Ok((release, namespace.service("warmpath-gateway").await?))
}

/// A request that is under way.
type Sent = JoinHandle<anyhow::Result<Response>>;

/// What became of a request.
#[derive(Default)]
struct Response {
    /// Its status; 0 without a response.
    status: u16,
    /// How long that took.
    waited: Duration,
    /// After how many seconds to try again, if it says so.
    retry_after_s: Option<u64>,
    /// The engine that it is from, if it says so.
    engine: Option<String>,
}

/// Sends requests within the time in which they come.
fn send(gateway: SocketAddr, count: u32) -> Vec<Sent> {
    send_prompts(gateway, count, 40)
}

/// The same, each with a prompt of so many sentences.
fn send_prompts(gateway: SocketAddr, count: u32, sentences: usize) -> Vec<Sent> {
    let pause = Duration::from_millis((ARRIVE_MS / count).into());
    let one = |at: u32| {
        let client = Client::http1(gateway).with_time_max(PATIENCE);
        let text = format!("request {at}: {}", "what is it that sleeps? ".repeat(sentences));
        let body = json!({"model": MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": text}]});
        tokio::spawn(async move {
            tokio::time::sleep(pause * at).await;
            let begun = Instant::now();
            let response = client.post_json("/v1/chat/completions", &body).await?;
            let retry_after = response.headers.get("retry-after").and_then(|value| value.to_str().ok());
            let retry_after_s = retry_after.and_then(|seconds| seconds.parse().ok());
            let engine = response.headers.get("x-engine").and_then(|name| name.to_str().ok());
            let (status, waited) = (response.status.as_u16(), begun.elapsed());
            Ok(Response { status, waited, retry_after_s, engine: engine.map(str::to_owned) })
        })
    };
    (0..count).map(one).collect()
}

/// Waits for all responses.
async fn all(sent: Vec<Sent>) -> anyhow::Result<Vec<Response>> {
    let mut found = Vec::new();
    for request in sent {
        found.push(request.await?.unwrap_or_default());
    }
    Ok(found)
}

/// How many had which status, and the longest wait.
fn count(responses: &[Response]) -> (BTreeMap<u16, usize>, Duration) {
    let mut by_status = BTreeMap::new();
    for response in responses {
        *by_status.entry(response.status).or_default() += 1;
    }
    (by_status, responses.iter().map(|response| response.waited).max().unwrap_or_default())
}

/// Waits for all responses; returns how many had which status, and the longest wait. A request without a response has the status 0.
async fn responses(sent: Vec<Sent>) -> anyhow::Result<(BTreeMap<u16, usize>, Duration)> {
    Ok(count(&all(sent).await?))
}

/// Waits until each controller knows of this many held requests, at least.
async fn held(release: &Release, least: usize) -> anyhow::Result<()> {
    for controller in release.ready("controller", 2).await? {
        until(&format!("{least} held requests at each controller"), async || {
            let state = release.state(&controller).await.ok()?;
            (state.pools.first()?.held_for_endpoint.requests >= least).then_some(())
        })
        .await?;
    }
    Ok(())
}

pub(crate) async fn a_model_at_zero_wakes_for_its_requests_and_goes_back(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let (release, gateway) = asleep(&namespace, &sleeping(START_S, HOLD_S)).await?;
    let begun = Instant::now();
    let sent = send(gateway, REQUESTS);
    namespace.ready(&role("decode"), 1).await?;
    let ready_after = begun.elapsed();
    let (by_status, longest) = responses(sent).await?;
    println!(
        "{REQUESTS} requests within {ARRIVE_MS} ms at zero, engines start in {START_S} s: first engine ready after {} ms, {by_status:?}, the longest {} ms",
        ready_after.as_millis(),
        longest.as_millis()
    );
    ensure!(by_status == BTreeMap::from([(200, 200)]), "lost: {by_status:?}");
    namespace.ready(&role("prefill"), 1).await?;
    // It goes back by itself, both roles together.
    for name in ["prefill", "decode"] {
        until(&format!("{name} at zero"), async || {
            let replicas = deployment(&namespace, name).await.ok()?.spec?.replicas;
            (replicas == Some(0)).then_some(())
        })
        .await?;
    }
    condition(&namespace, "Scaling", "True", "Idle").await?;
    // And wakes again.
    let (by_status, longest) = responses(send(gateway, 10)).await?;
    println!("woken again: {by_status:?}, the longest {} ms", longest.as_millis());
    ensure!(by_status == BTreeMap::from([(200, 10)]), "lost: {by_status:?}");
    release.uninstall().await?;
    nothing_left(&namespace, "app.kubernetes.io/managed-by=warmpath").await
}

pub(crate) async fn requests_that_waited_are_spread_over_the_engines_that_wake(
    namespace: Namespace,
) -> anyhow::Result<()> {
    // Of prompts that take an engine a fourth of a second, two engines have half a minute's work.
    const PROMPTS: u32 = 100;
    let roles = json!({"serve": {"replicas": {"min": 2, "max": 2}}});
    let mut values = sleeping_as(&roles, START_S, HOLD_S);
    let speed = json!({"name": "SIMULATED_AS", "value": "--preset qwen3-32b-tp2"});
    values["model"]["spec"]["engine"]["env"].as_array_mut().context("no env")?.push(speed);
    let (_release, gateway) = asleep(&namespace, &values).await?;
    let found = all(send_prompts(gateway, PROMPTS, 700)).await?;
    let mut by_engine: BTreeMap<String, usize> = BTreeMap::new();
    for response in &found {
        *by_engine.entry(response.engine.clone().unwrap_or_default()).or_default() += 1;
    }
    let (by_status, longest) = count(&found);
    println!("{by_status:?} by {by_engine:?}, the longest {} ms", longest.as_millis());
    ensure!(by_status == BTreeMap::from([(200, 100)]), "lost: {by_status:?}");
    ensure!(by_engine.len() == 2 && by_engine.values().all(|count| *count >= 30), "{by_engine:?}");
    Ok(())
}

pub(crate) async fn no_request_is_lost_while_the_leader_dies_and_clients_leave(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let (release, gateway) = asleep(&namespace, &sleeping(START_S, HOLD_S)).await?;
    let leader = crate::churn::leader(&namespace).await?;
    let mut sent = send(gateway, REQUESTS);
    held(&release, 20).await?;
    // Those who asked first leave, while they wait.
    let left: Vec<Sent> = sent.drain(..10).collect();
    left.iter().for_each(JoinHandle::abort);
    namespace.kill(&leader).await?;
    let (by_status, longest) = responses(sent).await?;
    println!("the leader killed while they waited: {by_status:?}, the longest {} ms", longest.as_millis());
    ensure!(by_status == BTreeMap::from([(200, 190)]), "lost: {by_status:?}");
    // Nothing that clients have left keeps anything under way.
    for controller in release.ready("controller", 2).await? {
        until("no request held or under way", async || {
            let state = release.state(&controller).await.ok()?;
            let pool = state.pools.first()?;
            let under_way: u32 = pool.endpoints.iter().map(|endpoint| endpoint.requests).sum();
            (pool.held_for_endpoint.requests == 0 && under_way == 0).then_some(())
        })
        .await?;
    }
    Ok(())
}

/// Requests that a proxy holds by its name, as a controller shows it.
async fn held_by(release: &Release, proxy: &str) -> anyhow::Result<usize> {
    let controllers = release.ready("controller", 2).await?;
    let state = release.state(controllers.first().context("no controller")?).await?;
    let of_proxy = state.proxies.iter().filter(|one| one.node.starts_with(proxy));
    Ok(usize::try_from(of_proxy.map(|one| one.held).sum::<u32>())?)
}

pub(crate) async fn an_envoy_that_drains_loses_no_held_request_and_one_that_is_killed_only_its_own(
    namespace: Namespace,
) -> anyhow::Result<()> {
    const HELD: u32 = 100;
    let mut values = sleeping(20, HOLD_S);
    values["gateway"]["drainSeconds"] = json!(HOLD_S);
    let (release, gateway) = asleep(&namespace, &values).await?;
    let envoys = release.ready("gateway", 2).await?;
    let names: Vec<&str> = envoys.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
    let [drained, killed] = names[..] else { anyhow::bail!("other Envoys than two: {names:?}") };
    let sent = send(gateway, HELD);
    held(&release, usize::try_from(HELD)?).await?;
    let (of_drained, of_killed) = (held_by(&release, drained).await?, held_by(&release, killed).await?);
    ensure!(
        of_drained + of_killed == usize::try_from(HELD)? && of_drained > 0,
        "{of_drained} and {of_killed} held"
    );
    // As a rollout, or the drain of a node, does it.
    let deletion = namespace.kubectl(&["delete", "pod", drained, "--wait=false"]).await?;
    ensure!(deletion.is_success, "{}", deletion.stderr);
    ensure!(held_by(&release, drained).await? == of_drained, "what an Envoy holds that drains is counted");
    namespace.kill(envoys.last().context("no Envoy")?).await?;
    let (by_status, longest) = responses(sent).await?;
    println!(
        "{HELD} held; the Envoy with {of_drained} of them drained, the one with {of_killed} killed: {by_status:?}, the longest {} ms",
        longest.as_millis()
    );
    let served = by_status.get(&200).copied().unwrap_or_default();
    let cut = by_status.get(&0).copied().unwrap_or_default();
    ensure!((served, cut) == (of_drained, of_killed), "{by_status:?}");
    // Nobody counts them any more.
    for controller in release.ready("controller", 2).await? {
        until("no held request", async || {
            let state = release.state(&controller).await.ok()?;
            (state.pools.first()?.held_for_endpoint.requests == 0).then_some(())
        })
        .await?;
    }
    Ok(())
}

pub(crate) async fn requests_beyond_the_bound_of_held_ones_are_refused_at_once(
    namespace: Namespace,
) -> anyhow::Result<()> {
    /// Requests that each of the two Envoys may hold.
    const BOUND: usize = 20;
    let mut values = sleeping(20, HOLD_S);
    values["gateway"]["filter"] = json!({"hold": {"requests_max": BOUND}});
    let (release, gateway) = asleep(&namespace, &values).await?;
    let sent = send(gateway, 120);
    held(&release, 2 * BOUND).await?;
    let responses = all(sent).await?;
    let (by_status, longest) = count(&responses);
    println!(
        "120 requests, of which two Envoys may hold {BOUND} each: {by_status:?}, the longest {} ms",
        longest.as_millis()
    );
    ensure!(by_status == BTreeMap::from([(200, 2 * BOUND), (503, 120 - 2 * BOUND)]), "{by_status:?}");
    let served = responses.iter().filter(|response| response.status == 200);
    let first_served = served.map(|response| response.waited).min().unwrap_or_default();
    for refused in responses.iter().filter(|response| response.status == 503) {
        ensure!(refused.retry_after_s.is_some_and(|seconds| seconds > 0), "no retry-after");
        ensure!(refused.waited < first_served, "refused after {:?}, which is not at once", refused.waited);
    }
    Ok(())
}

pub(crate) async fn a_model_that_does_not_wake_says_so_and_no_request_hangs(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let mut values = sleeping(START_S, 20);
    namespace.cluster.add_vllm_that_exits("vllm-that-does-not-wake", 3)?;
    values["model"]["spec"]["engine"]["image"] = json!("vllm-that-does-not-wake");
    let (_, gateway) = asleep(&namespace, &values).await?;
    let sent = send(gateway, 20);
    let message = condition(&namespace, "Scaling", "False", "DoesNotWake").await?;
    ensure!(message.contains("exit code 3"), "{message}");
    let (by_status, longest) = responses(sent).await?;
    println!("a model that does not wake: {by_status:?}, the longest {} ms", longest.as_millis());
    ensure!(by_status == BTreeMap::from([(503, 20)]), "each request gets a response: {by_status:?}");
    let wanted = namespace.pods(&format!("warmpath.dev/model-service={SERVICE}")).await?;
    ensure!(!wanted.is_empty(), "its pods were removed for it");
    Ok(())
}

/// The uids of a role's pods, or of those of them that are ready.
async fn uids(
    namespace: &Namespace,
    labels: &str,
    is_one: fn(&Pod) -> bool,
) -> anyhow::Result<BTreeSet<String>> {
    let pods = namespace.pods(labels).await?;
    Ok(pods.into_iter().filter(is_one).filter_map(|pod| pod.metadata.uid).collect())
}

pub(crate) async fn an_engine_that_never_becomes_ready_is_named_and_left_alone(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let labels = format!("warmpath.dev/model-service={SERVICE}");
    let (_, gateway) = asleep(&namespace, &sleeping(START_S, HOLD_S)).await?;
    // So that the usual start is known.
    let (by_status, _) = responses(send(gateway, 10)).await?;
    ensure!(by_status == BTreeMap::from([(200, 10)]), "{by_status:?}");
    condition(&namespace, "Scaling", "True", "Idle").await?;
    until("no pod", async || namespace.pods(&labels).await.ok()?.is_empty().then_some(())).await?;
    let env = json!([{"name": "SIMULATED_START_SECONDS", "value": "100000"}]);
    edit(&namespace, json!({"engine": {"env": env}})).await?;
    let sent = send(gateway, 20);
    let first = until("pods", async || {
        let found = uids(&namespace, &labels, |_| true).await.ok()?;
        (found.len() >= 2).then_some(found)
    })
    .await?;
    let message = condition(&namespace, "Scaling", "False", "DoesNotWake").await?;
    println!("{message}");
    ensure!(message.contains("no replica is ready after 2 times of the usual start"), "{message}");
    let (by_status, longest) = responses(sent).await?;
    println!("{by_status:?}, the longest {} ms", longest.as_millis());
    ensure!(by_status == BTreeMap::from([(503, 20)]), "each request gets a response: {by_status:?}");
    let last = uids(&namespace, &labels, |_| true).await?;
    ensure!(first.is_subset(&last) && last.len() <= 6, "{first:?} became {last:?}");
    Ok(())
}

/// Three nodes with eight GPUs each, and engines that take eight.
pub(crate) async fn a_pool_of_nodes_that_is_full_is_said_and_costs_no_engine_and_no_request(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let mut values = seed(0, 0);
    values["serve"] = json!({"replicas": 4, "maxReplicas": 6});
    values["autoscaling"] = json!({"enabled": true});
    values["model"]["spec"] = json!({"roles": {"serve": {"parallelism": {"tensor": 8}}}});
    let release = namespace.install(&values).await?;
    release.ready("controller", 2).await?;
    release.ready("gateway", 2).await?;
    until("three engines that are ready", async || {
        (uids(&namespace, &role("serve"), is_ready).await.ok()?.len() == 3).then_some(())
    })
    .await?;
    says(&namespace, "no node has room for it").await?;
    let ready_ones = uids(&namespace, &role("serve"), is_ready).await?;
    let traffic = Traffic::start(namespace.service("warmpath-gateway").await?, MODEL, "full", 8);
    traffic.more(500).await?;
    let tally = traffic.stop().await;
    let engines = uids(&namespace, &role("serve"), |_| true).await?;
    println!("{} requests, {} lost, {} pods", tally.served, tally.lost.len(), engines.len());
    ensure!(tally.lost.is_empty(), "{:?}", tally.lost.first());
    ensure!(engines.len() <= 6 && ready_ones.is_subset(&engines), "{ready_ones:?} became {engines:?}");
    // Whoever asks for less loses the one that waits for a node, and none that serves.
    edit(&namespace, json!({"roles": {"serve": {"replicas": {"min": 3, "max": 3}}}})).await?;
    ready(&namespace, SERVICE).await?;
    let engines = uids(&namespace, &role("serve"), is_ready).await?;
    ensure!(engines == ready_ones, "{ready_ones:?} became {engines:?}");
    Ok(())
}

/// Three engines that do everything, whose number the scaler may change.
async fn three(namespace: &Namespace) -> anyhow::Result<(Release, SocketAddr)> {
    let mut values = seed(0, 0);
    values["serve"] = json!({"replicas": 3, "maxReplicas": 4});
    values["autoscaling"] = json!({"enabled": true});
    let release = namespace.install(&values).await?;
    release.ready("controller", 2).await?;
    release.ready("gateway", 2).await?;
    namespace.ready(&role("serve"), 3).await?;
    ready(namespace, SERVICE).await?;
    condition(namespace, "Scaling", "True", "").await?;
    Ok((release, namespace.service("warmpath-gateway").await?))
}

pub(crate) async fn the_engine_with_the_warmest_cache_stays_when_a_role_shrinks(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let (release, gateway) = three(&namespace).await?;
    let client = Client::http1(gateway);
    let text = "a long text that one engine keeps. ".repeat(400);
    let body = json!({"model": MODEL, "max_tokens": 2, "messages": [{"role": "user", "content": text}]});
    let mut engines = Vec::new();
    for _ in 0..20 {
        let response = client.post_json("/v1/chat/completions", &body).await?;
        ensure!(response.status.is_success(), "{}", response.status);
        let engine = response.headers.get("x-engine").and_then(|name| name.to_str().ok());
        engines.extend(engine.map(str::to_owned));
    }
    let warm = engines.last().cloned().unwrap_or_default();
    // The scaler has counted them when it has planned once more.
    let leader = crate::churn::leader(&namespace).await?;
    until("a metric of a need", async || {
        let page = release.metrics(&leader).await.ok()?;
        let needs =
            |line: &&str| line.contains("scale_replicas_needed") && line.contains("demand=\"prefill\"");
        page.lines().find(needs).is_some_and(|line| line.ends_with(" 1")).then_some(())
    })
    .await?;
    edit(&namespace, json!({"roles": {"serve": {"replicas": {"min": 1, "max": 1}}}})).await?;
    let left = until("one engine", async || {
        let pods = namespace.pods(&role("serve")).await.ok()?;
        (pods.len() == 1).then(|| pods.into_iter().filter_map(|pod| pod.metadata.name).collect::<Vec<_>>())
    })
    .await?;
    println!("20 requests at {warm}; {left:?} is left");
    ensure!(left == [warm.clone()], "{warm} has the prefix, and {left:?} stayed");
    Ok(())
}

pub(crate) async fn a_role_that_somebody_else_scales_is_left_to_them(
    namespace: Namespace,
) -> anyhow::Result<()> {
    three(&namespace).await?;
    let name = deployment(&namespace, "serve").await?.metadata.name.unwrap_or_default();
    let hpa = json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "other"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": 4,
            "maxReplicas": 4,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}],
        },
    });
    namespace.apply(hpa).await?;
    let message = condition(&namespace, "Scaling", "False", "OtherScaler").await?;
    ensure!(message.contains(&format!("Deployment {name} has replicas that")), "{message}");
    println!("{message}");
    namespace.ready(&role("serve"), 4).await?;
    // Its owner has the last word, whatever the demand is.
    edit(&namespace, json!({"objectives": {"ttftMilliseconds": 500}})).await?;
    condition(&namespace, "Scaling", "False", "OtherScaler").await?;
    let replicas = deployment(&namespace, "serve").await?.spec.and_then(|spec| spec.replicas);
    ensure!(replicas == Some(4), "{replicas:?}");
    Ok(())
}
