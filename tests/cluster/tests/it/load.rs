//! Engines, the chart with its Envoys, and clients that talk without a pause: what tests change while requests run.

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::time::Duration;
use warmpath_cluster::manifests::{Engines, pool};
use warmpath_cluster::{Lifetimes, Namespace, Release, Tally, Traffic, until};
use warmpath_http::Client;

/// Requests during each change, at least.
const REQUESTS: usize = 1_000;

/// Clients that talk at the same time.
const CLIENTS: usize = 8;

/// Engines that take some milliseconds for a request, and that finish what they have before they end.
pub(crate) fn engines(replicas: usize) -> Value {
    let engines = Engines::new("llama", &["--preset", "llama-3.1-8b-tp1", "--time-scale", "20"]);
    let mut deployment = engines.deployment("vllm", replicas);
    let container = &mut deployment["spec"]["template"]["spec"]["containers"][0];
    container["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 3}}});
    deployment
}

/// Engines, the chart, and clients that talk.
pub(crate) struct Load {
    pub(crate) release: Release,
    traffic: Traffic,
    lifetimes: Lifetimes,
    /// Requests served when the last part of the test ended.
    served: usize,
}

// === impl Load ===

impl Load {
    /// Installs the chart with these values beside the engines, and begins.
    pub(crate) async fn start(
        namespace: &Namespace,
        engines: Value,
        count: usize,
        values: &Value,
    ) -> anyhow::Result<Self> {
        namespace.apply(pool("llama", "vllm")).await?;
        namespace.apply(engines).await?;
        namespace.ready("app=vllm", count).await?;
        let release = namespace.install(values).await?;
        release.ready("controller", 2).await?;
        Self::through(namespace, release, "llama", "app=vllm").await
    }

    /// Begins with what is installed already: requests for `model`, whose engines have these labels.
    pub(crate) async fn through(
        namespace: &Namespace,
        release: Release,
        model: &str,
        labels: &str,
    ) -> anyhow::Result<Self> {
        release.ready("gateway", 2).await?;
        let gateway = namespace.service("warmpath-gateway").await?;
        // Ready pods are endpoints of their Service a moment later; until then it closes connections.
        let client = Client::http1(gateway);
        let body =
            json!({"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "begin"}]});
        until("a response through the Service", async || {
            let response = client.post_json("/v1/chat/completions", &body).await.ok()?;
            response.status.is_success().then_some(())
        })
        .await?;
        let lifetimes = Lifetimes::watch(namespace, labels);
        let traffic = Traffic::start(gateway, model, "test", CLIENTS);
        traffic.more(REQUESTS / 10).await?;
        Ok(Self { release, traffic, lifetimes, served: 0 })
    }

    /// Waits for more requests; fails when one was lost, with what was done to the cluster.
    pub(crate) async fn goes_on(&mut self, during: &str) -> anyhow::Result<()> {
        self.goes_on_for(Duration::ZERO, during).await
    }

    /// The same, for at least this time.
    pub(crate) async fn goes_on_for(&mut self, time: Duration, during: &str) -> anyhow::Result<()> {
        self.traffic.more_during(REQUESTS, time).await?;
        let Tally { served, warm, slowest, lost, .. } = self.traffic.tally();
        ensure!(
            lost.is_empty(),
            "{} of {} requests lost, {during}: {:?}",
            lost.len(),
            served + lost.len(),
            lost.iter().take(5).collect::<Vec<_>>()
        );
        let more = served - self.served;
        self.served = served;
        println!(
            "{during}: {more} requests of {served}, none lost; {warm} warm, the slowest {} ms",
            slowest.as_millis()
        );
        Ok(())
    }

    /// Waits until an engine has served a request.
    pub(crate) async fn reaches(&self, engine: &str) -> anyhow::Result<()> {
        let has_served = || self.traffic.tally().by_engine.contains_key(engine);
        until(&format!("a request at {engine}"), async || has_served().then_some(())).await
    }

    /// Ends the clients, and says how soon pods were used and left alone.
    pub(crate) async fn finish(self) -> Tally {
        let tally = self.traffic.stop().await;
        println!("{}", self.lifetimes.delays(&tally.by_engine));
        tally
    }
}

/// Changes the replicas of a Deployment.
pub(crate) async fn scale(namespace: &Namespace, name: &str, replicas: u32) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = namespace.api();
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    deployments.patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Waits until a Deployment has only new pods, all of them available.
pub(crate) async fn rolled_out(namespace: &Namespace, name: &str) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = namespace.api();
    until(&format!("the rollout of {name}"), async || {
        let deployment = deployments.get(name).await.ok()?;
        let (wanted, status) = (deployment.spec?.replicas?, deployment.status?);
        let is_seen = status.observed_generation >= deployment.metadata.generation;
        let counts = [status.replicas, status.updated_replicas, status.available_replicas];
        (is_seen && counts == [Some(wanted); 3]).then_some(())
    })
    .await
}

/// Scales the engines, and waits until so many are ready.
pub(crate) async fn scale_engines(namespace: &Namespace, count: u32) -> anyhow::Result<()> {
    scale(namespace, "vllm", count).await?;
    namespace.ready("app=vllm", count.try_into()?).await.map(drop)
}

/// Scales the engines up by one to so many, and returns the name of the new one when it is ready.
pub(crate) async fn add_engine(namespace: &Namespace, count: u32) -> anyhow::Result<String> {
    let names = async || {
        let pods = namespace.pods("app=vllm").await?;
        anyhow::Ok(pods.into_iter().filter_map(|pod| pod.metadata.name).collect::<Vec<_>>())
    };
    let before = names().await?;
    scale_engines(namespace, count).await?;
    names().await?.into_iter().find(|name| !before.contains(name)).context("no new engine")
}

/// Replaces all engines by new ones.
pub(crate) async fn replace_engines(namespace: &Namespace) -> anyhow::Result<()> {
    let restarted = namespace.kubectl(&["rollout", "restart", "deployment", "vllm"]).await?;
    ensure!(restarted.is_success, "{}", restarted.stderr);
    rolled_out(namespace, "vllm").await
}
