//! `demo scale`: a day of demand within minutes, on a model that sleeps at night, with three ways to choose the number of engines.
//!
//! ```text
//!  demand (load) ─► the chart's Envoy: holds requests while there is no engine ─► prefill and decode engines that take 20 s to start
//!                                                                                  ▲
//!            policy: Warmpath's controller | KEDA on requests | what the peak needs ┘        gauge: pods, held requests ─► page
//! ```
//!
//! Control plane, controller and Envoy are real, the engines simulated, at real speed. Only the day is compressed: demand changes more than
//! a hundred times as fast as on a real one, and engines start five times as fast, so every policy has less time to follow.

mod gauge;
mod load;
mod page;
mod policy;

use self::gauge::{Gauge, Sample};
use self::load::Called;
use self::policy::{Keda, Policy};
use crate::args::DemoArgs;
use crate::paths;
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use warmpath_cluster::{Cluster, Namespace, enter_isolation, harness, until};

/// The model, and the ModelService that the chart makes of it.
const MODEL: &str = "Qwen/Qwen3-32B";
const SERVICE: &str = "qwen3-32b";
/// The service's roles.
const ROLES: [&str; 2] = ["prefill", "decode"];
/// How long an engine takes to start, in seconds.
const START_S: u32 = 20;
/// How many times as fast that is as the 100 s that vLLM takes at least: KEDA's own times are divided by it.
const FASTER: f64 = 5.0;
/// What nine of ten requests should have.
const TTFT_MS: u32 = 2_000;
const INTER_TOKEN_MS: u32 = 50;
/// Engines of a role at most.
const ENGINES_MAX: u32 = 6;
/// How long nothing must be requested until the model sleeps, in seconds.
const IDLE_S: u32 = 30;
/// How long a request may wait for an engine, in seconds.
const HOLD_S: u32 = 120;

/// What a policy made of the day.
struct Day {
    policy: Policy,
    samples: Vec<Sample>,
    calls: Vec<Called>,
}

/// Plays the day with each policy, and writes the page.
pub(crate) async fn play(args: &DemoArgs) -> anyhow::Result<()> {
    ensure!(!args.images && args.failing.is_none(), "--images and --failing are not for scale");
    enter_isolation()?;
    tokio::spawn(harness::end_on_signals());
    let cluster = Arc::new(Cluster::start().await?);
    let played = days(args, &cluster).await;
    cluster.stop().await;
    let (document, json) = page::page(args, &played?);
    println!("{}", document.to_text());
    let folder = args.out.clone().unwrap_or_else(|| paths::report_folder("demo-scale"));
    for path in document.write(&folder, &json.to_string())? {
        println!("{}", path.display());
    }
    Ok(())
}

async fn days(args: &DemoArgs, cluster: &Arc<Cluster>) -> anyhow::Result<Vec<Day>> {
    cluster.add_own_images()?;
    let engine = format!("--preset {} --tokens-per-chunk 16", args.preset);
    cluster.add_vllm_images(&engine)?;
    cluster.install_inference_extension().await?;
    let mut days = vec![day(args, cluster, Policy::Warmpath).await?];
    days.push(day(args, cluster, Policy::Keda).await?);
    // Whoever sizes for the peak needs as many as ours had then.
    let most = |role: usize| days.first().map_or(1, |ours| gauge::most(&ours.samples, role));
    let fixed = Policy::Fixed([most(0), most(1)]);
    days.push(day(args, cluster, fixed).await?);
    Ok(days)
}

async fn day(args: &DemoArgs, cluster: &Arc<Cluster>, policy: Policy) -> anyhow::Result<Day> {
    println!("{}: {} s", policy.words(), args.seconds);
    let namespace = cluster.namespace(&format!("day-{}", policy.name())).await?;
    let played = played(args, &namespace, policy).await;
    if played.is_err() {
        namespace.explain().await;
    }
    let day = played?;
    namespace.delete().await?;
    println!("   {}", page::line(&day));
    Ok(day)
}

async fn played(args: &DemoArgs, namespace: &Namespace, policy: Policy) -> anyhow::Result<Day> {
    let release = namespace.install(&values(policy)).await?;
    let controllers = release.ready("controller", 1).await?;
    let controller = controllers.into_iter().next().context("no controller")?;
    release.ready("gateway", 1).await?;
    begin(namespace, policy).await?;
    until("the proxy at the controller", async || {
        let state = release.state(&controller).await.ok()?;
        (!state.proxies.is_empty() && !state.pools.is_empty()).then_some(())
    })
    .await?;
    let gateway = namespace.service("warmpath-gateway").await?;
    let begun = Instant::now();
    let gauge = Gauge::start(release.clone(), controller, begun);
    let mut scaler = JoinSet::new();
    if policy == Policy::Keda {
        scaler.spawn(keda(namespace.clone(), gauge.clone(), begun));
    }
    let calls = load::play(gateway, args, begun).await;
    let samples = gauge.stop();
    scaler.shutdown().await;
    release.uninstall().await?;
    Ok(Day { policy, samples, calls })
}

