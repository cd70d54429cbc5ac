//! ModelServices become running engines, and stay so: made by the chart, scaled, edited, taken over, deleted.

use crate::gateway::values;
use crate::load::Load;
use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use warmpath_cluster::{Call, Namespace, Release, engine_address, until};
use warmpath_http::Client;

/// The model of the tests, and the ModelService that the chart makes of it.
pub(crate) const MODEL: &str = "meta-llama/Llama-3.1-8B-Instruct";
pub(crate) const SERVICE: &str = "llama-3-1-8b-instruct";

/// The controller's account, whose calls are counted.
const ACCOUNT: &str = "warmpath-controller";

/// The label of all that ModelServices become.
const MADE_HERE: &str = "app.kubernetes.io/managed-by=warmpath";

/// How long an outage takes in the test that is run only when asked for.
const OUTAGE: Duration = Duration::from_mins(1);

/// The values of the project's first promise, with two controllers and two Envoys that stop quickly.
pub(crate) fn seed(prefill: u32, decode: u32) -> Value {
    let mut seed = values();
    seed["model"] = json!({"name": MODEL});
    seed["prefill"] = json!({"replicas": prefill});
    seed["decode"] = json!({"replicas": decode});
    seed["gpu"] = json!({"type": "nvidia-h100"});
    seed
}

pub(crate) fn role(name: &str) -> String {
    format!("warmpath.dev/model-service={SERVICE},warmpath.dev/role={name}")
}

/// Waits until the ModelService's status has a condition with this status and reason; returns its message.
pub(crate) async fn condition(
    namespace: &Namespace,
    kind: &str,
    status: &str,
    reason: &str,
) -> anyhow::Result<String> {
    condition_of(namespace, SERVICE, kind, status, reason).await
}

async fn condition_of(
    namespace: &Namespace,
    name: &str,
    kind: &str,
    status: &str,
    reason: &str,
) -> anyhow::Result<String> {
    let api = namespace.model_services();
    let mut last = None;
    let what = format!("{kind}={status} ({reason}) of ModelService {name}");
    let found = until(&what, async || {
        let service = api.get(name).await.ok()?;
        let generation = service.metadata.generation;
        last = service.data.get("status").cloned();
        let conditions = last.as_ref()?.get("conditions")?.as_array()?;
        let condition = conditions.iter().find(|it| it["type"] == kind)?;
        let is_it = condition["status"] == status
            && (reason.is_empty() || condition["reason"] == reason)
            && condition["observedGeneration"].as_i64() == generation;
        is_it.then(|| condition["message"].as_str().unwrap_or_default().to_owned())
    });
    found.await.with_context(|| format!("the last status: {last:?}"))
}

/// Waits until the status has these words.
pub(crate) async fn says(namespace: &Namespace, words: &str) -> anyhow::Result<()> {
    let api = namespace.model_services();
    let mut last = String::new();
    let what = format!("{words} in the status of the ModelService");
    let found = until(&what, async || {
        last = api.get(SERVICE).await.ok()?.data.get("status")?.to_string();
        last.contains(words).then_some(())
    });
    found.await.with_context(|| format!("the last status: {last}"))
}

/// Waits until a ModelService is ready.
pub(crate) async fn ready(namespace: &Namespace, name: &str) -> anyhow::Result<()> {
    condition_of(namespace, name, "Ready", "True", "").await.map(drop)
}

/// Changes the ModelService's specification.
pub(crate) async fn edit(namespace: &Namespace, spec: Value) -> anyhow::Result<()> {
    let patch = Patch::Merge(json!({"spec": spec}));
    namespace.model_services().patch(SERVICE, &PatchParams::default(), &patch).await?;
    Ok(())
}

pub(crate) async fn deployment(namespace: &Namespace, role: &str) -> anyhow::Result<Deployment> {
    let api: Api<Deployment> = namespace.api();
    let labels = ListParams::default().labels(&self::role(role));
    api.list(&labels).await?.items.pop().with_context(|| format!("no Deployment for the role {role}"))
}

