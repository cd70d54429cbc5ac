//! Requests through the chart's Envoys while engines, nodes, controllers and the API server come and go: none is lost.

use crate::gateway::values;
use crate::load::{Load, add_engine, engines, replace_engines, rolled_out, scale, scale_engines};
use anyhow::{Context, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use warmpath_cluster::{Namespace, until};

/// How long an outage takes in the test that is run only when asked for.
const OUTAGE: Duration = Duration::from_mins(1);

/// The controllers' Lease and Deployment.
const CONTROLLER: &str = "warmpath-controller";

/// The pod that holds the Lease of the controllers.
pub(crate) async fn leader(namespace: &Namespace) -> anyhow::Result<Pod> {
    let leases: Api<Lease> = namespace.api();
    let labels = "app.kubernetes.io/component=controller";
    until("a controller that holds the Lease", async || {
        let holder = leases.get(CONTROLLER).await.ok()?.spec?.holder_identity?;
        let pods = namespace.pods(labels).await.ok()?;
        pods.into_iter().find(|pod| pod.metadata.name.as_ref().is_some_and(|name| holder.contains(name)))
    })
    .await
}

pub(crate) async fn no_request_is_lost_while_engines_change(namespace: Namespace) -> anyhow::Result<()> {
    let mut load = Load::start(&namespace, engines(4), 4, &values()).await?;
    for count in [8, 2] {
        scale_engines(&namespace, count).await?;
        load.goes_on(&format!("scaled to {count} engines")).await?;
    }
    scale_engines(&namespace, 4).await?;
    replace_engines(&namespace).await?;
    load.goes_on("all engines replaced by new ones").await?;
    let pods = namespace.ready("app=vllm", 4).await?;
    namespace.kill(&pods[0]).await?;
    load.goes_on("an engine killed").await?;
    let tally = load.finish().await;
    ensure!(tally.warm * 2 > tally.served, "prompts were found again in {} of {}", tally.warm, tally.served);
    Ok(())
}

pub(crate) async fn no_request_is_lost_while_a_hundred_engines_change(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let mut load = Load::start(&namespace, engines(4), 4, &values()).await?;
    for round in 1..=10 {
        for count in [8, 2, 4] {
            scale_engines(&namespace, count).await?;
        }
        replace_engines(&namespace).await?;
        load.goes_on(&format!("round {round}")).await?;
    }
    load.finish().await;
    Ok(())
}

pub(crate) async fn no_request_is_lost_with_a_node(namespace: Namespace) -> anyhow::Result<()> {
    let labels = BTreeMap::from([("pool".to_owned(), namespace.name.clone())]);
    let taint = Some(namespace.name.as_str());
    let lost = namespace.cluster.node("churn-1", labels.clone(), taint).await?;
    let other = namespace.cluster.node("churn-2", labels, taint).await?;
    for node in [&lost, &other] {
        node.schedulable().await?;
    }
    let mut spread = engines(4);
    let spec = &mut spread["spec"]["template"]["spec"];
    spec["nodeSelector"] = json!({"pool": namespace.name});
    spec["tolerations"] = json!([{"key": namespace.name, "operator": "Exists"}]);
    spec["topologySpreadConstraints"] = json!([{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "vllm"}},
        // A node that is gone takes no part.
        "nodeTaintsPolicy": "Honor",
    }]);
    let mut load = Load::start(&namespace, spread, 4, &values()).await?;
    lost.power_off().await?;
    load.goes_on("a node lost").await?;
    namespace.ready("app=vllm", 4).await?;
    load.goes_on("its pods replaced").await?;
    load.finish().await;
    Ok(())
}

pub(crate) async fn no_request_is_lost_while_controllers_change(namespace: Namespace) -> anyhow::Result<()> {
    let mut load = Load::start(&namespace, engines(4), 4, &values()).await?;
    let first = leader(&namespace).await?;
    namespace.kill(&first).await?;
    load.goes_on("the leading controller killed").await?;
    load.release.ready("controller", 2).await?;
    let leases: Api<Lease> = namespace.api();
    let stolen = json!({"spec": {"holderIdentity": "somebody-else"}});
    leases.patch(CONTROLLER, &PatchParams::default(), &Patch::Merge(stolen)).await?;
    load.goes_on("the Lease stolen").await?;
    leader(&namespace).await.context("nobody took the stolen Lease back")?;
    without_controllers(&namespace, &mut load, Duration::ZERO).await?;
    let mut changed = values();
    changed["controller"]["log"] = json!("debug");
    changed["gateway"]["logLevel"] = json!("info");
    load.release.upgrade(&changed).await?;
    rolled_out(&namespace, CONTROLLER).await?;
    rolled_out(&namespace, "warmpath-gateway").await?;
    load.goes_on("the chart upgraded").await
}

pub(crate) async fn no_request_is_lost_without_the_api_server(namespace: Namespace) -> anyhow::Result<()> {
    let mut load = Load::start(&namespace, engines(4), 4, &values()).await?;
    without_api_server(&namespace, &mut load, Duration::ZERO).await?;
    load.finish().await;
    Ok(())
}

pub(crate) async fn no_request_is_lost_in_outages_of_a_minute(namespace: Namespace) -> anyhow::Result<()> {
    let mut load = Load::start(&namespace, engines(4), 4, &values()).await?;
    without_controllers(&namespace, &mut load, OUTAGE).await?;
    load.goes_on("the controllers back").await?;
    without_api_server(&namespace, &mut load, OUTAGE).await?;
    load.finish().await;
    Ok(())
}

/// Kills both controllers, and starts others after this time.
async fn without_controllers(namespace: &Namespace, load: &mut Load, time: Duration) -> anyhow::Result<()> {
    let controllers = load.release.ready("controller", 2).await?;
    for controller in &controllers {
        namespace.kill(controller).await?;
    }
    // Their node starts them again at once, and ends them for good when they are not wanted.
    scale(namespace, CONTROLLER, 0).await?;
    until("the controllers to be gone", async || {
        namespace.pods("app.kubernetes.io/component=controller").await.ok()?.is_empty().then_some(())
    })
    .await?;
    load.goes_on_for(time, &format!("no controller, at least {} s", time.as_secs())).await?;
    scale(namespace, CONTROLLER, 2).await?;
    load.release.ready("controller", 2).await.map(drop)
}

/// Kills the API server, starts it again after this time, and lets an engine join.
async fn without_api_server(namespace: &Namespace, load: &mut Load, time: Duration) -> anyhow::Result<()> {
    let control_plane = &namespace.cluster.control_plane;
    control_plane.kill_api_server().await;
    let went_on = load.goes_on_for(time, &format!("no API server, at least {} s", time.as_secs())).await;
    // What explains a failure needs it.
    control_plane.restart_api_server().await?;
    went_on?;
    let added = add_engine(namespace, 5).await?;
    load.reaches(&added).await?;
    load.goes_on("the API server back").await
}
