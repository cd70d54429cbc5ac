//! What a running controller follows: its file, the addresses of host names, the cluster, and what engines list.
//!
//! ```text
//!   config::Watched ─┐
//!   config::Names ───┤                ┌─► publish::Hub, xds::Publisher
//!   watch::Followed ─┼─► Live ─ pools ┤
//!   Models ──────────┤                └─► telemetry, replicas, caches
//!   Formats ─────────┘
//! ```

use super::caches::Caches;
use super::waking::Waking;
use crate::config::{LoadError, Names, Pool, RESOLVE_INTERVAL, Reload, Settings, Watched};
use crate::events::formats::Formats;
use crate::metrics::Metrics;
use crate::publish::Shared;
use crate::replicas::Replicas;
use crate::telemetry::{Connectors, Models, Telemetry, Unseen};
use crate::watch::Followed;
use crate::xds::Publisher;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use tokio::time::MissedTickBehavior;
use warmpath_core::wire::{Kind, Pools};

/// How long after the start endpoints are withheld from Envoys because a host name is not resolved yet. An Envoy without any
/// endpoints serves nothing for that long; others keep theirs.
const COMPLETE_AFTER_MAX: Duration = Duration::from_secs(30);

/// How long the start waits for the tokenizers and templates of all pools.
const FORMATS_AFTER_MAX: Duration = Duration::from_secs(10);

/// All of it, and what follows from it.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) settings: Settings,
    pub(super) names: Names,
    /// The cluster's pools and pods, if it is followed.
    pub(super) cluster: Option<watch::Receiver<Option<Followed>>>,
    pub(super) replicas: Replicas,
    /// All pools, with the addresses of their names.
    pub(super) pools: Vec<Pool>,
    /// The same as filters are to know them.
    pub(super) settled: Vec<Pool>,
    pub(super) waking: Waking,
    /// Present until the pools are known: a controller without them would take all endpoints from the proxies.
    pub(super) unknown: Option<Unknown>,
    pub(super) shared: Shared,
    pub(super) telemetry: Telemetry,
    pub(super) models: Models,
    pub(super) connectors: Connectors,
    pub(super) formats: Formats,
    pub(super) caches: Caches,
    /// The pools as they were published last.
    pub(super) published: Option<Pools>,
    pub(super) endpoints: Publisher,
    pub(super) started_at: Instant,
    pub(super) metrics: Arc<Metrics>,
}

/// Keeps the controller from being ready, and from serving proxies.
#[derive(Debug)]
pub(super) struct Unknown {
    _unready: Unseen,
    serve: oneshot::Sender<()>,
}

// === impl Live ===

