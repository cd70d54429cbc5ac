//! The chart's own Envoy in front of engines.

use anyhow::ensure;
use serde_json::{Value, json};
use warmpath_cluster::manifests::{Engines, pool};
use warmpath_cluster::{Namespace, pod_address, until};
use warmpath_http::Client;

/// The port of the chart's Envoy.
pub(crate) const PORT: u16 = 8080;

/// Values for two controllers and two Envoys that stop quickly.
pub(crate) fn values() -> Value {
    json!({
        "controller": {"replicas": 2},
        "gateway": {
            "kind": "envoy",
            "workers": 1,
            "drainSeconds": 5,
            "resources": {"requests": {"cpu": "100m"}},
        },
    })
}

/// Sends a chat whose prompt begins with `prompt`, and returns how many of its tokens the engine had in its cache.
async fn cached(client: &Client, prompt: &str, question: &str) -> anyhow::Result<u64> {
    let body = json!({
        "model": "llama",
        "max_tokens": 4,
        "messages": [{"role": "system", "content": prompt}, {"role": "user", "content": question}],
    });
    let response = client.post_json("/v1/chat/completions", &body).await?;
    ensure!(response.status.is_success(), "{} {:?}", response.status, response.body);
    let cached = response.headers.get("x-engine-cached-tokens").and_then(|value| value.to_str().ok());
    Ok(cached.unwrap_or_default().parse()?)
}

pub(crate) async fn the_charts_envoys_send_a_prompt_to_the_engine_that_holds_it(
    namespace: Namespace,
) -> anyhow::Result<()> {
    namespace.apply(pool("llama", "vllm")).await?;
    namespace.apply(Engines::instant("llama").deployment("vllm", 4)).await?;
    namespace.ready("app=vllm", 4).await?;
    let release = namespace.install(&values()).await?;
    let gateways = release.ready("gateway", 2).await?;
    for controller in release.ready("controller", 2).await? {
        until("both Envoys on the page of each controller", async || {
            let state = release.state(&controller).await.ok()?;
            let is_whole = state.proxies.len() == 2 && state.replicas.iter().all(|it| it.problem.is_none());
            (is_whole && state.replicas.len() == 1).then_some(())
        })
        .await?;
    }
    let [first, second] =
        [&gateways[0], &gateways[1]].map(|pod| Client::http1(pod_address(pod, PORT).unwrap()));
    let words: Vec<String> = (0..2_000).map(|number| number.to_string()).collect();
    for group in 0..4 {
        let prompt = format!("group {group} {}", words.join(" "));
        assert_eq!(cached(&first, &prompt, "turn 1").await?, 0);
        assert!(cached(&first, &prompt, "turn 2").await? > 1_000, "group {group}");
    }
    // Each Envoy may have another controller: what one of them sent must reach the other all the same.
    let mut group = 100;
    until("a prompt of one Envoy to be found by the other", async || {
        group += 1;
        let prompt = format!("group {group} {}", words.join(" "));
        cached(&first, &prompt, "turn 1").await.ok()?;
        (cached(&second, &prompt, "turn 2").await.ok()? > 1_000).then_some(())
    })
    .await
}
