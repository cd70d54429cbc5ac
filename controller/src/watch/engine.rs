//! A pod that a ModelService made, reduced to what its status says of how it comes up.

use crate::config::ObjectName;
use k8s_openapi::jiff::Timestamp;
use kube::api::{NotUsed, Object};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use warmpath_core::ids::EndpointId;
use warmpath_deploy::plan::{Asleep, ENDPOINT_LABEL, ROLE_LABEL, SERVICE_LABEL, TAKES_REQUESTS};

/// The annotation with the cost of a pod's deletion: of the pods of a ReplicaSet that shrinks, those with the lowest go first.
pub(crate) const DELETION_COST_ANNOTATION: &str = "controller.kubernetes.io/pod-deletion-cost";
/// The label with the number of a LeaderWorkerSet's group: its pods are one replica, and those of its next life have the same names.
const GROUP_LABEL: &str = "leaderworkerset.sigs.k8s.io/group-index";
/// Phases in which a pod serves nobody ever again. An evicted one stays for as long as nobody deletes it, beside its successor.
const PHASES_OVER: [&str; 2] = ["Failed", "Succeeded"];
/// Bytes of a trouble that are kept.
const TROUBLE_BYTES_MAX: usize = 300;
/// Waits that are no trouble: every container has them when it starts.
const BEGINNINGS: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// A pod of the API without its specification, which is most of a pod and is not read.
pub(super) type ApiEngine = Object<NotUsed, Status>;

/// A pod's status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: Option<IpAddr>,
    start_time: Option<Timestamp>,
    conditions: Vec<Condition>,
    init_container_statuses: Vec<Container>,
    container_statuses: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    r#type: String,
    status: String,
    reason: String,
    message: String,
    #[serde(rename = "lastTransitionTime")]
    since: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    name: String,
    restart_count: u32,
    state: States,
    last_state: States,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct States {
    waiting: Option<State>,
    terminated: Option<State>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct State {
    reason: String,
    message: String,
    exit_code: Option<i32>,
}

/// A pod of a ModelService.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnginePod {
    /// The name of the ModelService.
    pub service: String,
    /// The role that it has there.
    pub role: String,
    /// Whether it takes requests: of a replica of several nodes, one pod does.
    pub is_endpoint: bool,
    /// The group that it is in, if a replica has several pods.
    pub group: Option<String>,
    /// How its engine sleeps, or is about to: it takes no requests meanwhile. None while it is awake.
    pub asleep: Option<Asleep>,
    /// How often its containers have been started again.
    pub restarts: u32,
    /// Whether it is ready.
    pub is_ready: bool,
    /// Whether it is being deleted, or has ended for good.
    pub is_leaving: bool,
    /// The cost of its deletion, as its annotation states it.
    pub deletion_cost: Option<i32>,
    /// Why it does not come up, in words.
    pub trouble: Option<String>,
    /// The hash of its UID, which distinguishes it from an earlier pod of the same name.
    pub identity: u64,
    /// Its address, in the cluster's primary family; none until it has a network.
    pub ip: Option<IpAddr>,
    /// How long it took from the moment at which its node took it until it became ready, in seconds, both by the clock of the node; none
    /// while it is not ready, and after a container was started again. Of one that was not ready for a moment later it is too long.
    pub took_s: Option<u64>,
}

// === impl EnginePod ===