/// What the controller has written so far, besides its Lease.
fn writes(namespace: &Namespace) -> Vec<Call> {
    let calls = namespace.cluster.control_plane.calls(&namespace.name, ACCOUNT);
    let is_write = |call: &Call| {
        ["create", "update", "patch", "delete"].contains(&call.verb.as_str())
            && call.resource() != "leases.coordination.k8s.io"
    };
    calls.into_iter().filter(is_write).collect()
}

/// Waits until everything with these labels is gone.
pub(crate) async fn nothing_left(namespace: &Namespace, labels: &str) -> anyhow::Result<()> {
    let kinds = "pods,services,deployments,replicasets,leaderworkersets,statefulsets,configmaps,poddisruptionbudgets,inferencepools.inference.networking.k8s.io,modelservices";
    let mut left = String::new();
    until("all that the ModelService became to be gone", async || {
        left = namespace.kubectl(&["get", kinds, "-l", labels, "-o", "name"]).await.ok()?.stdout;
        left.is_empty().then_some(())
    })
    .await
    .with_context(|| format!("left: {left}"))
}

async fn installed(namespace: &Namespace, values: &Value) -> anyhow::Result<Release> {
    let release = namespace.install(values).await?;
    release.ready("controller", 2).await?;
    ready(namespace, SERVICE).await?;
    Ok(release)
}

pub(crate) async fn the_charts_keys_become_engines_that_serve_scale_and_go(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let release = installed(&namespace, &seed(2, 4)).await?;
    namespace.ready(&role("prefill"), 2).await?;
    namespace.ready(&role("decode"), 4).await?;
    let mut load = Load::through(&namespace, release, MODEL, &role("decode")).await?;
    load.goes_on("2 prefill and 4 decode engines").await?;
    load.release.upgrade(&seed(2, 6)).await?;
    namespace.ready(&role("decode"), 6).await?;
    ready(&namespace, SERVICE).await?;
    load.goes_on("6 decode engines").await?;
    prompts_come_from_other_engines(&namespace).await?;
    let release = load.release.clone();
    load.finish().await;
    let shown =
        namespace.kubectl(&["get", "modelservices,inferencepools.inference.networking.k8s.io"]).await?;
    println!("{}{}", shown.stdout, shown.stderr);
    let described = namespace.kubectl(&["describe", "modelservice", SERVICE]).await?.stdout;
    ensure!(described.contains("Created"), "no Event says what was made: {described}");
    release.uninstall().await?;
    nothing_left(&namespace, MADE_HERE).await
}

/// Fails if an engine could not fetch a prompt: the router would have the request computed anew, and nobody would notice.
async fn prompts_come_from_other_engines(namespace: &Namespace) -> anyhow::Result<()> {
    let mut handed_over = 0;
    for pod in namespace.pods(MADE_HERE).await? {
        let state = Client::http1(engine_address(&pod)?).get("/sim/state").await?.json();
        ensure!(state["legs"]["fetches_failed"] == 0, "{}", state["fetch_error"]);
        handed_over += state["legs"]["prompts_fetched"].as_u64().unwrap_or_default();
    }
    println!("{handed_over} prompts came from other engines");
    Ok(())
}

pub(crate) async fn what_is_as_it_should_be_is_not_written_again(namespace: Namespace) -> anyhow::Result<()> {
    let release = installed(&namespace, &seed(1, 1)).await?;
    let before = writes(&namespace);
    ensure!(!before.is_empty(), "the audit log has no writes");
    // A new leader knows nothing, and lists everything anew.
    let pods: Api<Pod> = namespace.api();
    for controller in release.ready("controller", 2).await? {
        pods.delete(controller.metadata.name.as_deref().unwrap(), &DeleteParams::default()).await?;
    }
    release.ready("controller", 2).await?;
    touched_and_observed(&namespace).await?;
    let after = writes(&namespace);
    let of_objects = |call: &&Call| !call.uri.contains("/status") && !call.resource().starts_with("events");
    let [before, after] = [&before, &after].map(|all| all.iter().filter(of_objects).collect::<Vec<_>>());
    ensure!(before.len() == after.len(), "written again: {:?}", &after[before.len()..]);
    Ok(())
}

/// Annotates the ModelService, and waits until a controller has observed another generation: it has looked at everything then.
async fn touched_and_observed(namespace: &Namespace) -> anyhow::Result<()> {
    // A field that changes nothing of what is made.
    edit(namespace, json!({"objectives": {"ttftMilliseconds": 500}})).await?;
    ready(namespace, SERVICE).await
}

