//! What leads requests to the engines: the InferencePool, and a Service for gateways that know none.

use super::Object;
use super::cluster::{Cluster, InferencePools};
use super::names::{ENDPOINT_LABEL, Owner, SERVICE_LABEL, TAKES_REQUESTS};
use crate::api::{EngineKind, ModelServiceSpec, TransferProtocol, Vendor};
use crate::engines::{BOOTSTRAP_PORT, HTTP_PORT, event_ports, served_names};
use crate::json::put;
use crate::problems::Problems;
use crate::shape::Shape;
use serde_json::{Map, Value, json};

/// The longest wait that the router allows, in seconds.
const HOLD_SECONDS_MAX: u32 = 3_600;

/// The objects.
pub(super) fn objects(
    owner: &Owner<'_>,
    spec: &ModelServiceSpec,
    shapes: &[Shape<'_>],
    ports: u32,
    cluster: &Cluster,
    problems: &mut Problems,
) -> Vec<Object> {
    let selector = json!({SERVICE_LABEL: owner.name, ENDPOINT_LABEL: TAKES_REQUESTS});
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": owner.metadata(owner.name, None),
        "spec": {"type": "ClusterIP", "selector": selector, "ports": [{"name": "http", "port": HTTP_PORT, "targetPort": HTTP_PORT, "protocol": "TCP"}]},
    });
    let mut found = vec![Object {
        manifest: service,
        reason: "gateways without InferencePools route to a Service".to_owned(),
    }];
    let mut metadata = owner.metadata(owner.name, None);
    metadata.insert("annotations".to_owned(), annotations(spec, shapes).into());
    let numbers = (0..ports).map(|rank| json!({"number": u32::from(HTTP_PORT).saturating_add(rank)}));
    let mut pool = json!({"selector": {"matchLabels": selector}, "targetPorts": numbers.collect::<Vec<_>>()});
    if cluster.inference_pools == InferencePools::WithPicker {
        match &cluster.picker {
            Some(picker) => {
                let name = if picker.namespace == owner.namespace {
                    picker.name.clone()
                } else {
                    found.push(alias(owner, picker, &cluster.domain));
                    alias_name(owner)
                };
                put(&mut pool, "endpointPickerRef", json!({"kind": "Service", "name": name, "port": {"number": picker.port}, "failureMode": "FailOpen"}));
            }
            None => problems.add("spec", "InferencePools of this API server must name a picker, and the controller has no Service for it: upgrade the CRDs of the Gateway API Inference Extension to 1.6 or newer"),
        }
    }
    let manifest = json!({"apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool", "metadata": metadata, "spec": pool});
    found.push(Object { manifest, reason: "routers learn pods, ports, models and roles from it".to_owned() });
    found
}

fn alias_name(owner: &Owner<'_>) -> String {
    format!("{}-picker", owner.name)
}

/// A picker must be in the pool's namespace.
fn alias(owner: &Owner<'_>, picker: &super::Picker, domain: &str) -> Object {
    let host = format!("{}.{}.svc.{domain}", picker.name, picker.namespace);
    let manifest = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": owner.metadata(&alias_name(owner), None),
        "spec": {"type": "ExternalName", "externalName": host},
    });
    Object {
        manifest,
        reason: "InferencePools of this API server must name a picker in their namespace".to_owned(),
    }
}

/// What the router learns of the pool, beyond its specification.
fn annotations(spec: &ModelServiceSpec, shapes: &[Shape<'_>]) -> Map<String, Value> {
    let mut found = Map::new();
    let mut set = |name: &str, value: String| {
        found.insert(format!("warmpath.dev/{name}"), value.into());
    };
    set("models", served_names(spec).join(","));
    if let Some(adapters) = &spec.adapters {
        let names: Vec<&str> = adapters.list.iter().map(|adapter| adapter.name.as_str()).collect();
        set("adapters", names.join(","));
    }
    let router = &spec.router;
    if let Some(weight) = router.weight {
        set("weight", weight.to_string());
    }
    if let Some(tokenizer) = &router.tokenizer {
        set("tokenizer", tokenizer.clone());
        if let Some(source) = event_source(spec, shapes) {
            set("kv-events", source);
        }
    }
    if let Some(template) = &router.chat_template {
        set("chat-template", template.clone());
    }
    let hold = router.hold.clone().unwrap_or_default();
    if let Some(seconds) = hold.room_seconds {
        set("hold-room", seconds.to_string());
    }
    let start = u32::try_from(spec.rollout.startup_seconds).unwrap_or_default().min(HOLD_SECONDS_MAX);
    let for_endpoint = hold.endpoint_seconds.or(spec.autoscaling.scale_to_zero.then_some(start));
    if let Some(seconds) = for_endpoint {
        set("hold-endpoint", seconds.to_string());
    }
    if !hold.tenants.is_empty() {
        let tenants: Vec<String> =
            hold.tenants.iter().map(|it| format!("{}={}", it.name, it.weight)).collect();
        set("hold-tenants", tenants.join(","));
    }
    if spec.roles.prefill.is_some() {
        let transfer = spec.transfer.clone().unwrap_or_default();
        let (protocol, has_server) = match (spec.engine.kind, transfer.protocol) {
            (EngineKind::Vllm, TransferProtocol::Nixl) => ("nixl", false),
            (EngineKind::Vllm, TransferProtocol::Mooncake) => ("mooncake", true),
            (EngineKind::Sglang, _) => ("sglang", true),
            (EngineKind::Trtllm, _) => ("tensorrt-llm", false),
        };
        set("transfer", protocol.to_owned());
        if has_server {
            set("bootstrap-port", transfer.bootstrap_port.unwrap_or(BOOTSTRAP_PORT).to_string());
        }
        if let Some(cluster) = transfer.cluster {
            set("transfer-cluster", cluster);
        }
    }
    found
}

/// Where engines publish what they hold, if they do not list it themselves, as vLLM does from 0.32 on.
fn event_source(spec: &ModelServiceSpec, shapes: &[Shape<'_>]) -> Option<String> {
    let first = shapes.first()?;
    let is_listed = spec.engine.kind == EngineKind::Vllm && first.device.vendor != Vendor::Google;
    let has_ranks = shapes.iter().any(|shape| shape.role.parallelism.data > 1);
    match spec.engine.kind {
        _ if is_listed => None,
        // Release 1.2, whose flags these are, publishes no events that several readers can follow.
        EngineKind::Trtllm => Some("none".to_owned()),
        // The ports of several ranks behind one address cannot be stated here.
        _ if has_ranks => Some("none".to_owned()),
        _ => {
            let (port, replay) = event_ports(first);
            Some(format!("{port},{replay}"))
        }
    }
}