/// The chart's values.
fn values(policy: Policy) -> Value {
    let replicas = |role: usize| match policy {
        Policy::Fixed(replicas) => json!({"min": replicas.get(role)}),
        Policy::Warmpath | Policy::Keda => json!({"min": 0, "max": ENGINES_MAX}),
    };
    // The simulated engines are as fast as two H100.
    let role = |role: usize| json!({"replicas": replicas(role), "parallelism": {"tensor": 2}});
    let is_ours = policy == Policy::Warmpath;
    let scales = !matches!(policy, Policy::Fixed(_));
    let mut autoscaling =
        json!({"enabled": is_ours, "external": policy == Policy::Keda, "scaleToZero": scales});
    if let (true, Some(fields)) = (is_ours, autoscaling.as_object_mut()) {
        fields.insert("idleSeconds".to_owned(), json!(IDLE_S));
    }
    json!({
        "gpu": {"type": "nvidia-h100"},
        "prefill": {"replicas": 1},
        "decode": {"replicas": 1},
        "gateway": {
            "kind": "envoy", "replicas": 1, "workers": 1, "drainSeconds": 5, "resources": {"requests": {"cpu": "100m"}},
        },
        "autoscaling": {"enabled": is_ours, "scaleToZero": is_ours},
        "model": {"name": MODEL, "spec": {
            "roles": {"prefill": role(0), "decode": role(1)},
            "autoscaling": autoscaling,
            "objectives": {"ttftMilliseconds": TTFT_MS, "interTokenMilliseconds": INTER_TOKEN_MS},
            "engine": {"env": [{"name": "SIMULATED_START_SECONDS", "value": START_S.to_string()}]},
            "router": {"hold": {"endpointSeconds": HOLD_S}},
        }},
    })
}

/// Waits for what is there when the day begins: nothing, or all that ever is.
async fn begin(namespace: &Namespace, policy: Policy) -> anyhow::Result<()> {
    if let Policy::Fixed(replicas) = policy {
        for (role, count) in ROLES.iter().zip(replicas) {
            namespace.ready(&labels(role), count.try_into()?).await?;
        }
        return Ok(());
    }
    for role in ROLES {
        let name = format!("{SERVICE}-{role}");
        until(&format!("the Deployment {name}"), async || {
            let found = namespace.kubectl(&["get", "deployment", &name, "-o", "name"]).await.ok()?;
            found.is_success.then_some(())
        })
        .await?;
        if policy == Policy::Keda {
            scale(namespace, role, 0).await?;
        }
        until(&format!("no {role} engine"), async || {
            namespace.pods(&labels(role)).await.ok()?.is_empty().then_some(())
        })
        .await?;
    }
    Ok(())
}

/// Scales as KEDA does, by what the controller shows.
async fn keda(namespace: Namespace, gauge: Gauge, begun: Instant) {
    let mut scalers = ROLES.map(|_| Keda::new(ENGINES_MAX));
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(policy::SYNC_S / FASTER));
    loop {
        ticks.tick().await;
        let Some(sample) = gauge.last() else { continue };
        for ((number, role), scaler) in ROLES.iter().enumerate().zip(&mut scalers) {
            let at_role = sample.requests.get(number).copied().unwrap_or_default();
            let now_s = begun.elapsed().as_secs_f64() * FASTER;
            if let Some(replicas) = scaler.look(at_role + sample.held, sample.active(), now_s) {
                // The next look repeats what was refused.
                let _ = scale(&namespace, role, replicas).await;
            }
        }
    }
}

async fn scale(namespace: &Namespace, role: &str, replicas: u32) -> anyhow::Result<()> {
    let (name, count) = (format!("{SERVICE}-{role}"), format!("--replicas={replicas}"));
    let done = namespace.kubectl(&["scale", "deployment", &name, &count]).await?;
    ensure!(done.is_success, "kubectl scale: {}", done.stderr);
    Ok(())
}

fn labels(role: &str) -> String {
    format!("warmpath.dev/model-service={SERVICE},warmpath.dev/role={role}")
}
