//! The controller's permissions: the chart's are enough, and a missing one is named.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::Role;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use warmpath_cluster::manifests::{Engines, pool};
use warmpath_cluster::{Namespace, until};

/// The controller's service account.
const ACCOUNT: &str = "warmpath-controller";

pub(crate) async fn the_charts_role_is_enough(namespace: Namespace) -> anyhow::Result<()> {
    namespace.apply(pool("llama", "vllm")).await?;
    namespace.apply(Engines::instant("llama").deployment("vllm", 1)).await?;
    namespace.ready("app=vllm", 1).await?;
    let release = namespace.install(&json!({})).await?;
    let controller = release.ready("controller", 1).await?.remove(0);
    release.pool(&controller, "llama", "its pod", |pool| (pool.endpoints.len() == 1).then_some(())).await?;
    let calls = namespace.cluster.control_plane.calls(&namespace.name, ACCOUNT);
    assert!(calls.iter().any(|call| call.verb == "list" && call.status == 200), "{calls:?}");
    let refused: Vec<_> = calls.iter().filter(|call| call.status == 401 || call.status == 403).collect();
    assert!(refused.is_empty(), "{refused:?}");
    Ok(())
}

pub(crate) async fn a_role_that_lacks_a_verb_is_named_in_the_log(namespace: Namespace) -> anyhow::Result<()> {
    namespace.apply(pool("llama", "vllm")).await?;
    let release = namespace.install(&json!({})).await?;
    let controller = release.ready("controller", 1).await?.remove(0);
    let roles: Api<Role> = namespace.api();
    let name = format!("{}-{ACCOUNT}", namespace.name);
    let mut kept = roles.get(&name).await?.rules.unwrap_or_default();
    kept.retain(|rule| !rule.resources.iter().flatten().any(|resource| resource == "inferencepools"));
    roles.patch(&name, &PatchParams::default(), &Patch::Merge(json!({"rules": kept}))).await?;
    let pods: Api<Pod> = namespace.api();
    pods.delete(controller.metadata.name.as_deref().unwrap(), &DeleteParams::default()).await?;
    let labels = "app.kubernetes.io/component=controller";
    let is_other = |pod: &Pod| pod.metadata.uid != controller.metadata.uid;
    until("a line that names the verbs and the kind", async || {
        let pods = namespace.pods(labels).await.ok()?;
        let log = release.log(pods.iter().find(|pod| is_other(pod))?);
        let line = log.lines().find(|line| line.contains("give its role the verbs get, list and watch"))?;
        line.contains("inferencepools.inference.networking").then_some(())
    })
    .await
}
