//! As far as users can see, nodes treat pods as real ones do.

use anyhow::Context;
use http::Method;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use warmpath_cluster::manifests::Engines;
use warmpath_cluster::{Namespace, engine_address, is_ready, until};
use warmpath_http::Client;

/// A pod that runs a shell script.
fn shell(name: &str, script: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 20,
            "containers": [{"name": "main", "image": "busybox", "command": ["sh", "-c", script]}],
        },
    })
}

/// The body of a successful GET.
async fn get(at: std::net::SocketAddr, path: &str) -> anyhow::Result<String> {
    let response = Client::http1(at).send(Method::GET, path, &[], Vec::new().into()).await?;
    anyhow::ensure!(response.status.is_success(), "{}", response.status);
    Ok(String::from_utf8_lossy(&response.body).into_owned())
}

pub(crate) async fn a_deployment_of_engines_becomes_ready_and_reachable(
    namespace: Namespace,
) -> anyhow::Result<()> {
    namespace.apply(Engines::instant("llama").deployment("vllm", 3)).await?;
    let pods = namespace.ready("app=vllm", 3).await?;
    let addresses: std::collections::BTreeSet<_> =
        pods.iter().map(|pod| engine_address(pod).unwrap()).collect();
    assert_eq!(addresses.len(), 3, "each pod has an address of its own");
    for address in addresses {
        let models = get(address, "/v1/models").await?;
        assert!(models.contains("llama"), "{models}");
    }
    let deployments: Api<Deployment> = namespace.api();
    until("the Deployment to be available", async || {
        let status = deployments.get("vllm").await.ok()?.status?;
        (status.available_replicas == Some(3)).then_some(())
    })
    .await
}

pub(crate) async fn a_deletion_lets_a_pod_finish_and_frees_its_name(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let pod = shell(
        "worker",
        "trap 'echo asked; sleep 1; echo finished; exit 0' TERM; echo up; while :; do sleep 0.1; done",
    );
    namespace.apply(pod.clone()).await?;
    namespace.ready("app=worker", 1).await?;
    let log = namespace.log("worker", "main").context("no log")?;
    until("the script to run", async || log.text().contains("up").then_some(())).await?;
    let pods: Api<Pod> = namespace.api();
    let uid = pods.get("worker").await?.metadata.uid;
    pods.delete("worker", &DeleteParams::default()).await?;
    until("the pod to be asked", async || log.text().contains("asked").then_some(())).await?;
    assert!(
        pods.get("worker").await?.metadata.deletion_timestamp.is_some(),
        "it is there until it has ended"
    );
    until("the pod to be gone", async || pods.get_opt("worker").await.ok()?.is_none().then_some(())).await?;
    assert!(log.text().contains("finished"), "{}", log.text());
    namespace.apply(pod).await?;
    let again = namespace.ready("app=worker", 1).await?;
    assert_ne!(again[0].metadata.uid, uid);
    Ok(())
}

pub(crate) async fn a_crash_loop_backs_off(namespace: Namespace) -> anyhow::Result<()> {
    namespace.apply(shell("crashing", "echo up; exit 3")).await?;
    let pods: Api<Pod> = namespace.api();
    let status = until("a second restart and a pause", async || {
        let status = pods.get("crashing").await.ok()?.status?;
        let container = status.container_statuses?.into_iter().next()?;
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let backs_off = waiting.reason.as_deref() == Some("CrashLoopBackOff");
        (backs_off && container.restart_count >= 2).then_some(container)
    })
    .await?;
    let ended = status.last_state.and_then(|state| state.terminated).context("no last state")?;
    assert_eq!(ended.exit_code, 3);
    assert!(!status.ready);
    Ok(())
}

pub(crate) async fn a_lost_node_loses_its_pods_and_others_take_over(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let labels = BTreeMap::from([("pool".to_owned(), namespace.name.clone())]);
    let taint = Some(namespace.name.as_str());
    let lost = namespace.cluster.node("lost-1", labels.clone(), taint).await?;
    let mut deployment = Engines::instant("llama").deployment("vllm", 1);
    let spec = &mut deployment["spec"]["template"]["spec"];
    spec["nodeSelector"] = json!({"pool": namespace.name});
    spec["tolerations"] = json!([{"key": namespace.name, "operator": "Exists"}]);
    namespace.apply(deployment).await?;
    let first = namespace.ready("app=vllm", 1).await?;
    let other = namespace.cluster.node("lost-2", labels, taint).await?;
    other.schedulable().await?;
    lost.power_off().await?;
    assert!(get(engine_address(&first[0])?, "/health").await.is_err(), "its processes are gone");
    let name = first[0].metadata.name.clone().unwrap_or_default();
    let pods: Api<Pod> = namespace.api();
    until("the lost pod to be unready and marked", async || {
        let pod = pods.get(&name).await.ok()?;
        (!is_ready(&pod) && pod.metadata.deletion_timestamp.is_some()).then_some(())
    })
    .await?;
    let second = namespace.ready("app=vllm", 1).await?;
    assert_eq!(second[0].spec.as_ref().and_then(|spec| spec.node_name.as_deref()), Some(other.name()));
    get(engine_address(&second[0])?, "/health").await?;
    Ok(())
}

