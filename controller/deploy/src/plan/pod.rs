//! The pod template of a role.

use super::claims;
use super::names::{ENDPOINT_LABEL, LLM_D_ROLE_LABEL, Owner, TAKES_REQUESTS};
use super::volumes::{file_annotation, memory, spread, volumes};
use crate::api::{ModelServiceSpec, RoleName};
use crate::engines::{HTTP_PORT, Launch};
use crate::hardware::{Request, TPU_TOPOLOGY};
use crate::json::put;
use crate::shape::Shape;
use serde_json::{Map, Value, json};

/// The container with the engine.
pub(super) const ENGINE: &str = "engine";
/// The name of a pod's claim of devices.
const DEVICES: &str = "devices";
/// Seconds between the deletion of a pod and SIGTERM: until then, every proxy knows that it leaves.
const PRE_STOP_SECONDS: i32 = 5;
/// Seconds that an engine has to end once its requests have ended. One that hangs has no more: its requests do not end.
const EXIT_SECONDS: i32 = 30;
const PROBE_SECONDS: i32 = 10;
/// The same while it starts: requests wait for it, and are not served until a probe has found it ready.
const STARTUP_PROBE_SECONDS: i32 = 2;
const PORTS_ANNOTATION: &str = "llm-d.ai/active-ports";

/// What a pod template is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pod<'a> {
    pub(super) owner: &'a Owner<'a>,
    pub(super) spec: &'a ModelServiceSpec,
    pub(super) shape: &'a Shape<'a>,
    pub(super) launch: &'a Launch,
    /// Ports of the pool, of which this role may use fewer.
    pub(super) ports: u32,
}

// === impl Pod ===

