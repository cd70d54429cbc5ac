//! `warmpath check --kubernetes` and `/state` of an installed chart.

use crate::gateway::values;
use anyhow::Context;
use k8s_openapi::api::rbac::v1::Role;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use warmpath::check::finding::Level;
use warmpath::check::kubernetes;
use warmpath::check::report::{Report, STATUS_ERRORS, STATUS_FINE};
use warmpath_cluster::manifests::{Engines, pool};
use warmpath_cluster::{Namespace, until};

/// What is wrong: level, id, what was seen.
async fn checked(namespace: &Namespace) -> (Report, Vec<String>) {
    let mut report = Report::default();
    let namespaces = [namespace.name.clone()];
    kubernetes::check(&namespace.client, &namespaces, &mut report).await;
    let wrong = report.findings.iter().filter(|finding| finding.level > Level::Ok);
    let line = |finding: &warmpath::check::finding::Finding| {
        format!("{} {} {}", finding.level.label(), finding.check.id, finding.seen)
    };
    let wrong = wrong.map(line).collect();
    (report, wrong)
}

pub(crate) async fn what_is_wrong_is_found_and_nothing_else(namespace: Namespace) -> anyhow::Result<()> {
    namespace.apply(pool("llama", "vllm")).await?;
    namespace.apply(Engines::instant("llama").deployment("vllm", 2)).await?;
    namespace.ready("app=vllm", 2).await?;
    let release = namespace.install(&json!({})).await?;
    let controllers = release.ready("controller", 1).await?;
    until("a Deployment that is ready", async || {
        let (report, wrong) = checked(&namespace).await;
        (report.status() == STATUS_FINE && wrong.is_empty()).then_some(())
    })
    .await?;
    let pods = release
        .pool(&controllers[0], "llama", "the pods' names", |pool| {
            let pods: Vec<String> =
                pool.endpoints.iter().filter_map(|endpoint| endpoint.pod.clone()).collect();
            (pods.len() == 2).then_some(pods)
        })
        .await?;
    assert!(pods[0].starts_with(&format!("{}/vllm-", namespace.name)), "{pods:?}");

    namespace.apply(pool("nobody", "absent")).await?;
    let roles: Api<Role> = namespace.api();
    let name = format!("{}-warmpath-controller", namespace.name);
    let mut kept = roles.get(&name).await?.rules.unwrap_or_default();
    kept.retain(|rule| !rule.resources.iter().flatten().any(|resource| resource == "inferencepools/status"));
    roles.patch(&name, &PatchParams::default(), &Patch::Merge(json!({"rules": kept}))).await?;
    until("both are found", async || {
        let (report, wrong) = checked(&namespace).await;
        let has =
            |start: &str, part: &str| wrong.iter().any(|line| line.starts_with(start) && line.contains(part));
        let are_found = has("error kubernetes.selector", "nobody: no pod has the labels")
            && has(
                "error kubernetes.rights",
                "may not patch inferencepools/status.inference.networking.k8s.io",
            );
        (are_found && report.status() == STATUS_ERRORS).then_some(())
    })
    .await
}

pub(crate) async fn the_controllers_own_pod_can_check_everything(namespace: Namespace) -> anyhow::Result<()> {
    namespace.apply(pool("llama", "vllm")).await?;
    namespace.apply(Engines::instant("llama").deployment("vllm", 2)).await?;
    namespace.ready("app=vllm", 2).await?;
    let release = namespace.install(&values()).await?;
    release.ready("gateway", 2).await?;
    let controller = release.ready("controller", 2).await?.remove(0);
    let command = ["warmpath", "check", "--kubernetes", "--controller", "http://127.0.0.1:18002"];
    let parts = [
        "proxies: 2".to_owned(),
        "pods app=vllm: 2 of 2 are ready".to_owned(),
        format!("system:serviceaccount:{}:warmpath-controller: may do all", namespace.name),
    ];
    let mut last = None;
    let checked = until("a check without errors", async || {
        let done = namespace.exec(&controller, &command).await.ok()?;
        last = Some(done.clone());
        let is_whole = parts.iter().all(|part| done.stdout.contains(part));
        (done.is_success && is_whole).then_some(done)
    });
    let checked = checked
        .await
        .with_context(|| format!("expected {parts:?} without errors, the last check: {last:?}"))?;
    println!("$ {}\n{}", command.join(" "), checked.stdout);
    Ok(())
}
