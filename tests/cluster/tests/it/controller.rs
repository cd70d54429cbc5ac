//! The controller follows pools and pods of a real API server.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use warmpath::api::PoolState;
use warmpath_cluster::manifests::{ENGINE_PORT, Engines, pool};
use warmpath_cluster::{Namespace, Release, crds, engine_address, until};

/// The chart with nothing but a controller, which is ready.
async fn controller(namespace: &Namespace) -> anyhow::Result<(Release, Pod)> {
    let release = namespace.install(&json!({})).await?;
    let pods = release.ready("controller", 1).await?;
    Ok((release, pods[0].clone()))
}

/// Changes the replicas of a Deployment.
async fn scale(namespace: &Namespace, name: &str, replicas: u32) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = namespace.api();
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    deployments.patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// The pool's endpoints are those of `pods`.
fn has_endpoints(pool: &PoolState, pods: &[Pod]) -> Option<()> {
    let expected: BTreeSet<String> =
        pods.iter().map(|pod| engine_address(pod).unwrap().to_string()).collect();
    let found: BTreeSet<String> = pool.endpoints.iter().map(|endpoint| endpoint.address.clone()).collect();
    (found == expected).then_some(())
}

async fn delete(namespace: &Namespace, object: &Value) -> anyhow::Result<()> {
    let kind = object["kind"].as_str().unwrap().to_lowercase();
    let (group, version) = object["apiVersion"].as_str().unwrap().split_once('/').unwrap();
    let resource = format!("{kind}s.{version}.{group}");
    let deleted =
        namespace.kubectl(&["delete", &resource, object["metadata"]["name"].as_str().unwrap()]).await?;
    anyhow::ensure!(deleted.is_success, "{}", deleted.stderr);
    Ok(())
}

pub(crate) async fn pods_that_join_and_leave_are_followed(namespace: Namespace) -> anyhow::Result<()> {
    namespace.apply(pool("llama", "vllm")).await?;
    namespace.apply(Engines::instant("llama").deployment("vllm", 2)).await?;
    let (release, controller) = controller(&namespace).await?;
    for count in [2, 4, 1, 0] {
        scale(&namespace, "vllm", count).await?;
        let pods = namespace.ready("app=vllm", count.try_into()?).await?;
        release.pool(&controller, "llama", "the ready pods", |pool| has_endpoints(pool, &pods)).await?;
    }
    scale(&namespace, "vllm", 1).await?;
    let pods = namespace.ready("app=vllm", 1).await?;
    release
        .pool(&controller, "llama", "a scraped endpoint", |pool| {
            has_endpoints(pool, &pods)?;
            let pod = format!("{}/{}", namespace.name, pods[0].metadata.name.as_ref()?);
            let endpoint = &pool.endpoints[0];
            let is_known = endpoint.health == "healthy" && endpoint.pod.as_ref() == Some(&pod);
            (is_known && pool.models == ["llama"]).then_some(())
        })
        .await
}

pub(crate) async fn a_pod_that_is_being_deleted_leaves_at_once(namespace: Namespace) -> anyhow::Result<()> {
    namespace.apply(pool("llama", "vllm")).await?;
    let mut spec = Engines::instant("llama").spec();
    spec["terminationGracePeriodSeconds"] = json!(600);
    spec["containers"][0]["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 500}}});
    let pod = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "vllm"}}, "spec": spec});
    for name in ["leaving", "staying"] {
        namespace.apply(pod(name)).await?;
    }
    let both = namespace.ready("app=vllm", 2).await?;
    let (release, controller) = controller(&namespace).await?;
    release.pool(&controller, "llama", "both pods", |pool| has_endpoints(pool, &both)).await?;
    let pods: Api<Pod> = namespace.api();
    pods.delete("leaving", &DeleteParams::default()).await?;
    let staying = [pods.get("staying").await?];
    release.pool(&controller, "llama", "the other pod", |pool| has_endpoints(pool, &staying)).await?;
    let leaving = pods.get("leaving").await?;
    assert!(leaving.metadata.deletion_timestamp.is_some(), "it finishes what it has");
    Ok(())
}

pub(crate) async fn a_pool_comes_and_goes_with_its_inference_pool(
    namespace: Namespace,
) -> anyhow::Result<()> {
    namespace.apply(Engines::instant("llama").deployment("vllm", 1)).await?;
    let pods = namespace.ready("app=vllm", 1).await?;
    let (release, controller) = controller(&namespace).await?;
    assert!(release.state(&controller).await?.pools.is_empty());
    let mut annotated = pool("late", "vllm");
    annotated["metadata"]["annotations"] = json!({"warmpath.dev/models": "first, second"});
    namespace.apply(annotated.clone()).await?;
    let is_complete = |pool: &PoolState| {
        (pool.models == ["first", "second"]).then_some(())?;
        has_endpoints(pool, &pods)
    };
    release.pool(&controller, "late", "its pods and models", is_complete).await?;
    delete(&namespace, &annotated).await?;
    until("the pool to be gone", async || {
        release.state(&controller).await.ok()?.pools.is_empty().then_some(())
    })
    .await
}