impl Pod<'_> {
    /// The template. A worker of a replica of several nodes may take no requests of its own.
    pub(super) fn template(self, is_worker: bool) -> Value {
        let takes_requests = !is_worker || self.launch.all_serve;
        json!({"metadata": self.metadata(takes_requests), "spec": self.pod(is_worker, takes_requests)})
    }

    fn metadata(self, takes_requests: bool) -> Value {
        let mut labels = self.owner.labels(Some(self.shape.name));
        if takes_requests {
            labels.insert(ENDPOINT_LABEL.to_owned(), TAKES_REQUESTS.into());
        }
        if self.shape.name != RoleName::Serve {
            labels.insert(LLM_D_ROLE_LABEL.to_owned(), self.shape.name.as_str().into());
        }
        let mut annotations = Map::new();
        for (name, text) in &self.launch.files {
            annotations.insert(file_annotation(name), text.as_str().into());
        }
        if self.shape.ranks_per_pod < self.ports {
            let ports = (0..self.shape.ranks_per_pod)
                .map(|rank| u32::from(HTTP_PORT).saturating_add(rank).to_string());
            annotations.insert(PORTS_ANNOTATION.to_owned(), ports.collect::<Vec<_>>().join(",").into());
        }
        let mut metadata = json!({"labels": labels});
        if !annotations.is_empty() {
            put(&mut metadata, "annotations", annotations);
        }
        metadata
    }

    fn pod(self, is_worker: bool, takes_requests: bool) -> Value {
        let Self { owner, spec, shape, launch, .. } = self;
        let volumes = volumes(spec, shape, launch);
        let grace = spec.rollout.drain_seconds.saturating_add(PRE_STOP_SECONDS + EXIT_SECONDS);
        let labels = Value::from(owner.labels(Some(shape.name)));
        let mut pod = json!({
            "terminationGracePeriodSeconds": grace,
            "enableServiceLinks": false,
            "containers": [self.container(is_worker, takes_requests, &volumes.mounts)],
            "volumes": volumes.volumes,
            "topologySpreadConstraints": spread(spec, &labels),
        });
        match &spec.placement.service_account_name {
            Some(name) => put(&mut pod, "serviceAccountName", name.as_str()),
            None => put(&mut pod, "automountServiceAccountToken", false),
        }
        if let Some(name) = &spec.placement.priority_class_name {
            put(&mut pod, "priorityClassName", name.as_str());
        }
        let secrets: Vec<Value> = spec.engine.pull_secrets.iter().map(|name| json!({"name": name})).collect();
        let selector = self.node_selector();
        let tolerations = self.tolerations();
        let lists = [("imagePullSecrets", secrets), ("tolerations", tolerations)];
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            put(&mut pod, name, list);
        }
        if !selector.is_empty() {
            put(&mut pod, "nodeSelector", selector);
        }
        let terms: Vec<Value> = shape
            .device
            .preset
            .map(|preset| preset.nodes)
            .unwrap_or_default()
            .iter()
            .map(|term| json!({"matchExpressions": [{"key": term.label, "operator": "In", "values": term.values}]}))
            .collect();
        if !terms.is_empty() {
            put(
                &mut pod,
                "affinity",
                json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}),
            );
        }
        if let Some(Request::Claim(_)) = shape.device.request {
            put(
                &mut pod,
                "resourceClaims",
                json!([{"name": DEVICES, "resourceClaimTemplateName": claims::name(owner, shape)}]),
            );
        }
        pod
    }

    fn container(self, is_worker: bool, takes_requests: bool, mounts: &[Value]) -> Value {
        let Self { spec, shape, launch, .. } = self;
        let args = launch.worker_args.as_ref().filter(|_| is_worker).unwrap_or(&launch.args);
        let mut container = json!({
            "name": ENGINE,
            "image": shape.image,
            "command": launch.command,
            "args": args,
            "env": self.env(),
            "volumeMounts": mounts,
            "resources": self.resources(),
            // The last lines of the log become the reason that the status shows.
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        });
        if let Some(policy) = &spec.engine.pull_policy {
            put(&mut container, "imagePullPolicy", serde_json::to_value(policy).unwrap_or_default());
        }
        if takes_requests {
            let ports = launch.ports.iter().map(|(name, port)| json!({"name": name, "containerPort": port}));
            put(&mut container, "ports", ports.collect::<Vec<Value>>());
            let (path, port) = &launch.health;
            let probe = |period: i32, timeout: i32, failures: i32| json!({"httpGet": {"path": path, "port": port}, "periodSeconds": period, "timeoutSeconds": timeout, "failureThreshold": failures});
            let restarting = |mut probe: Value| {
                put(&mut probe, "terminationGracePeriodSeconds", PRE_STOP_SECONDS + EXIT_SECONDS);
                probe
            };
            let starts = spec.rollout.startup_seconds.checked_div(STARTUP_PROBE_SECONDS).unwrap_or(1).max(1);
            put(
                &mut container,
                "startupProbe",
                restarting(probe(STARTUP_PROBE_SECONDS, STARTUP_PROBE_SECONDS, starts)),
            );
            put(&mut container, "readinessProbe", probe(5, 5, 3));
            // A step with long prompts may take seconds, in which some engines do not respond.
            put(&mut container, "livenessProbe", restarting(probe(PROBE_SECONDS, 10, 6)));
        }
        if self.rdma().is_some() {
            // Memory that devices write to must not be swapped out.
            put(&mut container, "securityContext", json!({"capabilities": {"add": ["IPC_LOCK"]}}));
        }
        container
    }

    /// The engine's variables, then the user's, of which each replaces one of the same name.
    fn env(self) -> Vec<Value> {
        let own = self.spec.engine.additions.env.iter().chain(&self.shape.role.additions.env);
        let mut all: Vec<Value> = self.launch.env.clone();
        for variable in own {
            let value = serde_json::to_value(variable).unwrap_or_default();
            match all.iter_mut().find(|known| known.get("name") == value.get("name")) {
                Some(known) => *known = value,
                None => all.push(value),
            }
        }
        all
    }

    fn resources(self) -> Value {
        let shape = self.shape;
        let (mut requests, mut limits) = (Map::new(), Map::new());
        if let Some(Request::Resource(name)) = shape.device.request {
            limits.insert(name.to_owned(), shape.devices_per_pod.to_string().into());
        }
        if let Some((name, count)) = self.rdma() {
            limits.insert(name.to_owned(), count.to_string().into());
        }
        if let Some(cpu) = shape.role.hardware.requests.as_ref().and_then(|requests| requests.cpu.as_ref()) {
            requests.insert("cpu".to_owned(), cpu.as_str().into());
        }
        if let Some(memory) = memory(self.spec, shape) {
            requests.insert("memory".to_owned(), memory.as_str().into());
            limits.insert("memory".to_owned(), memory.as_str().into());
        }
        let mut resources = Map::new();
        if let Some(Request::Claim(_)) = shape.device.request {
            resources.insert("claims".to_owned(), json!([{"name": DEVICES}]));
        }
        for (name, amounts) in [("limits", limits), ("requests", requests)] {
            if !amounts.is_empty() {
                resources.insert(name.to_owned(), amounts.into());
            }
        }
        resources.into()
    }

    fn rdma(&self) -> Option<(&str, u32)> {
        let rdma = self.spec.transfer.as_ref().and_then(|transfer| transfer.rdma.as_ref());
        rdma.map(|rdma| (rdma.resource.as_str(), rdma.count))
    }

    fn node_selector(&self) -> Map<String, Value> {
        let own = self.shape.role.hardware.node_selector.iter();
        let mut selector: Map<String, Value> =
            own.map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        let topologies = self.shape.device.preset.map(|preset| preset.topologies).unwrap_or_default();
        if let Some((_, topology)) = topologies.iter().find(|(count, _)| *count == self.shape.devices_per_pod)
        {
            selector.insert(TPU_TOPOLOGY.to_owned(), (*topology).into());
        }
        selector
    }

    fn tolerations(&self) -> Vec<Value> {
        let taint = match self.shape.device.request {
            Some(Request::Resource(name)) => {
                Some(json!({"key": name, "operator": "Exists", "effect": "NoSchedule"}))
            }
            _ => None,
        };
        let own = self.shape.role.hardware.tolerations.iter();
        taint.into_iter().chain(own.map(|own| serde_json::to_value(own).unwrap_or_default())).collect()
    }
}
