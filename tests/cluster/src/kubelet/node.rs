//! A node: its object and its lease, and the pods that are bound to it.

use super::addresses::Addresses;
use super::image::Images;
use super::pod::{self, Desired};
use crate::network;
use crate::process::Log;
use crate::service::Names;
use crate::wait::until;
use anyhow::Context;
use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_pods};
use kube::{Api, Client};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{interval, timeout};

/// How often a node says that it is there.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);

/// How long one call of the API server may take before the next is tried.
const CALL_TIME_MAX: Duration = Duration::from_secs(5);

/// Who writes the fields of nodes and leases.
const MANAGER: &str = "process-kubelet";

/// What the parts of a node share.
pub(super) struct NodeContext {
    pub(super) name: String,
    pub(super) client: Client,
    pub(super) images: Arc<Images>,
    pub(super) names: Arc<Names>,
    pub(super) folder: PathBuf,
    pub(super) addresses: Addresses,
    /// The processes of each pod, by its namespace and name.
    processes: Mutex<BTreeMap<(String, String), BTreeSet<i32>>>,
    is_connected: watch::Sender<bool>,
}

/// A node of the cluster. Dropping it ends its processes, and leaves its object.
pub struct Node {
    context: Arc<NodeContext>,
    tasks: JoinSet<()>,
}

/// How a node is made.
pub(crate) struct Setting {
    pub(crate) name: String,
    /// The third number of its pods' addresses.
    pub(crate) number: u8,
    pub(crate) labels: BTreeMap<String, String>,
    /// Keeps all pods away that do not tolerate this key.
    pub(crate) taint: Option<String>,
    /// Leaves its pods alone.
    pub(crate) is_hollow: bool,
    pub(crate) client: Client,
    pub(crate) images: Arc<Images>,
    pub(crate) names: Arc<Names>,
    pub(crate) folder: PathBuf,
}

/// The pods of a node, by their UIDs.
#[derive(Default)]
struct Pods {
    running: BTreeMap<String, (watch::Sender<Desired>, AbortHandle)>,
    tasks: JoinSet<()>,
}

// === impl Node ===