impl Live {
    /// Keeps telemetry alive until the stop, and follows the file if there is one.
    pub(super) async fn run(mut self, watched: Option<Watched>) {
        let shared = self.shared.clone();
        let (models, connectors) = (self.models.clone(), self.connectors.clone());
        let mut formats = self.formats.changes();
        let (mut watched, mut cluster) = (watched, self.cluster.clone());
        let mut ticks = tokio::time::interval(RESOLVE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let read = async {
                match &mut watched {
                    Some(watched) => watched.changed().await,
                    None => std::future::pending().await,
                }
            };
            let moved = async {
                let moved = match &mut cluster {
                    Some(cluster) => cluster.changed().await.is_ok(),
                    None => false,
                };
                if !moved {
                    // The watches have ended, if there were any: what is known stays.
                    std::future::pending::<()>().await;
                }
            };
            let due = self.waking.due().map(tokio::time::Instant::from_std);
            let settled = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shared.stopped() => return,
                () = settled => self.follow().await,
                () = moved => self.follow().await,
                () = models.changed() => self.publish_pools(),
                () = connectors.changed() => self.publish_pools(),
                // It lives for as long as what changes it.
                Ok(()) = formats.changed() => self.follow().await,
                _ = ticks.tick() => {
                    let is_moved = self.names.resolve(&self.settings).await;
                    let is_wrong = self.caches.judge(&self.shared, &self.settled, &self.formats, Instant::now());
                    if is_moved || is_wrong { self.follow().await }
                    if self.unknown.is_none() { self.publish_endpoints() }
                }
                read = read => self.reload(read).await,
            }
        }
    }

    /// Follows the endpoints as they are configured and resolved now.
    pub(super) async fn follow(&mut self) {
        let mut pools = self.names.expand(&self.settings.pools);
        if let Some(cluster) = &self.cluster {
            let followed = cluster.borrow().clone();
            let Some(followed) = followed else { return };
            pools.extend(followed.pools.iter().cloned());
            self.replicas.follow(&followed.replicas);
        }
        self.formats.follow(&pools);
        if self.unknown.is_some() {
            // Prompts would be written in one way, and a moment later in another. Later on, no pool waits for another one's files.
            self.formats.known(FORMATS_AFTER_MAX).await;
        }
        self.settled = self.waking.settle(&pools, Instant::now());
        self.pools = pools;
        self.publish_pools();
        if let Some(unknown) = self.unknown.take() {
            // Its receiver is gone only when the controller stops.
            let _ = unknown.serve.send(());
        }
        // An engine's status means nothing to those who do not know the engine.
        self.telemetry.follow(&self.settled, self.settings.scrape);
        self.caches.follow(&self.settled, &self.formats);
    }

    /// Publishes the pools with what their engines list, if anything of it has changed.
    fn publish_pools(&mut self) {
        self.publish_endpoints();
        let mut named = self.settled.clone();
        self.models.name(&mut named);
        let mut pools = warmpath_config::pools::to_wire(&named);
        self.models.fill(&mut pools);
        self.connectors.fill(&mut pools);
        for (wire, pool) in pools.pools.iter_mut().zip(&named) {
            wire.prompt_format =
                self.caches.written(pool, &self.formats).map(|written| Box::new(written.format.clone()));
        }
        let kinds = changes(self.published.as_ref(), &pools);
        self.shared.with(|hub, now| kinds.into_iter().for_each(|kind| hub.publish(kind, now)));
        self.published = Some(pools);
    }

    /// Publishes the endpoints to Envoys, if anything of them has changed.
    fn publish_endpoints(&self) {
        let is_complete =
            self.names.are_known(&self.settings) || self.started_at.elapsed() >= COMPLETE_AFTER_MAX;
        self.endpoints.publish(&self.pools, is_complete);
    }

    async fn reload(&mut self, read: Result<Settings, LoadError>) {
        let settings = match read {
            Ok(settings) => settings,
            Err(error) => {
                self.metrics.count_reload(Reload::Refused);
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, source, "configuration rejected, the old one stays");
                return;
            }
        };
        let (reload, restart) = Reload::of(&self.settings, &settings);
        self.metrics.count_reload(reload);
        if reload == Reload::NeedsRestart {
            tracing::warn!(fields = restart.join(", "), "a change takes effect only after a restart");
        }
        tracing::info!(pools = settings.pools.len(), result = reload.label(), "configuration reloaded");
        let (scrape, pools) = (settings.scrape, settings.pools);
        self.settings = Settings { scrape, pools, ..self.settings.clone() };
        self.names.resolve(&self.settings).await;
        self.follow().await;
    }
}

// === impl Unknown ===

impl Unknown {
    /// `serve` lets the gRPC server begin.
    pub(super) fn new(unready: Unseen, serve: oneshot::Sender<()>) -> Self {
        Self { _unready: unready, serve }
    }
}

/// What to publish: the changed pools, or all if the set of pools has changed. A change of one pod among thousands must not send
/// all pools to every proxy.
fn changes(old: Option<&Pools>, new: &Pools) -> Vec<Kind> {
    let is_same_set = old.is_some_and(|old| {
        let names = |pools: &Pools| pools.pools.iter().map(|pool| pool.name.clone()).collect::<Vec<_>>();
        names(old) == names(new)
    });
    match old {
        Some(old) if is_same_set => {
            let both = old.pools.iter().zip(&new.pools);
            both.filter(|(old, new)| old != new).map(|(_, new)| Kind::Pool(new.clone())).collect()
        }
        _ => vec![Kind::Pools(new.clone())],
    }
}