pub(crate) async fn the_older_forms_of_an_inference_pool_are_pools(
    namespace: Namespace,
) -> anyhow::Result<()> {
    namespace.apply(Engines::instant("llama").deployment("vllm", 1)).await?;
    let pods = namespace.ready("app=vllm", 1).await?;
    let (release, controller) = controller(&namespace).await?;
    namespace
        .apply(json!({
            "apiVersion": "inference.networking.x-k8s.io/v1alpha2",
            "kind": "InferencePool",
            "metadata": {"name": "alpha"},
            "spec": {"selector": {"app": "vllm"}, "targetPortNumber": ENGINE_PORT, "extensionRef": {"name": "none"}},
        }))
        .await?;
    release.pool(&controller, "alpha", "its pod", |pool| has_endpoints(pool, &pods)).await
}

pub(crate) async fn a_selector_that_matches_nothing_is_an_empty_pool(
    namespace: Namespace,
) -> anyhow::Result<()> {
    namespace.apply(pool("nobody", "missing")).await?;
    let (release, controller) = controller(&namespace).await?;
    release
        .pool(&controller, "nobody", "no endpoint", |pool| pool.endpoints.is_empty().then_some(()))
        .await?;
    let message = format!("{}/nobody: no pod has the labels of its selector", namespace.name);
    until("a line in the log", async || release.log(&controller).contains(&message).then_some(())).await
}

pub(crate) async fn a_pod_at_a_reused_address_is_another_endpoint(
    namespace: Namespace,
) -> anyhow::Result<()> {
    namespace.apply(pool("llama", "vllm")).await?;
    let pod = |name: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "labels": {"app": "vllm"},
                "annotations": {"warmpath.dev/test-address": "10.99.200.1"},
            },
            "spec": Engines::instant("llama").spec(),
        })
    };
    let (release, controller) = controller(&namespace).await?;
    let pods: Api<Pod> = namespace.api();
    for name in ["first", "second"] {
        namespace.apply(pod(name)).await?;
        namespace.ready("app=vllm", 1).await?;
        let expected = format!("{}/{name}", namespace.name);
        let has_pod = |pool: &PoolState| {
            let endpoint = pool.endpoints.first().filter(|_| pool.endpoints.len() == 1)?;
            (endpoint.pod.as_ref() == Some(&expected)).then(|| endpoint.address.clone())
        };
        let address = release.pool(&controller, "llama", name, has_pod).await?;
        assert_eq!(address, format!("10.99.200.1:{ENGINE_PORT}"));
        pods.delete(name, &DeleteParams::default()).await?;
        until("the pod to be gone", async || pods.get_opt(name).await.ok()?.is_none().then_some(())).await?;
    }
    Ok(())
}

pub(crate) async fn a_kind_that_comes_later_is_followed(namespace: Namespace) -> anyhow::Result<()> {
    namespace.apply(pool("llama", "vllm")).await?;
    let (release, controller) = controller(&namespace).await?;
    let log = || release.log(&controller);
    let missing = "the API server does not know this kind";
    until("the missing kind to be logged", async || log().contains(missing).then_some(())).await?;
    namespace.cluster.apply(crds::LLM_D).await?;
    namespace.cluster.definitions_established().await?;
    namespace
        .apply(json!({
            "apiVersion": "llm-d.ai/v1alpha2",
            "kind": "InferenceObjective",
            "metadata": {"name": "lost"},
            "spec": {"priority": 1, "poolRef": {"name": "no-such-pool"}},
        }))
        .await?;
    let message = format!("{0}/lost: there is no pool {0}/no-such-pool", namespace.name);
    until("the objective to be seen", async || log().contains(&message).then_some(())).await?;
    let calls = namespace.cluster.control_plane.calls(&namespace.name, "warmpath-controller");
    let lists = calls.iter().filter(|call| call.verb == "list" && call.uri.contains("/inferenceobjectives?"));
    let missing = lists.filter(|call| call.status == 404 && call.uri.contains("/llm-d.ai/")).count();
    assert_eq!(missing, 1, "a kind that is missing is not listed again and again: {calls:?}");
    let deleted = namespace.cluster.kubectl(&[
        "delete",
        "crd",
        "inferenceobjectives.llm-d.ai",
        "inferencemodelrewrites.llm-d.ai",
    ])?;
    warmpath_cluster::run(deleted, "").await?;
    Ok(())
}

pub(crate) async fn pools_outlive_the_api_server(namespace: Namespace) -> anyhow::Result<()> {
    namespace.apply(pool("llama", "vllm")).await?;
    namespace.apply(Engines::instant("llama").deployment("vllm", 2)).await?;
    let before = namespace.ready("app=vllm", 2).await?;
    let (release, controller) = controller(&namespace).await?;
    release.pool(&controller, "llama", "both pods", |pool| has_endpoints(pool, &before)).await?;
    namespace.cluster.control_plane.kill_api_server().await;
    until("the controller to notice", async || {
        release.log(&controller).contains("a watch failed").then_some(())
    })
    .await?;
    release
        .pool(&controller, "llama", "both pods without an API server", |pool| has_endpoints(pool, &before))
        .await?;
    namespace.cluster.control_plane.restart_api_server().await?;
    scale(&namespace, "vllm", 3).await?;
    let after = namespace.ready("app=vllm", 3).await?;
    release.pool(&controller, "llama", "the new pod as well", |pool| has_endpoints(pool, &after)).await
}