impl Node {
    /// Registers the node and starts it.
    pub(crate) async fn start(setting: Setting) -> anyhow::Result<Self> {
        register(&setting).await.with_context(|| format!("cannot register node {}", setting.name))?;
        let Setting { name, number, is_hollow, client, images, names, folder, .. } = setting;
        let context = Arc::new(NodeContext {
            name,
            client,
            images,
            names,
            folder,
            addresses: Addresses::new(number),
            processes: Mutex::default(),
            is_connected: watch::channel(true).0,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(beat(Arc::clone(&context)));
        if !is_hollow {
            tasks.spawn(follow(Arc::clone(&context)));
        }
        Ok(Self { context, tasks })
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.context.name
    }

    /// Waits until the controllers have noticed that the node is ready: before, no pod is scheduled to it.
    pub async fn schedulable(&self) -> anyhow::Result<()> {
        let nodes: Api<NodeObject> = Api::all(self.context.client.clone());
        until(&format!("node {} to take pods", self.context.name), async || {
            let node = nodes.get(&self.context.name).await.ok()?;
            let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
            let is_not_ready = taints.iter().any(|taint| taint.key.starts_with("node.kubernetes.io/"));
            (!is_not_ready).then_some(())
        })
        .await
    }

    /// What the kubelet has to say.
    pub fn log(&self) -> Log {
        self.context.log()
    }

    /// Cuts the node off: it falls silent, and packets to and from its pods go nowhere, while its processes run on.
    pub async fn cut(&self) -> anyhow::Result<()> {
        self.context.is_connected.send_replace(false);
        for (address, device) in self.context.addresses.connected() {
            network::cut(address, &device).await?;
        }
        Ok(())
    }

    /// Connects a node again that was cut off.
    pub async fn reconnect(&self) -> anyhow::Result<()> {
        for (address, device) in self.context.addresses.connected() {
            network::connect(address, &device).await?;
        }
        self.context.is_connected.send_replace(true);
        Ok(())
    }

    /// Ends the node as a power cut does: no process gets a signal that it could handle, and nothing is published.
    pub async fn power_off(mut self) -> anyhow::Result<()> {
        self.cut().await?;
        self.tasks.shutdown().await;
        Ok(())
    }

    /// Kills the processes of a pod, as the kernel does when memory runs out; `false`: it runs elsewhere.
    pub(crate) fn kill(&self, namespace: &str, pod: &str) -> bool {
        let processes = self.context.processes.lock().unwrap_or_else(PoisonError::into_inner);
        let of_pod = processes.get(&(namespace.to_owned(), pod.to_owned()));
        for pid in of_pod.into_iter().flatten().filter_map(|pid| Pid::from_raw(*pid)) {
            let _sent = kill_process_group(pid, Signal::KILL);
        }
        of_pod.is_some_and(|processes| !processes.is_empty())
    }

    /// The first process of a pod's first container; `None`: it runs elsewhere, or has ended.
    pub(crate) fn process(&self, namespace: &str, pod: &str) -> Option<i32> {
        let processes = self.context.processes.lock().unwrap_or_else(PoisonError::into_inner);
        processes.get(&(namespace.to_owned(), pod.to_owned()))?.first().copied()
    }

    /// Takes the node out of the cluster.
    pub async fn remove(mut self) -> anyhow::Result<()> {
        self.tasks.shutdown().await;
        let nodes: Api<NodeObject> = Api::all(self.context.client.clone());
        nodes.delete(&self.context.name, &DeleteParams::default()).await?;
        Ok(())
    }
}

// === impl NodeContext ===

impl NodeContext {
    /// Waits while the node is cut off.
    pub(super) async fn connected(&self) {
        let mut receiver = self.is_connected.subscribe();
        let _ended = receiver.wait_for(|is_connected| *is_connected).await;
    }

    /// Remembers a process of a pod, or forgets it.
    pub(super) fn note(&self, namespace: &str, pod: &str, pid: i32, runs: bool) {
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        let of_pod = processes.entry((namespace.to_owned(), pod.to_owned())).or_default();
        if runs {
            of_pod.insert(pid);
        } else {
            of_pod.remove(&pid);
        }
    }

    /// Writes a line into the node's log.
    pub(super) fn record(&self, line: &str) {
        let file = OpenOptions::new().create(true).append(true).open(self.log().path());
        // A log that cannot be written has no reader either.
        let _written = file.and_then(|mut file| writeln!(file, "{line}"));
    }

    fn log(&self) -> Log {
        Log::new(self.folder.join("kubelet.log"))
    }
}

async fn register(setting: &Setting) -> anyhow::Result<()> {
    let nodes: Api<NodeObject> = Api::all(setting.client.clone());
    let taint = |key: &String| json!({"key": key, "value": "true", "effect": "NoSchedule"});
    let mut labels = setting.labels.clone();
    labels.insert("kubernetes.io/hostname".to_owned(), setting.name.clone());
    labels.insert("kubernetes.io/os".to_owned(), "linux".to_owned());
    let object = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": setting.name, "labels": labels},
        "spec": {"taints": setting.taint.iter().map(taint).collect::<Vec<_>>()},
    });
    let as_manager = PatchParams::apply(MANAGER).force();
    nodes.patch(&setting.name, &as_manager, &Patch::Apply(object)).await?;
    let room = json!({"cpu": "64", "memory": "256Gi", "pods": "250", "nvidia.com/gpu": "8", "ephemeral-storage": "100Gi"});
    let status = json!({"status": {
        "capacity": room,
        "allocatable": room,
        "addresses": [
            {"type": "InternalIP", "address": format!("10.99.255.{}", setting.number)},
            {"type": "Hostname", "address": setting.name},
        ],
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "KubeletReady"},
            {"type": "MemoryPressure", "status": "False", "reason": "KubeletHasSufficientMemory"},
            {"type": "DiskPressure", "status": "False", "reason": "KubeletHasNoDiskPressure"},
            {"type": "PIDPressure", "status": "False", "reason": "KubeletHasSufficientPID"},
        ],
        "nodeInfo": {"kubeletVersion": "v1.36.3", "operatingSystem": "linux", "architecture": std::env::consts::ARCH,
            "bootID": "", "containerRuntimeVersion": "process://1", "kernelVersion": "", "kubeProxyVersion": "",
            "machineID": "", "osImage": "", "systemUUID": ""},
    }});
    nodes.patch_status(&setting.name, &PatchParams::default(), &Patch::Strategic(status)).await?;
    Ok(())
}

