//! A running cluster, and the namespace of one test in it.

use crate::command::{Finished, must, run};
use crate::control_plane::ControlPlane;
use crate::kubelet::{Image, Images, Node, Setting, exec};
use crate::network;
use crate::process::Log;
use crate::service::{self, Names};
use crate::tools::Tool;
use crate::wait::until;
use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{Event, Namespace as NamespaceObject, Pod, Service, ServiceAccount};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, discovery};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Nodes for all tests.
const NODES: u8 = 3;

/// The label of their GPUs' product, as NVIDIA's feature discovery writes it.
const GPU_LABEL: (&str, &str) = ("nvidia.com/gpu.product", "NVIDIA-H100-80GB-HBM3");

/// Lines of each log that a failed test shows.
const LOG_LINES: usize = 40;

/// Who applies the tests' manifests.
const MANAGER: &str = "tests";

/// Control plane, nodes, addresses and names of Services.
pub struct Cluster {
    /// The programs of Kubernetes.
    pub control_plane: ControlPlane,
    /// What images are here.
    pub images: Arc<Images>,
    client: Client,
    names: Arc<Names>,
    nodes: Mutex<Vec<Node>>,
    nodes_made: AtomicU8,
    services: Mutex<JoinSet<()>>,
    folder: TempDir,
}

/// A namespace, and all that a test does in it.
#[derive(Clone)]
pub struct Namespace {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// The namespace's name.
    pub name: String,
    /// A client that may do everything.
    pub client: Client,
}

// === impl Cluster ===

impl Cluster {
    /// Starts a cluster in the namespaces of Linux that this process is in.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("cannot make the cluster's folder")?;
        network::start().await?;
        let control_plane = ControlPlane::start(folder.path()).await?;
        let client = control_plane.client().await?;
        let names = Arc::new(Names::new(&folder.path().join("names"))?);
        let services = service::follow(&client, Arc::clone(&names));
        let cluster = Self {
            control_plane,
            images: Arc::default(),
            client,
            names,
            nodes: Mutex::default(),
            nodes_made: AtomicU8::new(0),
            services: Mutex::new(services),
            folder,
        };
        for number in 1..=NODES {
            let labels = BTreeMap::from([(GPU_LABEL.0.to_owned(), GPU_LABEL.1.to_owned())]);
            let node = cluster.node(&format!("node-{number}"), labels, None).await?;
            cluster.nodes.lock().await.push(node);
        }
        Ok(cluster)
    }

    /// Adds a node with these labels. With a taint it gets only pods that tolerate that key.
    pub async fn node(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
        taint: Option<&str>,
    ) -> anyhow::Result<Node> {
        let setting = Setting { labels, taint: taint.map(str::to_owned), ..self.setting(name)? };
        Node::start(setting).await
    }

    /// Adds a node that is there and runs nothing: the status of its pods is whatever is published of them, and their
    /// addresses, all of which must be of this range, lead to what listens on all addresses of this process.
    pub async fn hollow_node(&self, name: &str, range: &str) -> anyhow::Result<Node> {
        network::own(range).await.context("cannot take the addresses")?;
        let taint = Some("warmpath.dev/hollow".to_owned());
        Node::start(Setting { taint, is_hollow: true, ..self.setting(name)? }).await
    }

    /// The folder of all that the cluster writes.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn setting(&self, name: &str) -> anyhow::Result<Setting> {
        let folder = self.folder.path().join("nodes").join(name);
        fs::create_dir_all(&folder).context("cannot make a node's folder")?;
        Ok(Setting {
            name: name.to_owned(),
            number: 1 + self.nodes_made.fetch_add(1, Ordering::Relaxed),
            labels: BTreeMap::new(),
            taint: None,
            is_hollow: false,
            client: self.client.clone(),
            images: Arc::clone(&self.images),
            names: Arc::clone(&self.names),
            folder,
        })
    }

    /// A client that may do everything.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Makes a namespace whose name begins so.
    pub async fn namespace(self: &Arc<Self>, name: &str) -> anyhow::Result<Namespace> {
        let client = self.client();
        let api: Api<NamespaceObject> = Api::all(client.clone());
        let mut object = NamespaceObject::default();
        object.metadata.name = Some(name.to_owned());
        api.create(&PostParams::default(), &object).await.with_context(|| format!("cannot make {name}"))?;
        let namespace = Namespace { cluster: Arc::clone(self), name: name.to_owned(), client };
        let accounts: Api<ServiceAccount> = namespace.api();
        // Pods are refused before it is there.
        until("the namespace's service account", async || accounts.get_opt("default").await.ok()?).await?;
        Ok(namespace)
    }

    /// Applies objects, one or several documents of YAML or JSON, as `kubectl apply` does.
    pub async fn apply(&self, yaml: &str) -> anyhow::Result<()> {
        let mut kubectl = self.kubectl(&["apply", "--server-side", "-f", "-"])?;
        kubectl.env("HOME", self.folder.path());
        must(kubectl, yaml).await.map(drop)
    }

    /// `kubectl` as the administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        self.users_command(Tool::Kubectl, arguments)
    }

    /// `helm` as the administrator.
    pub fn helm(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        self.users_command(Tool::Helm, arguments)
    }

    fn users_command(&self, tool: Tool, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(tool.path()?);
        let kubeconfig = self.control_plane.kubeconfig_path();
        command.args(arguments).env("KUBECONFIG", kubeconfig).env("HOME", self.folder.path());
        Ok(command)
    }

    /// Ends everything.
    pub async fn stop(&self) {
        self.services.lock().await.shutdown().await;
        self.nodes.lock().await.clear();
        self.control_plane.stop().await;
    }

    /// The folders of the pods of a namespace, with the logs of their containers.
    fn pod_folders(&self, namespace: &str) -> Vec<PathBuf> {
        let entries = |folder: &Path| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let nodes = entries(&self.folder.path().join("nodes"));
        let mut pods: Vec<PathBuf> = nodes.iter().flat_map(|node| entries(node)).collect();
        let start = format!("{namespace}_");
        pods.retain(|pod| pod.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&start)));
        pods.sort();
        pods
    }
}

