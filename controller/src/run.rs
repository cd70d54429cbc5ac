//! Wiring: starts the parts, reloads the configuration, stops everything again.

use crate::api;
use crate::clock::Clock;
use crate::config::{LoadError, Names, Pool, RESOLVE_INTERVAL, Reload, Settings, Watched};
use crate::identity::{Identity, IdentityError, connections};
use crate::index::Index;
use crate::metrics::Metrics;
use crate::publish::{Hub, Shared, StateService};
use crate::replicas::Replicas;
use crate::telemetry::{Models, Telemetry, Unseen};
use crate::watch::{self as cluster, ClusterError, Followed};
use crate::xds::{EndpointService, Publisher};
use crate::{leader, status};
use envoy_types::pb::envoy::service::endpoint::v3::endpoint_discovery_service_server::EndpointDiscoveryServiceServer;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tonic::service::InterceptorLayer;
use tonic::transport::Server;
use warmpath_core::ids::InstanceId;
use warmpath_core::wire::{Kind, Pools};

/// Interval of the checks for outdated state.
const TICK_INTERVAL: Duration = Duration::from_millis(250);
/// Interval at which an idle proxy connection is probed, and the time limit of the probe: a proxy whose host is gone is
/// detected after their sum.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long after the start endpoints are withheld from Envoys because a host name is not resolved yet. An Envoy without any
/// endpoints serves nothing for that long; others keep theirs.
const COMPLETE_AFTER_MAX: Duration = Duration::from_secs(30);
/// How long a shutdown waits for connections to end by themselves.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A controller that runs in this process. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Running {
    grpc_addr: SocketAddr,
    http_addr: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Why a controller did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The controller cannot listen on an address.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
    /// The certificate or the token cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The filter cannot be served.
    #[error(transparent)]
    Wasm(#[from] api::WasmError),
    /// The controller cannot follow the cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// The state that a reload changes.
#[derive(Debug)]
struct Live {
    settings: Settings,
    names: Names,
    /// The cluster's pools and pods, if it is followed.
    cluster: Option<watch::Receiver<Option<Followed>>>,
    replicas: Replicas,
    /// All pools, with the addresses of their names.
    pools: Vec<Pool>,
    /// Present until the pools are known: a controller without them would take all endpoints from the proxies.
    unknown: Option<Unknown>,
    shared: Shared,
    telemetry: Telemetry,
    models: Models,
    /// The pools as they were published last.
    published: Option<Pools>,
    endpoints: Publisher,
    started_at: Instant,
    metrics: Arc<Metrics>,
}

/// Keeps the controller from being ready, and from serving proxies.
#[derive(Debug)]
struct Unknown {
    _unready: Unseen,
    serve: oneshot::Sender<()>,
}

/// Starts a controller with fixed settings.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    launch(settings, None).await
}

/// Waits for SIGTERM or SIGINT and returns its name.
pub fn stop_signal() -> io::Result<impl Future<Output = &'static str>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

/// Starts a controller that follows its configuration file, if there is one.
pub async fn launch(settings: Settings, watched: Option<Watched>) -> Result<Running, StartError> {
    let (grpc, grpc_addr) = listen(settings.listen.grpc).await?;
    let (http, http_addr) = listen(settings.listen.http).await?;
    let (stop, stopping) = watch::channel(false);
    let metrics = Arc::new(Metrics::default());
    let wasm = settings.wasm_file.as_deref().map(api::Wasm::load).transpose()?;
    let identity = Identity::load(&settings, Arc::clone(&metrics))?;
    let hub = Hub::new(Index::new(new_instance(), settings.cell_bytes, random()), Arc::clone(&metrics));
    let shared = Shared::new(hub, Clock::default(), stopping.clone());
    let mut names = Names::default();
    names.resolve(&settings).await;
    let telemetry = Telemetry::new(shared.clone(), Arc::clone(&metrics));
    let mut tasks = Vec::new();
    let cluster = follow_cluster(&settings, &metrics, &stopping, &mut tasks).await?;
    let api = api::Api::new(shared.clone(), Arc::clone(&metrics), telemetry.fleet(), telemetry.unseen())
        .omitting(&settings.omitted_prefixes)
        .listening_at(http_addr, settings.explain_token.as_deref())
        .serving(wasm)
        .following(cluster.clone());
    let models = telemetry.models();
    let (serve, is_known) = oneshot::channel();
    let unknown = Some(Unknown { _unready: telemetry.hold(), serve });
    let endpoints = Publisher::default();
    let service = EndpointService::new(endpoints.subscribe(), Arc::clone(&metrics));
    let replicas = Replicas::new(shared.clone(), identity.peers());
    let (shared_too, pools, published) = (shared.clone(), Vec::new(), None);
    let mut live = Live {
        settings,
        names,
        cluster,
        replicas,
        pools,
        unknown,
        shared: shared_too,
        telemetry,
        models,
        published,
        endpoints,
        started_at: Instant::now(),
        metrics,
    };
    live.follow();
    tracing::info!(grpc = %grpc_addr, http = %http_addr, "controller started");
    tasks.extend([
        tokio::spawn(serve_grpc(grpc, identity, service, is_known, shared.clone())),
        tokio::spawn(serve_http(http, api, shared.clone())),
        tokio::spawn(tick(shared)),
        tokio::spawn(live.run(watched)),
    ]);
    Ok(Running { grpc_addr, http_addr, stop, tasks })
}

