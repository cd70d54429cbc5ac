//! `bench-cluster --model-services 50 --proxies 10`: what scaling adds to the controllers and to their streams, while requests come.
//!
//! The same requests come three times: without scaling, with it, and without it again, because the machine is not the same at all times.
//! One replica is enough for each role, so nothing is scaled: the planning alone is measured.

use super::{Cost, over};
use crate::args::BenchClusterArgs;
use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use warmpath_cluster::{Namespace, Release, pod_address, until};
use warmpath_http::Client;

/// The port of the chart's Envoys.
const PORT: u16 = 8080;

/// A prompt of a few cells, with a part that is the request's own.
const PROMPT: &str = "what does it cost to know how many engines are needed? ";
const PROMPT_REPEATS: usize = 20;

/// The metric of what was sent to proxies and other controllers.
const EVENTS_OUT: &str = "warmpath_controller_events_out_total";
/// The metric that each planned role has.
const WANTED: &str = "warmpath_controller_scale_replicas_wanted";

/// What was measured.
pub(super) struct Found {
    /// Without scaling, with it, and without it again.
    pub(super) parts: [Part; 3],
}

/// Some time with requests.
pub(super) struct Part {
    /// Each controller.
    pub(super) costs: Vec<Cost>,
    /// Requests that were served, and that were not.
    pub(super) served: usize,
    pub(super) failed: usize,
    /// Events that the controllers sent.
    pub(super) events: f64,
}

/// Measures with the ModelServices that there are.
pub(super) async fn measure(
    args: &BenchClusterArgs,
    namespace: &Namespace,
    release: &Release,
    controllers: &[Pod],
) -> anyhow::Result<Found> {
    let proxies = release.ready("gateway", args.proxies.into()).await?;
    for controller in controllers {
        until("all proxies at each controller", async || {
            (release.state(controller).await.ok()?.proxies.len() >= proxies.len()).then_some(())
        })
        .await?;
    }
    println!("{} proxies, {} requests a second: without scaling", args.proxies, args.requests_per_s);
    let before = part(args, namespace, release, (controllers, &proxies)).await?;
    set_scaling(args, namespace, release, controllers, true).await?;
    println!("with scaling");
    let scaled = part(args, namespace, release, (controllers, &proxies)).await?;
    set_scaling(args, namespace, release, controllers, false).await?;
    println!("without scaling");
    let after = part(args, namespace, release, (controllers, &proxies)).await?;
    Ok(Found { parts: [before, scaled, after] })
}

async fn part(
    args: &BenchClusterArgs,
    namespace: &Namespace,
    release: &Release,
    (controllers, proxies): (&[Pod], &[Pod]),
) -> anyhow::Result<Part> {
    let [served, failed] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    let pause = Duration::from_secs_f64(proxies.len() as f64 / f64::from(args.requests_per_s));
    for (at, proxy) in proxies.iter().enumerate() {
        let client = Client::http1(pod_address(proxy, PORT)?);
        let (served, failed) = (Arc::clone(&served), Arc::clone(&failed));
        let models = usize::from(args.model_services);
        clients.spawn(async move {
            let mut ticks = interval(pause);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for number in 0_usize.. {
                ticks.tick().await;
                let body = body(&super::models::name((at + 7 * number) % models), at, number);
                let is_served = client
                    .post_json("/v1/chat/completions", &body)
                    .await
                    .is_ok_and(|response| response.status.is_success());
                if is_served { &served } else { &failed }.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let events = sent(release, controllers).await?;
    let time = Duration::from_secs(args.seconds);
    let (costs, _) = over(namespace, controllers, sleep(time)).await?;
    let events = sent(release, controllers).await? - events;
    clients.shutdown().await;
    let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
    ensure!(count(&served) > 0, "no request was served, and {} were not", count(&failed));
    Ok(Part { costs, served: count(&served), failed: count(&failed), events })
}

fn body(model: &str, proxy: usize, number: usize) -> Value {
    let content = format!("{}{proxy}-{number}", PROMPT.repeat(PROMPT_REPEATS));
    json!({"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": content}]})
}

/// Lets Warmpath scale all ModelServices, or none, and waits until each controller does so.
async fn set_scaling(
    args: &BenchClusterArgs,
    namespace: &Namespace,
    release: &Release,
    controllers: &[Pod],
    is_on: bool,
) -> anyhow::Result<()> {
    let replicas = json!({"replicas": {"min": 1, "max": if is_on { json!(2) } else { Value::Null }}});
    let spec = json!({"roles": {"prefill": replicas, "decode": replicas}, "autoscaling": {"enabled": is_on}});
    let patch = Patch::Merge(json!({"spec": spec}));
    let api = namespace.model_services();
    for service in api.list(&ListParams::default()).await? {
        let name = service.metadata.name.context("a ModelService without a name")?;
        api.patch(&name, &PatchParams::default(), &patch).await?;
    }
    let roles = if is_on { 2 * usize::from(args.model_services) } else { 0 };
    for controller in controllers {
        until("the plans of each controller", async || {
            let page = release.metrics(controller).await.ok()?;
            (page.lines().filter(|line| line.starts_with(WANTED)).count() == roles).then_some(())
        })
        .await?;
    }
    super::models::settled(namespace).await;
    Ok(())
}

/// Events that the controllers have sent so far.
async fn sent(release: &Release, controllers: &[Pod]) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for controller in controllers {
        let page = release.metrics(controller).await?;
        let values = page
            .lines()
            .filter(|line| line.starts_with(EVENTS_OUT))
            .filter_map(|line| line.split(' ').next_back());
        sum += values.filter_map(|value| value.parse::<f64>().ok()).sum::<f64>();
    }
    Ok(sum)
}