pub(crate) async fn a_field_that_somebody_takes_over_stays_as_they_set_it(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let release = installed(&namespace, &seed(1, 2)).await?;
    let mut load = Load::through(&namespace, release, MODEL, &role("decode")).await?;
    let decode = deployment(&namespace, "decode").await?;
    let name = decode.metadata.name.context("a Deployment without a name")?;
    let scaled = namespace.kubectl(&["scale", "deployment", &name, "--replicas=3"]).await?;
    ensure!(scaled.is_success, "{}", scaled.stderr);
    let message = condition(&namespace, "Applied", "False", "FieldsOfOthers").await?;
    ensure!(message.contains(".spec.replicas is set by kubectl"), "{message}");
    namespace.ready(&role("decode"), 3).await?;
    // The rest of the object stays ours.
    edit(&namespace, json!({"engine": {"env": [{"name": "SEEN", "value": "yes"}]}})).await?;
    until("the new template beside the replicas of somebody else", async || {
        let spec = deployment(&namespace, "decode").await.ok()?.spec?;
        let env = spec.template.spec?.containers.into_iter().next()?.env?;
        (env.iter().any(|it| it.name == "SEEN") && spec.replicas == Some(3)).then_some(())
    })
    .await?;
    load.goes_on("a field taken over").await?;
    load.finish().await;
    Ok(())
}

pub(crate) async fn an_object_of_somebody_else_is_left_alone(namespace: Namespace) -> anyhow::Result<()> {
    let foreign = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE},
        "spec": {"selector": {"app": "other"}, "ports": [{"port": 80}]},
    });
    namespace.apply(foreign).await?;
    namespace.install(&seed(1, 1)).await?;
    let message = condition(&namespace, "Applied", "False", "NameTaken").await?;
    ensure!(message.contains(SERVICE), "{message}");
    let api: Api<Service> = namespace.api();
    let spec = api.get(SERVICE).await?.spec.context("a Service without a spec")?;
    ensure!(spec.selector.is_some_and(|labels| labels.contains_key("app")), "it was changed");
    // Mended by the user, it goes on by itself.
    api.delete(SERVICE, &DeleteParams::default()).await?;
    condition(&namespace, "Applied", "True", "").await.map(drop)
}

pub(crate) async fn an_edit_that_cannot_be_carried_out_keeps_what_runs(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let release = installed(&namespace, &seed(1, 2)).await?;
    let uids = async || {
        let pods = namespace.pods(&role("decode")).await?;
        anyhow::Ok(pods.into_iter().filter_map(|pod| pod.metadata.uid).collect::<BTreeSet<_>>())
    };
    let before = uids().await?;
    let mut load = Load::through(&namespace, release, MODEL, &role("decode")).await?;
    // The API server refuses this one, and says where.
    let refused = edit(&namespace, json!({"roles": {"decode": {"replicas": {"min": -1}}}})).await;
    ensure!(
        refused.is_err_and(|error| format!("{error:?}").contains("replicas")),
        "a negative count is taken"
    );
    // This one passes the schema, and no node could run it.
    edit(&namespace, json!({"roles": {"decode": {"parallelism": {"tensor": 12}}}})).await?;
    let message = condition(&namespace, "Valid", "False", "").await?;
    ensure!(message.contains("spec.roles.decode.parallelism"), "{message}");
    load.goes_on("an edit that no node could run").await?;
    edit(&namespace, json!({"roles": {"decode": {"parallelism": null}}})).await?;
    // Images that nobody has, or that end at once: the rollout waits, and says what for.
    namespace.cluster.add_vllm_that_exits("registry.example.com/exits", 3)?;
    for (image, trouble) in [
        ("registry.example.com/no-such:1", "ErrImagePull"),
        ("registry.example.com/exits:1", "CrashLoopBackOff: it ended with exit code 3"),
    ] {
        edit(&namespace, json!({"engine": {"image": image}})).await?;
        let message = condition(&namespace, "Degraded", "True", "").await?;
        says(&namespace, trouble).await.with_context(|| format!("at first: {message}"))?;
        load.goes_on(trouble).await?;
        let still = uids().await?;
        ensure!(before.is_subset(&still), "a pod that served was removed: {before:?} {still:?}");
    }
    edit(&namespace, json!({"engine": {"image": null}})).await?;
    ready(&namespace, SERVICE).await?;
    condition(&namespace, "Degraded", "False", "").await?;
    load.goes_on("the image mended").await?;
    load.finish().await;
    Ok(())
}

