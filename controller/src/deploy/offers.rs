//! What the API server and the installation offer to plans.
//!
//! Whether an InferencePool must name a picker differs between versions of its definition. A controller of one namespace may not read
//! definitions, but every service account may read the schema of a group.

use super::Settings;
use crate::watch::{Facts, Kind, SourceState};
use http::Request;
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use warmpath_deploy::plan::{Cluster, InferencePools, Picker};

/// The schema of InferencePools.
const SCHEMA: &str = "/openapi/v3/apis/inference.networking.k8s.io/v1";
/// How long the request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// What the installation offers, which does not change while the controller runs.
pub(super) fn of_installation(settings: &Settings) -> Cluster {
    let kubernetes = &settings.kubernetes;
    let picker = kubernetes.service.as_ref().map(|service| Picker {
        namespace: service.namespace.clone(),
        name: service.name.clone(),
        port: settings.grpc_port,
    });
    Cluster {
        has_leader_worker_sets: false,
        has_resource_claims: false,
        inference_pools: InferencePools::Missing,
        picker,
        domain: kubernetes.cluster_domain.clone(),
        images: kubernetes.engine_images.clone(),
        tokenizers: Some(kubernetes.tokenizers.as_deref().map(directories).unwrap_or_default()),
    }
}

/// The same with what the API server's kinds are, as the watches show them.
pub(super) async fn with_kinds(mut cluster: Cluster, facts: &Facts, client: &Client) -> Cluster {
    cluster.has_leader_worker_sets = has(facts, Kind::LeaderWorkerSet);
    cluster.has_resource_claims = has(facts, Kind::ResourceClaimTemplate);
    if !has(facts, Kind::OwnPool) {
        cluster.inference_pools = InferencePools::Missing;
    } else if cluster.inference_pools == InferencePools::Missing {
        cluster.inference_pools = match needs_picker(client).await {
            Some(false) => InferencePools::WithoutPicker,
            // One that need not name a picker may.
            Some(true) | None => InferencePools::WithPicker,
        };
    }
    cluster
}

fn has(facts: &Facts, kind: Kind) -> bool {
    let mut of_kind = facts.sources().filter(|(source, _)| source.kind == kind);
    of_kind.any(|(_, shown)| shown.is_known && shown.state != SourceState::Missing)
}

/// Whether the API server refuses an InferencePool without a picker; `None`: it does not say.
async fn needs_picker(client: &Client) -> Option<bool> {
    let request = Request::get(SCHEMA).body(Body::empty()).ok()?;
    let sent = async {
        let response = client.send(request).await.ok()?;
        let body = http_body_util::BodyExt::collect(response.into_body()).await.ok()?.to_bytes();
        serde_json::from_slice::<Value>(&body).ok()
    };
    let schema = tokio::time::timeout(REQUEST_TIMEOUT, sent).await.ok()??;
    is_picker_required(&schema)
}

fn is_picker_required(schema: &Value) -> Option<bool> {
    let schemas = schema.pointer("/components/schemas")?.as_object()?;
    let (_, pool) = schemas.iter().find(|(name, _)| name.ends_with(".InferencePool"))?;
    let spec = pool.pointer("/properties/spec")?;
    let mut required = spec.get("required").and_then(Value::as_array).into_iter().flatten();
    Some(required.any(|name| name == "endpointPickerRef"))
}

/// The names of the directories in a directory.
fn directories(path: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::is_picker_required;
    use serde_json::json;

    #[test]
    fn the_schema_says_whether_a_pool_must_name_a_picker() {
        let schema = |required: &[&str]| {
            json!({"components": {"schemas": {
                "io.k8s.networking.inference.v1.InferencePoolList": {},
                "io.k8s.networking.inference.v1.InferencePool": {"properties": {"spec": {"required": required}}},
            }}})
        };
        assert_eq!(is_picker_required(&schema(&["selector", "endpointPickerRef"])), Some(true));
        assert_eq!(is_picker_required(&schema(&["selector"])), Some(false));
        assert_eq!(is_picker_required(&json!({})), None);
    }
}
