//! A model that KServe deploys, beside one of ours: it is left alone, and requests go to both.
//!
//! The definition of LLMInferenceServices is KServe's own. Its controller is not here: the test makes what that one makes of an
//! LLMInferenceService, with its names, labels and owners, as KServe 0.17 has them (`pkg/controller/v1alpha2/llmisvc`).

use crate::gateway::values;
use crate::models::ready;
use anyhow::{Context, ensure};
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use warmpath_cluster::manifests::{ENGINE_PORT, Engines};
use warmpath_cluster::{Namespace, engine_address, until};
use warmpath_http::Client;

/// The model of both.
const MODEL: &str = "llama";

/// Conversations that are counted, and KServe's share of them by the weights: one in five.
const CONVERSATIONS: usize = 300;
const OURS: u32 = 4;
const EXPECTED: std::ops::Range<usize> = 30..90;

/// What KServe's controller makes, each kind with its name: engines, and the pool in both groups that have one.
const MADE: [(&str, &str); 3] = [
    ("deployments.apps", "chat-kserve"),
    ("inferencepools.inference.networking.k8s.io", "chat-inference-pool"),
    ("inferencepools.inference.networking.x-k8s.io", "chat-inference-pool"),
];

fn inference_service() -> Value {
    json!({
        "apiVersion": "serving.kserve.io/v1alpha2",
        "kind": "LLMInferenceService",
        "metadata": {"name": "chat"},
        "spec": {
            "model": {"uri": "hf://meta-llama/Llama-3.1-8B-Instruct", "name": MODEL},
            "replicas": 2,
            "router": {"scheduler": {}, "route": {}, "gateway": {}},
            "template": {"containers": [{"name": "main", "image": "ghcr.io/llm-d/llm-d-cuda:v0.4.0"}]},
        },
    })
}

/// What KServe's controller makes of it.
fn made(owner: &DynamicObject) -> [Value; 3] {
    let reference = json!([{
        "apiVersion": "serving.kserve.io/v1alpha2",
        "kind": "LLMInferenceService",
        "name": owner.name_any(),
        "uid": owner.uid(),
        "controller": true,
        "blockOwnerDeletion": true,
    }]);
    let selector = json!({
        "app.kubernetes.io/name": owner.name_any(),
        "app.kubernetes.io/part-of": "llminferenceservice",
        "kserve.io/component": "workload",
    });
    let mut labels = selector.clone();
    labels["app.kubernetes.io/component"] = json!("llminferenceservice-workload");
    labels["llm-d.ai/role"] = json!("both");
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "chat-kserve", "labels": labels, "ownerReferences": reference},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": Engines::instant(MODEL).spec()},
        },
    });
    let pool = |version: &str, spec: Value| {
        json!({
            "apiVersion": version,
            "kind": "InferencePool",
            "metadata": {"name": "chat-inference-pool", "ownerReferences": reference},
            "spec": spec,
        })
    };
    let picker = json!({"name": "chat-epp-service", "port": {"number": 9002}, "failureMode": "FailOpen"});
    [
        deployment,
        pool(
            "inference.networking.k8s.io/v1",
            json!({"selector": {"matchLabels": selector}, "targetPorts": [{"number": ENGINE_PORT}], "endpointPickerRef": picker}),
        ),
        pool(
            "inference.networking.x-k8s.io/v1alpha2",
            json!({"selector": selector, "targetPortNumber": ENGINE_PORT, "extensionRef": {"name": "chat-epp-service"}}),
        ),
    ]
}

/// The field managers of each object of KServe, apart from its status.
async fn writers(namespace: &Namespace) -> anyhow::Result<BTreeMap<&'static str, Vec<String>>> {
    let mut found = BTreeMap::new();
    for (kind, name) in MADE {
        let shown = namespace.kubectl(&["get", kind, name, "-o", "json", "--show-managed-fields"]).await?;
        ensure!(shown.is_success, "{}", shown.stderr);
        let object: DynamicObject = serde_json::from_str(&shown.stdout)?;
        let managers = object.managed_fields().iter().filter(|it| it.subresource.is_none());
        let managers = managers.filter_map(|it| it.manager.clone());
        found.insert(kind, managers.collect());
    }
    Ok(found)
}