// === impl Running ===

impl Running {
    /// The address of the state stream.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// The address of metrics, health and explanations.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Ends every stream and waits for the parts to end.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        for mut task in std::mem::take(&mut self.tasks) {
            if tokio::time::timeout(SHUTDOWN_TIMEOUT, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for task in &self.tasks {
            task.abort();
        }
    }
}

// === impl Live ===

impl Live {
    /// Keeps telemetry alive until the stop, and follows the file if there is one.
    async fn run(mut self, watched: Option<Watched>) {
        let shared = self.shared.clone();
        let models = self.models.clone();
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
            tokio::select! {
                () = shared.stopped() => return,
                () = moved => self.follow(),
                () = models.changed() => self.publish_pools(),
                _ = ticks.tick() => {
                    if self.names.resolve(&self.settings).await { self.follow() }
                    if self.unknown.is_none() { self.publish_endpoints() }
                }
                read = read => self.reload(read).await,
            }
        }
    }

    /// Follows the endpoints as they are configured and resolved now.
    fn follow(&mut self) {
        let mut pools = self.names.expand(&self.settings.pools);
        if let Some(cluster) = &self.cluster {
            let followed = cluster.borrow();
            let Some(followed) = followed.as_ref() else { return };
            pools.extend(followed.pools.iter().cloned());
            self.replicas.follow(&followed.replicas);
        }
        self.pools = pools;
        self.publish_pools();
        if let Some(unknown) = self.unknown.take() {
            // Its receiver is gone only when the controller stops.
            let _ = unknown.serve.send(());
        }
        self.telemetry.follow(&self.pools, self.settings.scrape);
    }

    /// Publishes the pools with what their engines list, if anything of it has changed.
    fn publish_pools(&mut self) {
        self.publish_endpoints();
        let mut named = self.pools.clone();
        self.models.name(&mut named);
        let mut pools = warmpath_config::pools::to_wire(&named);
        self.models.fill(&mut pools);
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
        self.follow();
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

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Follows the cluster if the settings say so, and writes the status of InferencePools while this replica holds the lease.
async fn follow_cluster(
    settings: &Settings,
    metrics: &Arc<Metrics>,
    stop: &watch::Receiver<bool>,
    tasks: &mut Vec<JoinHandle<()>>,
) -> Result<Option<watch::Receiver<Option<Followed>>>, StartError> {
    let Some(kubernetes) = settings.kubernetes.clone() else { return Ok(None) };
    let (client, namespace) = cluster::client().await?;
    let kubernetes = kubernetes.within(&namespace);
    let followed = cluster::start(client.clone(), kubernetes.clone(), Arc::clone(metrics));
    if let Some(gateway) = kubernetes.gateway {
        let pod = std::env::var("HOSTNAME").unwrap_or_default();
        let identity = format!("{pod}_{}", new_instance());
        let (is_leader, task) = leader::start(client.clone(), kubernetes.lease, identity, stop.clone());
        tasks.push(task);
        tokio::spawn(status::write(client, gateway, followed.clone(), is_leader));
    }
    Ok(Some(followed))
}

/// Serves proxies once the pools are known.
async fn serve_grpc(
    listener: TcpListener,
    identity: Identity,
    endpoints: EndpointDiscoveryServiceServer<EndpointService>,
    is_known: oneshot::Receiver<()>,
    shared: Shared,
) {
    tokio::select! {
        known = is_known => if known.is_err() { return },
        () = shared.stopped() => return,
    }
    let incoming = connections(listener, &identity);
    let served = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .layer(InterceptorLayer::new(identity.admission()))
        .add_service(StateService::new(shared.clone()))
        .add_service(endpoints)
        .serve_with_incoming_shutdown(incoming, async move { shared.stopped().await });
    let served = tokio::select! {
        served = served => served,
        () = identity.follow() => return,
    };
    if let Err(error) = served {
        tracing::error!(%error, "the state stream's server ended");
    }
}

async fn serve_http(listener: TcpListener, api: api::Api, shared: Shared) {
    let served =
        axum::serve(listener, api.router()).with_graceful_shutdown(async move { shared.stopped().await });
    if let Err(error) = served.await {
        tracing::error!(%error, "the HTTP server ended");
    }
}

async fn tick(shared: Shared) {
    let mut ticks = tokio::time::interval(TICK_INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => shared.with(Hub::tick),
            () = shared.stopped() => return,
        }
    }
}

/// A number that no earlier process had: a proxy must not mistake one controller's generations for another's.
fn new_instance() -> InstanceId {
    // Zero means "none" on the wire.
    InstanceId(random().max(1))
}

/// Random bits: the keys of a `RandomState` come from the operating system.
fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