pub(crate) async fn a_service_leads_to_ready_pods_by_address_and_name(
    namespace: Namespace,
) -> anyhow::Result<()> {
    namespace.apply(Engines::instant("llama").deployment("vllm", 2)).await?;
    namespace
        .apply(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "models"},
            "spec": {"selector": {"app": "vllm"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        }))
        .await?;
    namespace.ready("app=vllm", 2).await?;
    let script = "until exec 3<>/dev/tcp/models/80; do sleep 0.2; done
        printf 'GET /v1/models HTTP/1.1\\r\\nHost: models\\r\\nConnection: close\\r\\n\\r\\n' >&3; cat <&3; sleep infinity";
    let mut client = shell("client", script);
    client["spec"]["containers"][0]["command"] = json!(["bash", "-c", script]);
    namespace.apply(client).await?;
    namespace.ready("app=client", 1).await?;
    let log = namespace.log("client", "main").context("no log")?;
    until("a response by the Service's name", async || log.text().contains("llama").then_some(())).await
}

pub(crate) async fn a_changed_config_map_reaches_a_running_pod(namespace: Namespace) -> anyhow::Result<()> {
    let map = |text: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"value": text}});
    let mut pod = shell("reader", "while :; do cat /etc/warmpath/settings/value; echo; sleep 0.2; done");
    let spec = &mut pod["spec"];
    spec["volumes"] = json!([{"name": "settings", "configMap": {"name": "settings"}}]);
    spec["containers"][0]["volumeMounts"] =
        json!([{"name": "settings", "mountPath": "/etc/warmpath/settings"}]);
    namespace.apply(pod).await?;
    let pods: Api<Pod> = namespace.api();
    until("the pod to wait for its ConfigMap", async || {
        let status = pods.get("reader").await.ok()?.status?;
        let waiting = status.container_statuses?.into_iter().next()?.state?.waiting?;
        (waiting.reason.as_deref() == Some("ContainerCreating")).then_some(())
    })
    .await?;
    namespace.apply(map("first")).await?;
    namespace.ready("app=reader", 1).await?;
    let log = namespace.log("reader", "main").context("no log")?;
    until("the first value", async || log.text().contains("first").then_some(())).await?;
    let maps: Api<ConfigMap> = namespace.api();
    maps.patch("settings", &PatchParams::default(), &Patch::Merge(json!({"data": {"value": "second"}})))
        .await?;
    until("the second value", async || log.text().contains("second").then_some(())).await
}

pub(crate) async fn a_pod_waits_for_its_probes_and_gates(namespace: Namespace) -> anyhow::Result<()> {
    let mut pod = shell("gated", "while [ ! -e /tmp/ready ]; do sleep 0.1; done; echo up; sleep infinity");
    let spec = &mut pod["spec"];
    spec["readinessGates"] = json!([{"conditionType": "warmpath.dev/gate"}]);
    let probe = json!({"exec": {"command": ["sh", "-c", "touch /tmp/ready"]}, "periodSeconds": 1});
    spec["containers"][0]["readinessProbe"] = probe;
    namespace.apply(pod).await?;
    let pods: Api<Pod> = namespace.api();
    let condition = async |kind: &str| {
        let conditions = pods.get("gated").await.ok()?.status?.conditions?;
        conditions
            .into_iter()
            .find(|condition| condition.type_ == kind)
            .map(|condition| condition.status == "True")
    };
    until("the containers to be ready", async || (condition("ContainersReady").await?).then_some(())).await?;
    let log = namespace.log("gated", "main").context("no log")?;
    until("the probe's file", async || log.text().contains("up").then_some(())).await?;
    assert_eq!(condition("Ready").await, Some(false), "the gate is closed");
    let open = json!({"status": {"conditions": [{"type": "warmpath.dev/gate", "status": "True"}]}});
    pods.patch_status("gated", &PatchParams::default(), &Patch::Strategic(open)).await?;
    until("the pod to be ready", async || (condition("Ready").await?).then_some(())).await
}
