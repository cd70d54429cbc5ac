//! The watches that somebody needs, and what they have shown: a task for each source, whose reports are applied to the facts.

use super::discovery::discover;
use super::facts::{Facts, Shown, Source, SourceState, Update};
use super::follow::{Report, follow};
use super::kinds::Kind;
use super::log::log_failure;
use crate::metrics::Metrics;
use kube::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

/// Reports that queue up while others are applied. When the queue is full, the watches wait.
const REPORTS_MAX: usize = 1_024;

/// The watches. Dropping them ends them.
pub(crate) struct Watches {
    client: Client,
    facts: Facts,
    /// Kinds that the API server does not know.
    missing: watch::Sender<BTreeSet<Kind>>,
    found: mpsc::Receiver<BTreeSet<Kind>>,
    /// The tasks, by the source that each follows.
    tasks: BTreeMap<Source, AbortHandle>,
    running: JoinSet<()>,
    reports: mpsc::Sender<Report>,
    incoming: mpsc::Receiver<Report>,
    metrics: Arc<Metrics>,
}

// === impl Watches ===

impl Watches {
    /// None yet.
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        let (reports, incoming) = mpsc::channel(REPORTS_MAX);
        let (to, found) = mpsc::channel(1);
        let missing = watch::Sender::default();
        let mut running = JoinSet::new();
        running.spawn(discover(client.clone(), missing.subscribe(), to));
        let (facts, tasks) = (Facts::default(), BTreeMap::new());
        Self { client, facts, missing, found, tasks, running, reports, incoming, metrics }
    }

    /// What they have shown.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The sources that are followed.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.tasks.keys()
    }

    /// Follows a source.
    pub(crate) fn open(&mut self, source: Source) {
        while self.running.try_join_next().is_some() {}
        self.facts.open(source.clone());
        let task = follow(self.client.clone(), source.clone(), self.reports.clone());
        if let Some(before) = self.tasks.insert(source, self.running.spawn(task)) {
            before.abort();
        }
    }

    /// Follows a source no more, and forgets what it has shown.
    pub(crate) fn close(&mut self, source: &Source) {
        self.facts.close(source);
        if let Some(task) = self.tasks.remove(source) {
            task.abort();
        }
    }

    /// Waits for reports, applies all that have arrived, and returns whether they change anything.
    pub(crate) async fn next(&mut self) -> bool {
        tokio::select! {
            // Never closed: this has a sender of its own.
            Some(report) = self.incoming.recv() => {
                let mut has_changed = self.take(report);
                // Whatever else has arrived is part of the same change.
                while let Ok(report) = self.incoming.try_recv() {
                    has_changed |= self.take(report);
                }
                self.look_for_missing();
                has_changed
            }
            Some(kinds) = self.found.recv() => {
                self.reopen(&kinds);
                self.look_for_missing();
                false
            }
        }
    }

    fn take(&mut self, (source, update): Report) -> bool {
        if let Update::Failed(state) = &update {
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

    fn look_for_missing(&self) {
        let missing = self.facts.sources().filter(|(_, shown)| shown.state == SourceState::Missing);
        let kinds: BTreeSet<Kind> = missing.map(|(source, _)| source.kind).collect();
        self.missing.send_if_modified(|known| {
            let is_new = *known != kinds;
            *known = kinds;
            is_new
        });
    }
}
