//! Keeps the watches that the pools need, and publishes what follows from them.

use super::ClusterError;
use super::discovery::discover;
use super::facts::{Facts, Revision, Shown, Source, SourceState};
use super::follow::{Report, follow};
use super::hold::Hold;
use super::kinds::Kind;
use super::log::log_failure;
use super::plan::{Plan, plan};
use super::problem::Problem;
use crate::config::{Kubernetes, ObjectName, Pool, Selector};
use crate::metrics::Metrics;
use kube::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Reports that queue up while others are applied. When the queue is full, the watches wait.
const REPORTS_MAX: usize = 1_024;

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
    client: Client,
    settings: Kubernetes,
    facts: Facts,
    plan: Plan,
    /// Kinds that the API server does not know.
    missing: watch::Sender<BTreeSet<Kind>>,
    /// The tasks, by the source that each follows.
    tasks: BTreeMap<Source, tokio::task::AbortHandle>,
    running: JoinSet<()>,
    reports: mpsc::Sender<Report>,
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
    let (reports, incoming) = mpsc::channel(REPORTS_MAX);
    let cluster = Cluster {
        client,
        settings,
        facts: Facts::default(),
        plan: Plan::default(),
        missing: watch::Sender::default(),
        tasks: BTreeMap::new(),
        running: JoinSet::new(),
        reports,
        to,
        hold: Hold::default(),
        metrics,
    };
    tokio::spawn(cluster.run(incoming));
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
    async fn run(mut self, mut incoming: mpsc::Receiver<Report>) {
        let (to, mut found) = mpsc::channel(1);
        self.running.spawn(discover(self.client.clone(), self.missing.subscribe(), to));
        for source in self.fixed_sources() {
            self.open(source);
        }
        self.look();
        loop {
            tokio::select! {
                report = incoming.recv() => {
                    let Some(report) = report else { return };
                    let mut has_changed = self.take(report);
                    // Whatever else has arrived is part of the same change.
                    while let Ok(report) = incoming.try_recv() {
                        has_changed |= self.take(report);
                    }
                    if has_changed {
                        self.look();
                    }
                }
                Some(kinds) = found.recv() => self.reopen(&kinds),
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

    fn open(&mut self, source: Source) {
        self.facts.open(source.clone());
        let task = follow(self.client.clone(), source.clone(), self.reports.clone());
        if let Some(before) = self.tasks.insert(source, self.running.spawn(task)) {
            before.abort();
        }
    }

    /// Follows kinds that were missing, and are there now.
    fn reopen(&mut self, kinds: &BTreeSet<Kind>) {
        let is_due = |(source, shown): &(&Source, &Shown)| {
            shown.state == SourceState::Missing && kinds.contains(&source.kind)
        };
        let due: Vec<Source> =
            self.facts.sources().filter(is_due).map(|(source, _)| source.clone()).collect();
        for source in due {
            self.open(source);
        }
    }

    fn close(&mut self, source: &Source) {
        self.facts.close(source);
        if let Some(task) = self.tasks.remove(source) {
            task.abort();
        }
    }

    fn take(&mut self, (source, update): Report) -> bool {
        if let super::Update::Failed(state) = &update {
            let labels = [("resource", source.kind.label()), ("reason", state.label())];
            self.metrics.watch_failures.get_or_create(&labels).inc();
            if let Some(shown) = self.facts.shown(&source)
                && shown.state != *state
            {
                log_failure(&source, shown, state);
            }
        }
        self.facts.apply(&source, update)
    }

    /// Plans anew from what is known, opens and closes watches of pods, and publishes the result.
    fn look(&mut self) {
        while self.running.try_join_next().is_some() {}
        let plan = plan(&self.facts, &self.settings);
        let stale: Vec<Source> = self
            .tasks
            .keys()
            .filter(|source| source.kind == Kind::Pod && !plan.sources.contains(source))
            .cloned()
            .collect();
        for source in &stale {
            self.close(source);
        }
        for source in &plan.sources {
            if !self.tasks.contains_key(source) {
                self.open(source.clone());
            }
        }
        for problem in plan.problems.difference(&self.plan.problems) {
            tracing::warn!(kind = problem.label(), "{problem}");
        }
        self.plan = plan;
        let missing = self.facts.sources().filter(|(_, shown)| shown.state == SourceState::Missing);
        self.missing.send_replace(missing.map(|(source, _)| source.kind).collect());
        for label in Problem::LABELS {
            let count = self.plan.problems.iter().filter(|problem| problem.label() == label).count();
            let gauge = self.metrics.cluster_problems.get_or_create(&[("kind", label)]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let is_first = self.to.borrow().is_none();
        if self.hold.holds(self.facts.is_settled(is_first), is_first, Instant::now()) {
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
        let watches = self.facts.sources().map(|(source, shown)| WatchState {
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

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
