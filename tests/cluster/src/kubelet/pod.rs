//! One pod: its network and volumes, its containers, its status, and its end.

use super::container::{Place, Stop, Supervised};
use super::env::Facts;
use super::lookup::Lookup;
use super::node::NodeContext;
use super::root::Mount;
use super::status::{Board, Restart};
use super::volumes::{self, Prepared};
use crate::network::Link;
use crate::process::Log;
use anyhow::Context;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Pod, Volume};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// The pause before another try of what depends on the API server.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// How often volumes are compared with their ConfigMaps and Secrets; a minute or more elsewhere.
const VOLUME_INTERVAL: Duration = Duration::from_secs(2);

/// The grace of a pod that names none.
const GRACE_DEFAULT: Duration = Duration::from_secs(30);

/// What the node wants of a pod.
#[derive(Clone, Debug)]
pub(super) struct Desired {
    /// The newest copy.
    pub(super) pod: Arc<Pod>,
    /// The API server has it no more.
    pub(super) is_gone: bool,
}

/// A pod that this node runs.
pub(super) struct PodContext {
    pub(super) node: Arc<NodeContext>,
    pub(super) lookup: Lookup,
    pub(super) address: Ipv4Addr,
    pub(super) link: Link,
    pub(super) folder: PathBuf,
    pub(super) restarts: Restart,
    name: String,
    uid: String,
    desired: watch::Receiver<Desired>,
    board: Mutex<Board>,
    changed: watch::Sender<u64>,
}

/// Runs a pod from its binding to its end.
pub(super) async fn run(node: Arc<NodeContext>, mut desired: watch::Receiver<Desired>) {
    let pod = Arc::clone(&desired.borrow().pod);
    let name = pod.metadata.name.clone().unwrap_or_default();
    let mut context = loop {
        match PodContext::new(node.clone(), desired.clone()).await {
            Ok(context) => break context,
            Err(error) => node.record(&format!("pod {name}: {error:#}")),
        }
        // What keeps a pod from its network may pass: a device of before takes a moment to go.
        tokio::select! {
            () = sleep(RETRY_INTERVAL) => {}
            () = gone(&mut desired) => return,
        }
    };
    let (stop, stopping) = watch::channel(None);
    {
        let life = context.live(Stop(stopping));
        let publish = context.publish();
        tokio::pin!(life, publish);
        tokio::select! {
            () = &mut life => {}
            () = &mut publish => {}
            grace = deleted(&mut desired) => {
                stop.send_replace(Some(grace));
                tokio::select! {
                    () = &mut life => {}
                    // A shorter grace, or none, may come later.
                    () = gone(&mut desired) => {}
                }
            }
        }
    }
    context.finish().await;
}

// === impl PodContext ===

impl PodContext {
    async fn new(node: Arc<NodeContext>, desired: watch::Receiver<Desired>) -> anyhow::Result<Self> {
        let pod = Arc::clone(&desired.borrow().pod);
        let metadata = &pod.metadata;
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let uid = metadata.uid.clone().unwrap_or_default();
        let folder =
            node.folder.join(format!("{namespace}_{}_{uid}", metadata.name.clone().unwrap_or_default()));
        fs::create_dir_all(&folder).context("cannot make a pod's folder")?;
        let address = node.addresses.take(&pod)?;
        let link = Link::new(address).await.inspect_err(|_| node.addresses.give_back(address));
        let link = link.context("cannot make a pod's network")?;
        node.addresses.connect(address, link.device());
        let board = Board { address: Some(address), ..Board::new(&pod) };
        Ok(Self {
            lookup: Lookup { client: node.client.clone(), namespace },
            address,
            link,
            folder,
            restarts: Restart::of(&pod),
            name: metadata.name.clone().unwrap_or_default(),
            uid,
            desired,
            board: Mutex::new(board),
            changed: watch::channel(0).0,
            node,
        })
    }

    /// The newest copy of the pod.
    pub(super) fn pod(&self) -> Arc<Pod> {
        Arc::clone(&self.desired.borrow().pod)
    }

    /// The log of a container.
    pub(super) fn log(&self, container: &str) -> Log {
        Log::new(self.folder.join(format!("{container}.log")))
    }

    /// The grace that the pod's author gave.
    pub(super) fn grace_default(&self) -> Duration {
        let pod = self.pod();
        let seconds = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(GRACE_DEFAULT, Duration::from_secs)
    }