pub(crate) async fn a_model_of_kserve_is_left_alone_and_routed_to(
    namespace: Namespace,
) -> anyhow::Result<()> {
    namespace.cluster.install_kserve().await?;
    let service = namespace.apply(inference_service()).await?;
    for object in made(&service) {
        namespace.apply(object).await?;
    }
    let theirs = "app.kubernetes.io/part-of=llminferenceservice";
    namespace.ready(theirs, 2).await?;
    let before = writers(&namespace).await?;
    let mut values = values();
    values["modelServices"] = json!(true);
    let release = namespace.install(&values).await?;
    let ours = json!({
        "apiVersion": "warmpath.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "ours"},
        "spec": {
            "model": {"name": MODEL},
            "roles": {"serve": {"replicas": {"min": 1}, "hardware": {"gpu": {"type": "nvidia-h100"}}}},
            "router": {"weight": OURS},
        },
    });
    namespace.apply(ours).await?;
    ready(&namespace, "ours").await?;
    release.ready("gateway", 2).await?;
    let pods = namespace.ready(theirs, 2).await?;
    let expected: anyhow::Result<Vec<String>> =
        pods.iter().map(|pod| Ok(engine_address(pod)?.to_string())).collect();
    let mut expected = expected?;
    expected.sort();
    for controller in release.ready("controller", 2).await? {
        release
            .pool(&controller, "chat-inference-pool", "KServe's engines", |pool| {
                let mut found: Vec<String> = pool.endpoints.iter().map(|it| it.address.clone()).collect();
                found.sort();
                (found == expected && pool.models == [MODEL]).then_some(())
            })
            .await?;
    }
    let client = Client::http1(namespace.service("warmpath-gateway").await?);
    // Both pools are known to the controllers; each Envoy learns of them a moment later.
    until("responses of both", async || {
        let share = share(&client, 40).await.ok()?;
        (share > 0 && share < 40).then_some(())
    })
    .await?;
    let share = share(&client, CONVERSATIONS).await?;
    println!("KServe's engines got {share} of {CONVERSATIONS} conversations, where weights say a fifth");
    ensure!(EXPECTED.contains(&share), "KServe's engines got {share} of {CONVERSATIONS} conversations");
    namespace.kubectl(&["delete", "modelservice", "ours"]).await?;
    until("all responses from KServe's engines", async || {
        (self::share(&client, 20).await.ok()? == 20).then_some(())
    })
    .await?;
    ensure!(writers(&namespace).await? == before, "{before:?}, then {:?}", writers(&namespace).await?);
    let resource = ApiResource {
        group: "serving.kserve.io".to_owned(),
        version: "v1alpha2".to_owned(),
        api_version: "serving.kserve.io/v1alpha2".to_owned(),
        kind: "LLMInferenceService".to_owned(),
        plural: "llminferenceservices".to_owned(),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(namespace.client.clone(), &namespace.name, &resource);
    let after = api.get("chat").await?;
    ensure!(after.resource_version() == service.resource_version(), "KServe's own object was written");
    Ok(())
}

/// How many of so many conversations KServe's engines get.
async fn share(client: &Client, conversations: usize) -> anyhow::Result<usize> {
    let mut theirs = 0;
    for number in 0..conversations {
        let text = format!("{conversations} {number}");
        let body = json!({"model": MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": text}]});
        let response = client.post_json("/v1/chat/completions", &body).await?;
        ensure!(response.status.is_success(), "{} {:?}", response.status, response.body);
        let engine = response.headers.get("x-engine").and_then(|value| value.to_str().ok());
        theirs += usize::from(engine.context("no engine named itself")?.starts_with("chat-kserve"));
    }
    Ok(theirs)
}
