//! The status of a pod, which follows from the states of its containers.
//!
//! Pure: containers change the board, and the status is computed from it.

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The state of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It does not run, for this reason, with this message.
    Waiting(&'static str, String),
    /// It runs since then.
    Running(Timestamp),
    /// It has ended.
    Terminated(Ended),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) started: Timestamp,
    pub(super) finished: Timestamp,
}

/// One container of a pod.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) state: State,
    pub(super) last: Option<Ended>,
    pub(super) restarts: i32,
    /// The startup probe has succeeded, or there is none.
    pub(super) is_started: bool,
    /// The readiness probe succeeds, or there is none.
    pub(super) is_ready: bool,
}

/// All that is known of a pod.
#[derive(Clone, Debug)]
pub(super) struct Board {
    pub(super) address: Option<Ipv4Addr>,
    pub(super) started: Timestamp,
    pub(super) init: Vec<Entry>,
    pub(super) main: Vec<Entry>,
    /// Whether a container that ended starts again: always, after a failure, never.
    pub(super) restarts_after: Restart,
    /// The conditions' values, each since when.
    pub(super) conditions: BTreeMap<&'static str, (bool, Timestamp)>,
}

/// A pod's restart policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    OnFailure,
    Never,
}

// === impl Restart ===

impl Restart {
    pub(super) fn of(pod: &Pod) -> Self {
        match pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) {
            Some("Never") => Self::Never,
            Some("OnFailure") => Self::OnFailure,
            _ => Self::Always,
        }
    }

    /// Whether a container that ended with this code starts again.
    pub(super) fn after(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

// === impl Entry ===

impl Entry {
    fn new(container: &Container) -> Self {
        Self {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            state: State::Waiting("PodInitializing", String::new()),
            last: None,
            restarts: 0,
            is_started: false,
            is_ready: false,
        }
    }

    fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    fn has_ended(&self, succeeded: bool) -> bool {
        matches!(&self.state, State::Terminated(ended) if (ended.code == 0) == succeeded)
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "image": self.image,
            "imageID": format!("local/{}", self.image),
            "containerID": format!("process://{}-{}", self.name, self.restarts),
            "ready": self.is_ready && self.is_running(),
            "started": self.is_started && self.is_running(),
            "restartCount": self.restarts,
            "state": match &self.state {
                State::Waiting(reason, message) => json!({"waiting": {"reason": reason, "message": message}}),
                State::Running(since) => json!({"running": {"startedAt": seconds(*since)}}),
                State::Terminated(ended) => ended.json(),
            },
            "lastState": self.last.as_ref().map_or_else(|| json!({}), Ended::json),
        })
    }
}

// === impl Ended ===

impl Ended {
    fn json(&self) -> Value {
        json!({"terminated": {
            "exitCode": self.code,
            "reason": if self.code == 0 { "Completed" } else { "Error" },
            "startedAt": seconds(self.started),
            "finishedAt": seconds(self.finished),
        }})
    }
}

// === impl Board ===

impl Board {
    pub(super) fn new(pod: &Pod) -> Self {
        let spec = pod.spec.as_ref();
        let init = spec.and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten();
        let main = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
        Self {
            address: None,
            started: Timestamp::now(),
            init: init.map(Entry::new).collect(),
            main: main.iter().map(Entry::new).collect(),
            restarts_after: Restart::of(pod),
            conditions: BTreeMap::new(),
        }
    }