// === impl Namespace ===

impl Namespace {
    /// Objects of a kind in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// The ModelServices of this namespace.
    pub fn model_services(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.name, &warmpath::watch::Kind::ModelService.resource())
    }

    /// Applies an object of this namespace.
    pub async fn apply(&self, object: serde_json::Value) -> anyhow::Result<DynamicObject> {
        let object: DynamicObject = serde_json::from_value(object).context("not an object")?;
        let types = object.types.clone().context("an object without a kind")?;
        let kind = kube::core::GroupVersionKind::try_from(types).context("an object without a kind")?;
        let (resource, _) = discovery::pinned_kind(&self.client, &kind).await?;
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.name, &resource);
        let name = object.metadata.name.clone().context("an object without a name")?;
        let as_manager = PatchParams::apply(MANAGER).force();
        Ok(api.patch(&name, &as_manager, &Patch::Apply(object)).await?)
    }

    /// The pods with these labels.
    pub async fn pods(&self, labels: &str) -> anyhow::Result<Vec<Pod>> {
        let pods: Api<Pod> = self.api();
        Ok(pods.list(&ListParams::default().labels(labels)).await?.items)
    }

    /// Waits until exactly so many pods of these labels are ready, and returns them.
    pub async fn ready(&self, labels: &str, count: usize) -> anyhow::Result<Vec<Pod>> {
        until(&format!("{count} ready pods of {labels}"), async || {
            let pods = self.pods(labels).await.ok()?;
            let ready: Vec<Pod> = pods.into_iter().filter(is_ready).collect();
            (ready.len() == count).then_some(ready)
        })
        .await
    }

    /// The log of a container of a pod.
    pub fn log(&self, pod: &str, container: &str) -> Option<Log> {
        let start = format!("{}_{pod}_", self.name);
        let folders = self.cluster.pod_folders(&self.name);
        let of_pod = |folder: &&PathBuf| {
            folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&start))
        };
        folders.iter().find(of_pod).map(|folder| Log::new(folder.join(format!("{container}.log"))))
    }

    /// The first process of a pod with one container.
    pub async fn process(&self, pod: &Pod) -> anyhow::Result<i32> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let nodes = self.cluster.nodes.lock().await;
        let found = nodes.iter().find_map(|node| node.process(&self.name, name));
        found.with_context(|| format!("no node runs {name}"))
    }

    /// Runs a command in a pod with one container, as `kubectl exec` does.
    pub async fn exec(&self, pod: &Pod, command: &[&str]) -> anyhow::Result<Finished> {
        let words: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        exec(self.process(pod).await?, &words).await
    }

    /// Kills the processes of a pod: none of them can handle that.
    pub async fn kill(&self, pod: &Pod) -> anyhow::Result<()> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let nodes = self.cluster.nodes.lock().await;
        let is_killed = nodes.iter().any(|node| node.kill(&self.name, name));
        ensure!(is_killed, "no node runs {name}");
        Ok(())
    }

    /// Where a Service listens.
    pub async fn service(&self, name: &str) -> anyhow::Result<SocketAddr> {
        let services: Api<Service> = self.api();
        let spec = services.get(name).await?.spec.context("a Service without a spec")?;
        let address = spec.cluster_ip.context("a Service without an address")?.parse()?;
        let port = spec.ports.iter().flatten().next().context("a Service without a port")?.port;
        Ok(SocketAddr::new(address, port.try_into()?))
    }

    /// Runs `kubectl` in this namespace.
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        let all: Vec<&str> =
            ["--namespace", &self.name].into_iter().chain(arguments.iter().copied()).collect();
        run(self.cluster.kubectl(&all)?, "").await
    }

    /// Runs `helm` in this namespace, with this input.
    pub async fn helm(&self, arguments: &[&str], input: &str) -> anyhow::Result<Finished> {
        let all: Vec<&str> =
            ["--namespace", &self.name].into_iter().chain(arguments.iter().copied()).collect();
        run(self.cluster.helm(&all)?, input).await
    }

    /// Shows all that may explain a failure: pods, events and logs.
    pub async fn explain(&self) {
        let pods = self.kubectl(&["get", "pods,services,endpointslices", "-o", "wide"]).await;
        eprintln!(
            "--- namespace {}\n{}",
            self.name,
            pods.map(|done| done.stdout + &done.stderr).unwrap_or_default()
        );
        let events: Api<Event> = self.api();
        for event in events.list(&ListParams::default()).await.into_iter().flatten() {
            let what = event.involved_object.name.unwrap_or_default();
            let (reason, message) = (event.reason.unwrap_or_default(), event.message.unwrap_or_default());
            eprintln!("event: {what}: {reason}: {message}");
        }
        for folder in self.cluster.pod_folders(&self.name) {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.extension().is_some_and(|ending| ending == "log") {
                    eprintln!("--- {}\n{}", path.display(), Log::new(path.clone()).tail(LOG_LINES));
                }
            }
        }
        eprintln!("---");
    }

    /// Deletes the namespace with all that is in it; waits for nothing.
    pub async fn delete(&self) -> anyhow::Result<()> {
        let pods: Api<Pod> = self.api();
        pods.delete_collection(&DeleteParams::default().grace_period(0), &ListParams::default()).await?;
        let api: Api<NamespaceObject> = Api::all(self.client.clone());
        api.delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }
}

// === impl Image ===

impl Image {
    /// A program of this workspace, from the target folder.
    pub fn built(name: &str) -> Self {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        Self::program(
            &warmpath_envoy::target_folder().join(profile).join(name),
            &format!("/usr/local/bin/{name}"),
        )
    }
}

/// Whether a pod may get requests.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
    pod.metadata.deletion_timestamp.is_none() && ready.any(|condition| condition.status == "True")
}
