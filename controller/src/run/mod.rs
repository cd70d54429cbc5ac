//! Wiring: starts the parts, and stops them again. `live` keeps what they follow up to date, `serve` has the servers.

mod caches;
mod live;
mod serve;
mod verdicts;
mod waking;

use crate::api;
use crate::clock::Clock;
use crate::config::{Names, RESOLVE_INTERVAL, Settings, Watched};
use crate::events::formats::Formats;
use crate::identity::{Identity, IdentityError};
use crate::index::Index;
use crate::metrics::Metrics;
use crate::publish::{Hub, Shared};
use crate::replicas::Replicas;
use crate::scale::Scaled;
use crate::telemetry::{Telemetry, TokenTimes};
use crate::watch::{self as cluster, ClusterError, Followed};
use crate::xds::{EndpointService, Publisher};
use crate::{deploy, leader, scale, status};
use caches::Caches;
use kube::Client;
use live::{Live, Unknown};
use serve::{listen, serve_grpc, serve_http, tick};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use waking::Waking;
use warmpath_core::ids::InstanceId;

/// How long a shutdown waits for connections to end by themselves.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A controller that runs in this process. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Running {
    grpc_addr: SocketAddr,
    http_addr: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: Tasks,
}

/// The parts that run, with their names.
type Tasks = Vec<(&'static str, JoinHandle<()>)>;

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
    let clock = Clock::default();
    let shared = Shared::new(hub, clock, stopping.clone());
    let mut names = Names::default();
    names.resolve(&settings).await;
    let (mut caches, reporter) = Caches::start(&shared, &metrics, clock, settings.cell_bytes);
    if let Some(address) = settings.listen_kv_events {
        caches.listen(listen(address).await?.0);
    }
    let telemetry = Telemetry::new(shared.clone(), Arc::clone(&metrics), caches.board());
    let mut tasks: Tasks = vec![("reports", reporter)];
    let (cluster, leading) = follow_cluster(&settings, &metrics, &stopping, &mut tasks).await?;
    let api = api::Api::new(shared.clone(), Arc::clone(&metrics), telemetry.fleet(), telemetry.unseen())
        .omitting(&settings.omitted_prefixes)
        .listening_at(http_addr, settings.explain_token.as_deref())
        .serving(wasm)
        .knowing(caches.knowledge())
        .following(cluster.clone());
    if let Some(leading) = leading {
        tasks.extend(leading.begin(&api, &telemetry, &shared, &metrics, &stopping));
    }
    let (models, connectors) = (telemetry.models(), telemetry.connectors());
    let (serve, is_known) = oneshot::channel();
    let unknown = Some(Unknown::new(telemetry.hold(), serve));
    let endpoints = Publisher::default();
    let service = EndpointService::new(endpoints.subscribe(), Arc::clone(&metrics));
    let replicas = Replicas::new(shared.clone(), identity.peers());
    let (shared_too, pools, settled, published) = (shared.clone(), Vec::new(), Vec::new(), None);
    let mut live = Live {
        settings,
        names,
        cluster,
        replicas,
        pools,
        settled,
        waking: Waking::default(),
        unknown,
        shared: shared_too,
        telemetry,
        models,
        connectors,
        formats: Formats::new(RESOLVE_INTERVAL),
        caches,
        published,
        endpoints,
        started_at: Instant::now(),
        metrics,
    };
    live.follow().await;
    tracing::info!(grpc = %grpc_addr, http = %http_addr, "controller started");
    tasks.extend([
        ("gRPC", tokio::spawn(serve_grpc(grpc, identity, service, is_known, shared.clone()))),
        ("HTTP", tokio::spawn(serve_http(http, api, shared.clone()))),
        ("clock", tokio::spawn(tick(shared))),
        ("configuration", tokio::spawn(live.run(watched))),
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

    /// Waits until a part has ended by itself, and returns its name. None does but by a defect, such as a panic. The others then show
    /// what was true before: whoever runs the controller should start it anew.
    pub async fn broken(&mut self) -> &'static str {
        let ends = self.tasks.iter_mut().map(|(name, task)| {
            Box::pin(async move {
                let _ = task.await;
                *name
            })
        });
        futures::future::select_all(ends).await.0
    }

    /// Ends every stream and waits for the parts to end.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        for (_, mut task) in std::mem::take(&mut self.tasks) {
            if task.is_finished() {
                continue;
            }
            if tokio::time::timeout(SHUTDOWN_TIMEOUT, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for (_, task) in &self.tasks {
            task.abort();
        }
    }
}

/// What carries out ModelServices, once there is a state to look at.
struct Leading {
    client: Client,
    deployed: deploy::Settings,
    followed: watch::Receiver<Option<Followed>>,
    is_leader: watch::Receiver<bool>,
}

// === impl Leading ===

impl Leading {
    /// Scales ModelServices, and carries them out while this replica leads.
    fn begin(
        self,
        api: &api::Api,
        telemetry: &Telemetry,
        shared: &Shared,
        metrics: &Arc<Metrics>,
        stop: &watch::Receiver<bool>,
    ) -> Tasks {
        let Self { client, deployed, followed, is_leader } = self;
        let (to, scaled) = watch::channel(Scaled::default());
        let inputs = scale::Inputs {
            client: client.clone(),
            namespaces: deployed.kubernetes.namespaces.clone(),
            shared: shared.clone(),
            times: TokenTimes::new(telemetry.fleet()),
            cluster: followed,
            metrics: Arc::clone(metrics),
        };
        let deploy = deploy::run(client, deployed, api.clone(), scaled, is_leader, Arc::clone(metrics));
        let deploy = until_stopped(deploy, stop.clone());
        vec![("scaler", tokio::spawn(scale::run(inputs, to))), ("models", tokio::spawn(deploy))]
    }
}

/// Follows the cluster if the settings say so. While this replica holds the lease, it writes the status of InferencePools, and what is
/// returned with the cluster carries out ModelServices.
async fn follow_cluster(
    settings: &Settings,
    metrics: &Arc<Metrics>,
    stop: &watch::Receiver<bool>,
    tasks: &mut Tasks,
) -> Result<(Option<watch::Receiver<Option<Followed>>>, Option<Leading>), StartError> {
    let Some(kubernetes) = settings.kubernetes.clone() else { return Ok((None, None)) };
    let (client, namespace) = cluster::client().await?;
    let kubernetes = kubernetes.within(&namespace);
    let followed = cluster::start(client.clone(), kubernetes.clone(), Arc::clone(metrics));
    let mut leading = None;
    if kubernetes.gateway.is_some() || kubernetes.model_services {
        let pod = std::env::var("HOSTNAME").unwrap_or_default();
        let identity = format!("{pod}_{}", new_instance());
        let lease = kubernetes.lease.clone();
        let (is_leader, task) = leader::start(client.clone(), lease, identity, stop.clone());
        tasks.push(("lease", task));
        if kubernetes.model_services {
            let grpc_port = settings.listen.grpc.port();
            let deployed = deploy::Settings { kubernetes: kubernetes.clone(), grpc_port, pod };
            let (client, is_leader, followed) = (client.clone(), is_leader.clone(), followed.clone());
            leading = Some(Leading { client, deployed, followed, is_leader });
        }
        if let Some(gateway) = kubernetes.gateway {
            let status =
                until_stopped(status::write(client, gateway, followed.clone(), is_leader), stop.clone());
            tasks.push(("status", tokio::spawn(status)));
        }
    }
    Ok((Some(followed), leading))
}

/// Runs a part that ends with nothing by itself.
async fn until_stopped(part: impl Future<Output = ()>, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        () = part => {}
        _ = stop.wait_for(|is_stopping| *is_stopping) => {}
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

#[cfg(test)]
mod tests {
    use super::Running;
    use tokio::sync::watch;

    #[tokio::test]
    async fn a_part_that_ends_by_itself_is_named() {
        let (stop, _) = watch::channel(false);
        let address = ([127, 0, 0, 1], 0).into();
        let tasks = vec![
            ("lives", tokio::spawn(std::future::pending())),
            ("panics", tokio::spawn(async { panic!("as a defect would") })),
        ];
        let mut running = Running { grpc_addr: address, http_addr: address, stop, tasks };
        assert_eq!(running.broken().await, "panics");
    }
}