    /// The phase, as users see it.
    pub(super) fn phase(&self) -> &'static str {
        let is_over = |entry: &Entry| match &entry.state {
            State::Terminated(ended) => !self.restarts_after.after(ended.code),
            _ => false,
        };
        let init_failed = self.init.iter().any(|entry| entry.has_ended(false) && is_over(entry));
        if init_failed
            || (self.main.iter().all(is_over) && self.main.iter().any(|entry| entry.has_ended(false)))
        {
            return "Failed";
        }
        if self.main.iter().all(is_over) {
            return "Succeeded";
        }
        let has_begun = |entry: &Entry| {
            entry.is_running() || entry.restarts > 0 || entry.last.is_some() || is_over(entry)
        };
        if self.main.iter().any(has_begun) { "Running" } else { "Pending" }
    }

    /// The status that is published; `pod` has the conditions that others set.
    pub(super) fn json(&mut self, pod: &Pod) -> Value {
        let are_ready = self.main.iter().all(|entry| entry.is_ready && entry.is_running());
        let are_initialized = self.init.iter().all(|entry| entry.has_ended(true));
        let values = [
            ("Initialized", are_initialized),
            ("Ready", are_ready && gates_are_open(pod)),
            ("ContainersReady", are_ready),
        ];
        for (kind, is_true) in values {
            // A condition keeps its time for as long as it keeps its value.
            if self.conditions.get(kind).is_none_or(|(before, _)| *before != is_true) {
                self.conditions.insert(kind, (is_true, Timestamp::now()));
            }
        }
        let conditions = self.conditions.iter().map(|(kind, (is_true, since))| {
            let status = if *is_true { "True" } else { "False" };
            json!({"type": kind, "status": status, "lastTransitionTime": seconds(*since)})
        });
        let mut status = json!({
            "phase": self.phase(),
            "startTime": seconds(self.started),
            "conditions": conditions.collect::<Vec<_>>(),
            "containerStatuses": self.main.iter().map(Entry::json).collect::<Vec<_>>(),
            "initContainerStatuses": self.init.iter().map(Entry::json).collect::<Vec<_>>(),
            "hostIP": crate::network::HOST,
        });
        if let (Some(address), Some(fields)) = (self.address, status.as_object_mut()) {
            fields.insert("podIP".to_owned(), json!(address));
            fields.insert("podIPs".to_owned(), json!([{"ip": address}]));
        }
        status
    }
}

/// Whether others have set the conditions that the pod waits for.
fn gates_are_open(pod: &Pod) -> bool {
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let conditions = || pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    gates
        .into_iter()
        .all(|gate| conditions().any(|other| other.type_ == gate.condition_type && other.status == "True"))
}

/// Kubernetes' times have no fractions.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(policy: &str) -> Board {
        let pod = json!({"spec": {"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]}});
        Board::new(&serde_json::from_value(pod).unwrap())
    }

    fn ended(code: i32) -> State {
        let now = Timestamp::now();
        State::Terminated(Ended { code, started: now, finished: now })
    }

    #[test]
    fn the_phase_follows_from_containers_and_policy() {
        let running = || State::Running(Timestamp::now());
        for (policy, states, expected) in [
            ("Always", [running(), running()], "Running"),
            ("Always", [ended(0), running()], "Running"),
            ("OnFailure", [ended(0), ended(0)], "Succeeded"),
            ("Never", [ended(0), ended(1)], "Failed"),
            ("Never", [ended(1), running()], "Running"),
        ] {
            let mut board = board(policy);
            for (entry, state) in board.main.iter_mut().zip(states) {
                entry.state = state;
            }
            assert_eq!(board.phase(), expected, "{policy}");
        }
        assert_eq!(board("Always").phase(), "Pending");
    }

    #[test]
    fn a_pod_is_ready_when_its_containers_and_gates_are() {
        let pod = |status: &str| -> Pod {
            serde_json::from_value(json!({
                "spec": {"containers": [{"name": "a"}], "readinessGates": [{"conditionType": "gate"}]},
                "status": {"conditions": [{"type": "gate", "status": status}]},
            }))
            .unwrap()
        };
        let mut board = Board::new(&pod("True"));
        for entry in &mut board.main {
            entry.state = State::Running(Timestamp::now());
            entry.is_ready = true;
        }
        for status in ["True", "False"] {
            let published = board.json(&pod(status));
            let conditions = published["conditions"].as_array().unwrap();
            let of =
                |kind: &str| conditions.iter().find(|other| other["type"] == kind).unwrap()["status"].clone();
            assert_eq!(of("Ready"), status);
            assert_eq!(of("ContainersReady"), "True");
        }
    }
}