    /// Remembers a process, or forgets it.
    pub(super) fn note(&self, pid: i32, runs: bool) {
        self.node.note(&self.lookup.namespace, &self.name, pid, runs);
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Board)) {
        change(&mut self.board.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.send_modify(|number| *number += 1);
    }

    /// Files that every container of a cluster has.
    pub(super) fn own_files(&self) -> Vec<Mount> {
        self.node.names.files(&self.lookup.namespace)
    }

    /// Runs the containers until they have ended for good.
    async fn live(&self, stop: Stop) {
        let pod = self.pod();
        let Some(spec) = pod.spec.as_ref() else { return };
        let all = spec.volumes.clone().unwrap_or_default();
        let mut stopping = stop.clone();
        let volumes = tokio::select! {
            volumes = self.volumes(&all) => volumes,
            _ = stopping.wait() => return,
        };
        for (number, init) in spec.init_containers.iter().flatten().enumerate() {
            let place = Place::Init(number);
            let supervised = Supervised { context: self, spec: init, place, volumes: &volumes };
            if supervised.run(stop.clone()).await != 0 {
                return;
            }
        }
        let supervised = spec.containers.iter().enumerate().map(|(number, spec)| Supervised {
            context: self,
            spec,
            place: Place::Main(number),
            volumes: &volumes,
        });
        let supervised: Vec<Supervised> = supervised.collect();
        let running = join_all(supervised.iter().map(|container| container.run(stop.clone())));
        tokio::select! {
            _ = running => {}
            () = self.refresh(&all) => {}
        }
    }

    /// The volumes, once all that they show exists.
    async fn volumes(&self, all: &[Volume]) -> Vec<Prepared> {
        loop {
            match self.prepare(all).await {
                Ok(prepared) => return prepared,
                Err(error) => self.change(|board| {
                    for entry in board.main.iter_mut().chain(&mut board.init) {
                        entry.state =
                            super::status::State::Waiting("ContainerCreating", format!("{error:#}"));
                    }
                }),
            }
            sleep(RETRY_INTERVAL).await;
        }
    }

    async fn prepare(&self, all: &[Volume]) -> anyhow::Result<Vec<Prepared>> {
        self.node.connected().await;
        let pod = self.pod();
        let facts = Facts { pod: &pod, address: self.address, node: &self.node.name };
        volumes::prepare(all, &self.folder.join("volumes"), &facts, &self.lookup).await
    }

    /// Brings volumes up to date, for ever. A volume that cannot be read keeps what it has.
    async fn refresh(&self, all: &[Volume]) {
        let changing: Vec<Volume> =
            all.iter().filter(|volume| volumes::may_change(std::slice::from_ref(volume))).cloned().collect();
        loop {
            sleep(VOLUME_INTERVAL).await;
            if !changing.is_empty()
                && let Err(error) = self.prepare(&changing).await
            {
                self.node.record(&format!("pod {}: {error:#}", self.name));
            }
        }
    }

    /// Publishes each change of the status; returns when the pod exists no more.
    async fn publish(&self) {
        let mut changes = self.changed.subscribe();
        let mut desired = self.desired.clone();
        let mut published = None;
        loop {
            changes.mark_unchanged();
            let status = self.status();
            if published.as_ref() != Some(&status) {
                if !self.send(&status).await {
                    return;
                }
                published = Some(status);
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = desired.changed() => {}
            }
        }
    }

    fn status(&self) -> serde_json::Value {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).json(&self.pod())
    }

    /// Sends a status until it has arrived; `false`: the pod exists no more.
    async fn send(&self, status: &serde_json::Value) -> bool {
        let api: Api<Pod> = Api::namespaced(self.lookup.client.clone(), &self.lookup.namespace);
        let patch = Patch::Strategic(json!({"metadata": {"uid": self.uid}, "status": status}));
        loop {
            self.node.connected().await;
            match api.patch_status(&self.name, &PatchParams::default(), &patch).await {
                Ok(_) => return true,
                // Another pod of this name, or none.
                Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => return false,
                Err(error) => self.node.record(&format!("pod {}: {error}", self.name)),
            }
            sleep(RETRY_INTERVAL).await;
        }
    }

    /// Publishes how the pod ended, removes what it had, and lets the API server forget a pod that is being deleted.
    async fn finish(&mut self) {
        let is_there = !self.desired.borrow().is_gone && self.send(&self.status()).await;
        // A pod that ended by itself stays until somebody deletes it.
        if is_there {
            deleted(&mut self.desired.clone()).await;
        }
        let api: Api<Pod> = Api::namespaced(self.lookup.client.clone(), &self.lookup.namespace);
        let preconditions = Preconditions { uid: Some(self.uid.clone()), resource_version: None };
        let now =
            DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default().grace_period(0) };
        self.link.remove().await;
        self.node.addresses.give_back(self.address);
        while !self.desired.borrow().is_gone {
            self.node.connected().await;
            match api.delete(&self.name, &now).await {
                Ok(_) => break,
                Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => break,
                Err(error) => self.node.record(&format!("pod {}: {error}", self.name)),
            }
            sleep(RETRY_INTERVAL).await;
        }
        let _removed = fs::remove_dir_all(self.folder.join("roots"));
        let _removed = fs::remove_dir_all(self.folder.join("volumes"));
    }
}

/// Waits until the pod is being deleted, or is gone; returns how long it may take.
async fn deleted(desired: &mut watch::Receiver<Desired>) -> Duration {
    let ended = desired.wait_for(|desired| desired.is_gone || grace(&desired.pod).is_some()).await;
    let of_deletion = |desired: &Desired| if desired.is_gone { None } else { grace(&desired.pod) };
    ended.ok().and_then(|desired| of_deletion(&desired)).unwrap_or_default()
}

/// Waits until the API server has the pod no more.
async fn gone(desired: &mut watch::Receiver<Desired>) {
    let _gone = desired.wait_for(|desired| desired.is_gone).await;
}

/// The grace of a pod that is being deleted.
fn grace(pod: &Pod) -> Option<Duration> {
    pod.metadata.deletion_timestamp.as_ref()?;
    let seconds = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}
