//! What engines report of their caches, in a cluster: tokenizers from volumes, and sockets that are configured or discovered.

use anyhow::ensure;
use serde_json::{Value, json};
use warmpath::api::PoolState;
use warmpath_cluster::manifests::{ENGINE_PORT, Engines, deployment, pool};
use warmpath_cluster::{Namespace, engine_address};
use warmpath_http::Client;

const TOKENIZER: &str = include_str!("../../../engine/data/tiny-model/tokenizer.json");
const CONFIG: &str = include_str!("../../../engine/data/tiny-model/tokenizer_config.json");
/// The entry of the chart's tokenizers, which has a dot as those of many models have.
const NAME: &str = "tiny-0.1";
/// The cells that a prompt of a few kilobytes has at least.
const CELLS_MIN: usize = 8;

/// An engine that loads the model, and publishes what it stores.
fn engine(app: &str) -> Value {
    let publishes = r#"{"endpoint": "tcp://*:5557", "replay_endpoint": "tcp://*:5558"}"#;
    let arguments = ["--preset", "instant", "--model-dir", "/model", "--kv-events-config", publishes];
    let mut spec = Engines::new(app, &arguments).spec();
    spec["volumes"] = json!([{"name": "model", "configMap": {"name": "model"}}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "model", "mountPath": "/model"}]);
    deployment(app, 1, &spec)
}

pub(crate) async fn what_engines_hold_is_known_by_the_tokenizers_that_the_chart_mounts(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let files = json!({"tokenizer.json": TOKENIZER, "tokenizer_config.json": CONFIG});
    let model =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "model"}, "data": files});
    namespace.apply(model).await?;
    namespace.apply(engine("named")).await?;
    namespace.apply(engine("annotated")).await?;
    let mut annotated = pool("annotated", "annotated");
    annotated["metadata"]["annotations"] = json!({"warmpath.dev/tokenizer": NAME});
    namespace.apply(annotated).await?;
    let named = json!({
        "name": "named",
        "selector": {"app": "named"},
        "ports": [ENGINE_PORT],
        "prompt": {"tokenizer": NAME},
        "kv_events": {"source": "ports", "port": 5557, "replay_port": 5558},
    });
    let tokenizer = json!({"name": NAME, "volume": {"configMap": {"name": "model"}}});
    let values = json!({"controller": {"tokenizers": [tokenizer]}, "pools": [named]});
    let release = namespace.install(&values).await?;
    let controller = release.ready("controller", 1).await?.remove(0);
    for app in ["named", "annotated"] {
        let engines = namespace.ready(&format!("app={app}"), 1).await?;
        let is_followed = |pool: &PoolState| {
            let kv = pool.endpoints.first()?.kv.as_ref()?;
            (pool.prompt.as_ref()?.is_written && kv.trust == "whole").then_some(())
        };
        release.pool(&controller, app, "an engine that is followed", is_followed).await?;
        let prompt = "The licence permits everybody to copy, modify and distribute the work. ".repeat(40);
        let body = json!({"model": app, "prompt": prompt, "max_tokens": 1});
        let sent = Client::http1(engine_address(&engines[0])?).post_json("/v1/completions", &body).await?;
        ensure!(sent.status.is_success(), "{}", sent.text());
        let is_held =
            |pool: &PoolState| (pool.endpoints.first()?.kv.as_ref()?.cells >= CELLS_MIN).then_some(());
        release.pool(&controller, app, "the prompt's cells", is_held).await?;
    }
    Ok(())
}
