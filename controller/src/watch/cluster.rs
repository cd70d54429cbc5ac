//! Keeps the watches that the pools need, and publishes what follows from them.

use super::ClusterError;
use super::facts::{Revision, Source, SourceState};
use super::hold::Hold;
use super::kinds::Kind;
use super::plan::{Plan, plan};
use super::problem::Problem;
use super::watches::Watches;
use crate::clock::until;
use crate::config::{Kubernetes, ObjectName, Pool, Selector};
use crate::metrics::Metrics;
use kube::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

/// What is known of the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Followed {
    /// The pools, in order of preference.
    pub pools: Vec<Pool>,
    /// The pod behind each endpoint.
    pub pods: BTreeMap<SocketAddr, ObjectName>,
    /// The InferencePools of version v1.
    pub inference_pools: BTreeMap<ObjectName, Revision>,
    /// Where the controller's replicas listen, this one included.
    pub replicas: BTreeSet<SocketAddr>,
    /// What is wrong, in words.
    pub problems: BTreeSet<Problem>,
    /// How each watch goes.
    pub watches: Vec<WatchState>,
}

/// How one watch goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchState {
    /// What is watched.
    pub kind: Kind,
    /// Where; `None` for all namespaces.
    pub namespace: Option<String>,
    /// How it goes.
    pub state: SourceState,
}

/// The watches, and what they have shown.
struct Cluster {
    settings: Kubernetes,
    watches: Watches,
    plan: Plan,
    to: watch::Sender<Option<Followed>>,
    hold: Hold,
    metrics: Arc<Metrics>,
}

/// Follows the cluster. The receiver holds nothing until every watch has listed its objects; from then on it holds what is
/// known. Dropping it ends the watches.
pub fn start(
    client: Client,
    settings: Kubernetes,
    metrics: Arc<Metrics>,
) -> watch::Receiver<Option<Followed>> {
    let (to, followed) = watch::channel(None);
    let watches = Watches::new(client, Arc::clone(&metrics));
    let (plan, hold) = (Plan::default(), Hold::default());
    let cluster = Cluster { settings, watches, plan, to, hold, metrics };
    tokio::spawn(cluster.run());
    followed
}

/// A client for the cluster that this process runs in, or that KUBECONFIG names, and its default namespace.
pub async fn client() -> Result<(Client, String), ClusterError> {
    let config = kube::Config::infer().await.map_err(|error| ClusterError::Config(Box::new(error)))?;
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).map_err(|error| ClusterError::Client(Box::new(error)))?;
    Ok((client, namespace))
}

// === impl Cluster ===

impl Cluster {
    async fn run(mut self) {
        for source in self.fixed_sources() {
            self.watches.open(source);
        }
        self.look();
        loop {
            tokio::select! {
                has_changed = self.watches.next() => if has_changed { self.look() },
                () = until(self.hold.ends_at()) => self.look(),
                () = self.to.closed() => return,
            }
        }
    }

    /// The watches that do not depend on what others show.
    fn fixed_sources(&self) -> Vec<Source> {
        let everywhere = [None];
        let named: Vec<Option<String>> = self.settings.namespaces.iter().cloned().map(Some).collect();
        let namespaces = if named.is_empty() { &everywhere[..] } else { &named };
        let kinds = if self.settings.inference_pools { &Kind::OF_POOLS[..] } else { &[] };
        let source = |kind: &Kind, namespace: &Option<String>| Source {
            kind: *kind,
            namespace: namespace.clone(),
            selector: Selector::new(),
        };
        kinds.iter().flat_map(|kind| namespaces.iter().map(|namespace| source(kind, namespace))).collect()
    }

    /// Plans anew from what is known, opens and closes watches of pods, and publishes the result.
    fn look(&mut self) {
        let plan = plan(self.watches.facts(), &self.settings);
        let open: BTreeSet<Source> =
            self.watches.sources().filter(|source| source.kind == Kind::Pod).cloned().collect();
        for source in open.difference(&plan.sources) {
            self.watches.close(source);
        }
        for source in plan.sources.difference(&open) {
            self.watches.open(source.clone());
        }
        for problem in plan.problems.difference(&self.plan.problems) {
            tracing::warn!(kind = problem.label(), "{problem}");
        }
        self.plan = plan;
        for label in Problem::LABELS {
            let count = self.plan.problems.iter().filter(|problem| problem.label() == label).count();
            let gauge = self.metrics.cluster_problems.get_or_create(&[("kind", label)]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let is_first = self.to.borrow().is_none();
        if self.hold.holds(self.watches.facts().settled(is_first), is_first, Instant::now()) {
            return;
        }
        let followed = self.followed();
        self.to.send_if_modified(|last| {
            let is_new = last.as_ref() != Some(&followed);
            *last = Some(followed);
            is_new
        });
    }

    fn followed(&self) -> Followed {
        let watches = self.watches.facts().sources().map(|(source, shown)| WatchState {
            kind: source.kind,
            namespace: source.namespace.clone(),
            state: shown.state.clone(),
        });
        Followed {
            pools: self.plan.pools.clone(),
            pods: self.plan.pods.clone(),
            inference_pools: self.plan.inference_pools.clone(),
            replicas: self.plan.replicas.clone(),
            problems: self.plan.problems.clone(),
            watches: watches.collect(),
        }
    }
}