pub(crate) async fn no_request_is_lost_while_a_model_changes(namespace: Namespace) -> anyhow::Result<()> {
    let release = installed(&namespace, &seed(1, 3)).await?;
    let mut load = Load::through(&namespace, release, MODEL, &role("decode")).await?;
    edit(&namespace, json!({"engine": {"env": [{"name": "ROLLED", "value": "1"}]}})).await?;
    until("all engines to be new ones", async || {
        let pods = namespace.pods(&role("decode")).await.ok()?;
        let is_new = |pod: &Pod| {
            let env =
                pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|it| it.env.iter().flatten());
            env.into_iter().any(|it| it.name == "ROLLED")
        };
        (pods.len() == 3 && pods.iter().all(is_new)).then_some(())
    })
    .await?;
    ready(&namespace, SERVICE).await?;
    load.goes_on("all engines replaced by new ones").await?;
    // The leader is killed while it carries this out.
    let leader = crate::churn::leader(&namespace).await?;
    edit(&namespace, json!({"roles": {"decode": {"replicas": {"min": 5}}}})).await?;
    namespace.kill(&leader).await?;
    namespace.ready(&role("decode"), 5).await?;
    ready(&namespace, SERVICE).await?;
    load.goes_on("the leader killed while it scaled to 5").await?;
    edit(&namespace, json!({"roles": {"decode": {"replicas": {"min": 2}}}})).await?;
    namespace.ready(&role("decode"), 2).await?;
    load.goes_on("scaled to 2").await?;
    load.finish().await;
    Ok(())
}

pub(crate) async fn a_model_survives_the_api_server(namespace: Namespace) -> anyhow::Result<()> {
    outage(namespace, Duration::ZERO).await
}

pub(crate) async fn a_model_survives_an_outage_of_a_minute(namespace: Namespace) -> anyhow::Result<()> {
    outage(namespace, OUTAGE).await
}

async fn outage(namespace: Namespace, time: Duration) -> anyhow::Result<()> {
    let release = installed(&namespace, &seed(1, 2)).await?;
    let mut load = Load::through(&namespace, release, MODEL, &role("decode")).await?;
    let control_plane = &namespace.cluster.control_plane;
    control_plane.kill_api_server().await;
    let went_on = load.goes_on_for(time, &format!("no API server, at least {} s", time.as_secs())).await;
    control_plane.restart_api_server().await?;
    went_on?;
    edit(&namespace, json!({"roles": {"decode": {"replicas": {"min": 3}}}})).await?;
    namespace.ready(&role("decode"), 3).await?;
    ready(&namespace, SERVICE).await?;
    load.goes_on("the API server back").await?;
    load.finish().await;
    Ok(())
}

pub(crate) async fn a_model_deleted_while_it_scales_leaves_nothing(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let release = installed(&namespace, &seed(1, 1)).await?;
    let mut load = Load::through(&namespace, release, MODEL, &role("decode")).await?;
    let other = json!({
        "apiVersion": "warmpath.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "other"},
        "spec": {
            "model": {"name": "other"},
            "roles": {"serve": {"replicas": {"min": 6}, "hardware": {"gpu": {"type": "nvidia-h100"}}}},
        },
    });
    namespace.apply(other).await?;
    let of_other = "warmpath.dev/model-service=other";
    until("its first engines", async || (!namespace.pods(of_other).await.ok()?.is_empty()).then_some(()))
        .await?;
    namespace.model_services().delete("other", &DeleteParams::default()).await?;
    nothing_left(&namespace, of_other).await?;
    load.goes_on("another model deleted while its engines started").await?;
    load.finish().await;
    edit(&namespace, json!({"roles": {"decode": {"replicas": {"min": 6}}}})).await?;
    namespace.model_services().delete(SERVICE, &DeleteParams::default()).await?;
    nothing_left(&namespace, MADE_HERE).await
}