impl EnginePod {
    /// Reads a pod of the API.
    pub(super) fn read(pod: ApiEngine) -> Option<(ObjectName, Self)> {
        let meta = pod.metadata;
        let status = pod.status.unwrap_or_default();
        let name = ObjectName { namespace: meta.namespace.unwrap_or_default(), name: meta.name? };
        let cost = meta.annotations.as_ref().and_then(|all| all.get(DELETION_COST_ANNOTATION));
        let mut labels: BTreeMap<String, String> = meta.labels.unwrap_or_default();
        let takes_requests = labels.remove(ENDPOINT_LABEL);
        let asleep = takes_requests.as_deref().and_then(Asleep::of);
        let ready = status.conditions.iter().find(|it| it.r#type == "Ready" && it.status == "True");
        let restarts =
            status.container_statuses.iter().map(|it| it.restart_count).fold(0, u32::saturating_add);
        let took_s = ready.and_then(|it| Some(it.since?.as_second() - status.start_time?.as_second()));
        let took_s = took_s.and_then(|seconds| u64::try_from(seconds).ok()).filter(|_| restarts == 0);
        let pod = Self {
            service: labels.remove(SERVICE_LABEL).unwrap_or_default(),
            role: labels.remove(ROLE_LABEL).unwrap_or_default(),
            is_endpoint: asleep.is_some() || takes_requests.as_deref() == Some(TAKES_REQUESTS),
            asleep,
            restarts,
            group: labels.remove(GROUP_LABEL),
            is_ready: ready.is_some(),
            is_leaving: meta.deletion_timestamp.is_some() || PHASES_OVER.contains(&status.phase.as_str()),
            deletion_cost: cost.and_then(|cost| cost.parse().ok()),
            trouble: if ready.is_some() { None } else { status.trouble() },
            identity: EndpointId::of(&meta.uid.unwrap_or_default()).0,
            ip: status.pod_ip,
            took_s,
        };
        Some((name, pod))
    }
}

// === impl Status ===

impl Status {
    fn trouble(&self) -> Option<String> {
        let unscheduled = self
            .conditions
            .iter()
            .find(|it| it.r#type == "PodScheduled" && it.status == "False" && !it.reason.is_empty());
        let all = self.init_container_statuses.iter().chain(&self.container_statuses);
        let trouble = unscheduled
            .map(Condition::unscheduled)
            .or_else(|| all.into_iter().find_map(Container::trouble))?;
        let end = trouble.floor_char_boundary(TROUBLE_BYTES_MAX);
        trouble.get(..end).map(str::to_owned)
    }
}

// === impl Condition ===

impl Condition {
    /// Why no node takes the pod. The scheduler says first how many nodes it looked at, then what each lacks.
    fn unscheduled(&self) -> String {
        let is_full = self.message.contains("Insufficient") || self.message.contains("Too many pods");
        let words = match self.reason.as_str() {
            "Unschedulable" if is_full => "no node has room for it",
            "Unschedulable" => "no node takes it",
            other => other,
        };
        format!("{words}: {}", self.message)
    }
}

// === impl Container ===

impl Container {
    fn trouble(&self) -> Option<String> {
        let waiting = self.state.waiting.as_ref().filter(|it| !BEGINNINGS.contains(&it.reason.as_str()));
        let failed = |state: &&State| state.exit_code.is_some_and(|code| code != 0);
        let ended = self.state.terminated.as_ref().or(self.last_state.terminated.as_ref()).filter(failed);
        let words = match (waiting, ended) {
            (Some(waiting), Some(ended)) => format!("{}: it {}", waiting.reason, ended.end()),
            (Some(waiting), None) => format!("{}: {}", waiting.reason, waiting.message),
            (None, Some(ended)) => ended.end(),
            (None, None) => return None,
        };
        Some(format!("container {}: {}", self.name, words.trim_end_matches([':', ' '])))
    }
}

// === impl State ===

impl State {
    /// How it ended: code, reason if that says more, and the last line of its message.
    fn end(&self) -> String {
        let mut words = format!("ended with exit code {}", self.exit_code.unwrap_or_default());
        if !matches!(self.reason.as_str(), "" | "Error") {
            let _ = write!(words, " ({})", self.reason);
        }
        if let Some(line) = self.message.lines().map(str::trim).rfind(|line| !line.is_empty()) {
            let _ = write!(words, ": {line}");
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::{ApiEngine, Asleep, ENDPOINT_LABEL, EnginePod, GROUP_LABEL};
    use serde_json::{Value, json};

    fn trouble(status: &Value) -> Option<String> {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": []}, "status": status});
        EnginePod::read(serde_json::from_value::<ApiEngine>(pod).unwrap()).unwrap().1.trouble
    }

    #[test]
    fn it_shows_how_long_its_start_took_by_one_clock_and_of_its_first_life_only() {
        let read = |ready: &str, restarts: u32, start_time: Value| {
            let pod = json!({
                "metadata": {"name": "p", "uid": "u", "creationTimestamp": "2026-01-01T09:00:00Z"},
                "spec": {},
                "status": {"podIP": "10.0.0.1", "startTime": start_time, "conditions": [
                    {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:02:00Z"},
                    {"type": "Initialized", "status": "True", "lastTransitionTime": null}],
                    "containerStatuses": [{"name": "engine", "restartCount": restarts}]},
            });
            EnginePod::read(serde_json::from_value::<ApiEngine>(pod).unwrap()).unwrap().1
        };
        let started = json!("2026-01-01T00:00:10Z");
        let pod = read("True", 0, started.clone());
        assert_eq!((pod.took_s, pod.ip, pod.is_ready), (Some(110), Some([10, 0, 0, 1].into()), true));
        for (ready, restarts, start_time) in [
            ("False", 0, started.clone()),
            ("True", 1, started),
            ("True", 0, json!(null)),
            ("True", 0, json!("2026-01-01T00:03:00Z")),
        ] {
            assert_eq!(read(ready, restarts, start_time).took_s, None);
        }
    }

    #[test]
    fn it_shows_how_it_sleeps_and_how_often_its_containers_were_started_again() {
        let pod = json!({
            "metadata": {"name": "p", "labels": {ENDPOINT_LABEL: "asleep-1-sent-2"}}, "spec": {},
            "status": {"containerStatuses": [{"name": "engine", "restartCount": 3}, {"name": "sidecar"}]},
        });
        let pod = EnginePod::read(serde_json::from_value::<ApiEngine>(pod).unwrap()).unwrap().1;
        assert_eq!((pod.asleep, pod.restarts), (Some(Asleep { level: 1, sent: Some(2) }), 3));
        assert!(pod.is_endpoint);
    }

    #[test]
    fn an_evicted_pod_is_on_its_way_out_for_as_long_as_it_stays() {
        let read = |phase: &str| {
            let pod = json!({"metadata": {"name": "p", "labels": {GROUP_LABEL: "3"}}, "spec": {}, "status": {"phase": phase}});
            EnginePod::read(serde_json::from_value::<ApiEngine>(pod).unwrap()).unwrap().1
        };
        for (phase, is_over) in
            [("Pending", false), ("Running", false), ("Failed", true), ("Succeeded", true)]
        {
            assert_eq!(read(phase).is_leaving, is_over, "{phase}");
        }
        assert_eq!(read("Running").group.as_deref(), Some("3"));
    }

    #[test]
    fn a_pod_that_does_not_come_up_says_why() {
        for (status, expected) in [
            (json!({}), None),
            (
                json!({"containerStatuses": [{"name": "engine", "state": {"waiting": {"reason": "ContainerCreating"}}}]}),
                None,
            ),
            (
                json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                    "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."}]}),
                Some("no node has room for it: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu."),
            ),
            (
                json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                    "message": "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."}]}),
                Some(
                    "no node takes it: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
                ),
            ),
            (
                json!({"containerStatuses": [{"name": "engine", "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]}),
                Some("container engine: ErrImagePull: not found"),
            ),
            (
                json!({"containerStatuses": [{"name": "engine", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}),
                Some("container engine: CrashLoopBackOff: it ended with exit code 137 (OOMKilled)"),
            ),
            (
                json!({"containerStatuses": [{"name": "engine", "state": {"terminated": {"exitCode": 1, "reason": "Error",
                    "message": "INFO starting\nValueError: max_model_len is too large\n"}}}]}),
                Some("container engine: ended with exit code 1: ValueError: max_model_len is too large"),
            ),
            (
                json!({"conditions": [{"type": "Ready", "status": "True", "lastProbeTime": null}],
                    "containerStatuses": [{"name": "engine", "lastState": {"terminated": {"exitCode": 1}}}]}),
                None,
            ),
        ] {
            assert_eq!(trouble(&status).as_deref(), expected, "{status}");
        }
    }
}