/// Renews the node's lease, for ever.
async fn beat(context: Arc<NodeContext>) {
    let leases: Api<Lease> = Api::namespaced(context.client.clone(), "kube-node-lease");
    let nodes: Api<NodeObject> = Api::all(context.client.clone());
    let mut ticks = interval(HEARTBEAT_INTERVAL);
    let mut was_connected = true;
    loop {
        ticks.tick().await;
        let is_connected = *context.is_connected.borrow();
        context.connected().await;
        let now = k8s_openapi::jiff::Timestamp::now();
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": context.name},
            "spec": {
                "holderIdentity": context.name,
                "leaseDurationSeconds": 15,
                "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
            },
        });
        let as_manager = PatchParams::apply(MANAGER).force();
        let renewed =
            timeout(CALL_TIME_MAX, leases.patch(&context.name, &as_manager, &Patch::Apply(lease))).await;
        if !matches!(renewed, Ok(Ok(_))) {
            context.record(&format!("the lease was not renewed: {renewed:?}"));
        }
        // The controllers call the condition of a silent node unknown; only the node itself says ready again.
        if !is_connected || !was_connected {
            let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}});
            let sent =
                nodes.patch_status(&context.name, &PatchParams::default(), &Patch::Strategic(ready)).await;
            if let Err(error) = sent {
                context.record(&format!("the node's status was not published: {error}"));
                was_connected = false;
                continue;
            }
        }
        was_connected = true;
    }
}

/// Runs the pods that are bound to the node, for ever.
async fn follow(context: Arc<NodeContext>) {
    let api: Api<Pod> = Api::all(context.client.clone());
    let bound = watcher::Config::default().fields(&format!("spec.nodeName={}", context.name));
    let mut events = watch_pods(api, bound).default_backoff().boxed();
    let mut pods = Pods::default();
    let mut listed = BTreeSet::new();
    while let Some(event) = events.next().await {
        context.connected().await;
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(pod)) => {
                listed.extend(pod.metadata.uid.clone());
                pods.apply(&context, pod);
            }
            Ok(Event::InitDone) => pods.keep(&listed),
            Ok(Event::Apply(pod)) => pods.apply(&context, pod),
            Ok(Event::Delete(pod)) => pods.forget(pod.metadata.uid.as_deref().unwrap_or_default()),
            Err(error) => context.record(&format!("the watch of pods broke off: {error}")),
        }
    }
}

// === impl Pods ===

impl Pods {
    fn apply(&mut self, context: &Arc<NodeContext>, pod: Pod) {
        while self.tasks.try_join_next().is_some() {}
        self.running.retain(|_, (_, task)| !task.is_finished());
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let desired = Desired { pod: Arc::new(pod), is_gone: false };
        if let Some((sender, _)) = self.running.get(&uid) {
            sender.send_replace(desired);
            return;
        }
        let (sender, receiver) = watch::channel(desired);
        let task = self.tasks.spawn(pod::run(Arc::clone(context), receiver));
        self.running.insert(uid, (sender, task));
    }

    fn forget(&mut self, uid: &str) {
        if let Some((sender, _)) = self.running.get(uid) {
            sender.send_modify(|desired| desired.is_gone = true);
        }
    }

    /// Forgets all pods that a list did not contain.
    fn keep(&mut self, listed: &BTreeSet<String>) {
        let gone: Vec<String> = self.running.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
        for uid in gone {
            self.forget(&uid);
        }
    }
}
