//! A pool that is scaled to zero: its requests wait in the chart's Envoys until an engine is ready.

use crate::gateway::{PORT, values};
use crate::load::scale_engines;
use anyhow::ensure;
use serde_json::json;
use std::time::Duration;
use warmpath_cluster::manifests::{Engines, pool};
use warmpath_cluster::{Namespace, pod_address, until};
use warmpath_http::Client;

/// Requests at each Envoy.
const REQUESTS: usize = 4;

pub(crate) async fn requests_wait_for_a_pool_that_is_scaled_to_zero(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let mut pool = pool("llama", "vllm");
    // No engine lists its models yet.
    pool["metadata"]["annotations"] =
        json!({"warmpath.dev/models": "llama", "warmpath.dev/hold-endpoint": "120"});
    namespace.apply(pool).await?;
    namespace.apply(Engines::instant("llama").deployment("vllm", 0)).await?;
    let release = namespace.install(&values()).await?;
    let gateways = release.ready("gateway", 2).await?;
    let controllers = release.ready("controller", 2).await?;
    let known = async |count: usize| {
        for controller in &controllers {
            until(&format!("{count} held requests on the page of each controller"), async || {
                let state = release.state(controller).await.ok()?;
                let pool = state.pools.first()?;
                (state.proxies.len() == 2 && pool.held_for_endpoint.requests == count).then_some(())
            })
            .await?;
        }
        anyhow::Ok(())
    };
    known(0).await?;
    let body = json!({"model": "llama", "max_tokens": 1, "messages": [{"role": "user", "content": "hello"}]});
    let mut waiting = Vec::new();
    for gateway in gateways.iter().flat_map(|gateway| std::iter::repeat_n(gateway, REQUESTS)) {
        let client = Client::http1(pod_address(gateway, PORT)?).with_time_max(Duration::from_mins(2));
        let body = body.clone();
        waiting.push(tokio::spawn(async move { client.post_json("/v1/chat/completions", &body).await }));
    }
    known(waiting.len()).await?;
    scale_engines(&namespace, 1).await?;
    for response in waiting {
        let response = response.await??;
        ensure!(response.status.is_success(), "{} {:?}", response.status, response.body);
    }
    known(0).await
}
