//! Everything that one arm needs, started together: cold engines, the controller, one or more Envoys.
//!
//! All of it is what users run: the shipped Envoy configuration with the real Envoy, the built filter, the
//! controller. Only the engines are simulated. Engines and controller run in this process.

mod controller;
mod envoy_file;
mod legs;

use crate::arm::Arm;
use crate::bench::process::free_port;
use anyhow::Context;
use futures::future::try_join_all;
use std::net::{Ipv4Addr, SocketAddr};
use tempfile::TempDir;
use warmpath::config::Pool;
use warmpath::run::Running;
use warmpath_core::wire;
use warmpath_engine::{EngineServer, Fault, Params, Preset, ServerConfig};
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::resources::GATEWAY;
use warmpath_envoy::until;

pub use self::controller::{POOL, pool, scrape, start_controller};
pub use self::envoy_file::plugin;

/// The one model that the engines serve.
pub const MODEL: &str = "sim";

/// The filter's count of whole snapshots from the controller, in Envoy's stats.
const SNAPSHOTS: &str = "wasmcustom.warmpath.feed.snapshot";

/// What to start.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Who chooses the engine.
    pub arm: Arm,
    /// How many engines.
    pub engines: usize,
    /// Engines that run already, in place of those.
    pub engines_at: Vec<SocketAddr>,
    /// Their speed and sizes.
    pub params: Params,
    /// How many times faster than real they run; 0 answers at once.
    pub time_scale: f64,
    /// Tokens of each streamed piece.
    pub tokens_per_chunk: usize,
    /// Faults of the first engine, from the start on.
    pub faults: Vec<Fault>,
    /// How many Envoys.
    pub envoys: usize,
    /// Worker threads of each.
    pub workers: u32,
    /// Where everything listens.
    pub ports: Ports,
    /// Whether clients may ask the filter why.
    pub explain: bool,
    /// Whether the filter is the build that can be made to trap.
    pub is_faulty: bool,
    /// How long requests of the pool may wait in the proxy; `None`: not at all.
    pub hold: Option<wire::Hold>,
    /// Whether the controller comes only when it is called, and the filter's configuration names no endpoint.
    pub controller_later: bool,
}

/// Where the parts listen, on 127.0.0.1; 0 takes a free port. Fixed ports are for one Envoy only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Envoy, for clients.
    pub gateway: u16,
    /// Envoy's admin page.
    pub admin: u16,
    /// The controller's state stream.
    pub controller_grpc: u16,
    /// The controller's metrics and health.
    pub controller_http: u16,
    /// The first engine; the others follow.
    pub engines: u16,
}

/// A running arm.
#[derive(Debug)]
pub struct Cluster {
    engines: Vec<EngineServer>,
    controller: Option<Running>,
    /// Where the controller is, or will be; and how fast its engines are.
    controller_at: (SocketAddr, SocketAddr),
    arm: Arm,
    hold: Option<wire::Hold>,
    time_scale: f64,
    envoys: Vec<Envoy>,
    gateways: Vec<SocketAddr>,
    // After the processes that read it.
    _folder: TempDir,
}

// === impl Spec ===

impl Spec {
    /// One Envoy with one worker, on free ports.
    pub fn new(arm: Arm, engines: usize, params: Params, time_scale: f64) -> Self {
        Self {
            arm,
            engines,
            engines_at: Vec::new(),
            params,
            time_scale,
            tokens_per_chunk: 1,
            faults: Vec::new(),
            envoys: 1,
            workers: 1,
            ports: Ports::default(),
            explain: false,
            is_faulty: false,
            hold: None,
            controller_later: false,
        }
    }

    /// Whether its engines pass KV on.
    pub fn passes_kv_on(&self) -> bool {
        legs::role(self.arm, 0, self.engines).is_some()
    }
}

// === impl Cluster ===

impl Cluster {
    /// Starts all parts, and waits until a request would be served and routed.
    pub async fn start(spec: &Spec) -> anyhow::Result<Self> {
        let simulated = if spec.engines_at.is_empty() { spec.engines } else { 0 };
        let engines = try_join_all((0..simulated).map(|number| start_engine(spec, number))).await?;
        let mut addresses = spec.engines_at.clone();
        addresses.extend(engines.iter().map(EngineServer::addr));
        let (controller, controller_at) = first_controller(spec, &addresses).await?;
        let folder = tempfile::tempdir().context("cannot make a folder for envoy's configuration")?;
        let file = folder.path().join("envoy.json");
        let feed = spec.arm.plain().is_none().then_some(controller_at.0);
        envoy_file::write(spec, &addresses, feed, &file)?;
        let (mut envoys, mut gateways) = (Vec::new(), Vec::new());
        for number in 0..spec.envoys {
            let launch = Launch {
                workers: spec.workers,
                log_level: "warning",
                node_id: format!("gateway-{number}"),
                ..Launch::default()
            };
            let envoy = Envoy::from_file(&file, &launch).await?;
            gateways.push(envoy.listener(GATEWAY).await?);
            if controller.is_some() {
                wait_for_snapshot(&envoy).await?;
            }
            envoys.push(envoy);
        }
        Ok(Self {
            engines,
            controller,
            controller_at,
            arm: spec.arm,
            hold: spec.hold.clone(),
            time_scale: spec.time_scale,
            envoys,
            gateways,
            _folder: folder,
        })
    }

    /// Where clients come in, one address for each Envoy.
    pub fn gateways(&self) -> &[SocketAddr] {
        &self.gateways
    }

    /// Where clients of the first Envoy come in.
    pub fn gateway(&self) -> anyhow::Result<SocketAddr> {
        self.gateways.first().copied().context("there is no gateway")
    }

    /// Ends the controller, if there is one.
    pub async fn stop_controller(&mut self) {
        if let Some(controller) = self.controller.take() {
            controller.shutdown().await;
        }
    }

    /// Starts a controller where the last one was, or where Envoy looks for the first.
    pub async fn start_controller(&mut self) -> anyhow::Result<()> {
        let addresses: Vec<_> = self.engines.iter().map(EngineServer::addr).collect();
        let (grpc, http) = self.controller_at;
        let pool = Pool { hold: self.hold.clone(), ..controller::pool_of(self.arm, &addresses) };
        self.controller = Some(start_controller(grpc, http, self.time_scale, pool).await?);
        Ok(())
    }

    /// The engines.
    pub fn engines(&self) -> &[EngineServer] {
        &self.engines
    }

    /// The Envoys.
    pub fn envoys(&self) -> &[Envoy] {
        &self.envoys
    }

    /// The controller; only the arm with the filter has one.
    pub fn controller(&self) -> Option<&Running> {
        self.controller.as_ref()
    }

    /// The version that the first Envoy tells.
    pub async fn envoy_version(&self) -> anyhow::Result<String> {
        let envoy = self.envoys.first().context("there is no envoy")?;
        let info: serde_json::Value = serde_json::from_str(&envoy.admin().get("/server_info").await?)?;
        let version = info.get("version").and_then(serde_json::Value::as_str).unwrap_or_default();
        // hash/version/state/build/ssl
        Ok(version.split('/').nth(1).unwrap_or(version).to_owned())
    }

    /// Ends all parts, the ones that ask before the ones that answer.
    pub async fn shutdown(self) {
        drop(self.envoys);
        if let Some(controller) = self.controller {
            controller.shutdown().await;
        }
        futures::future::join_all(self.engines.into_iter().map(EngineServer::shutdown)).await;
    }
}

/// An engine's parameters from the command line.
pub fn params(preset: Preset, kv_tokens: Option<usize>) -> Params {
    let params = Params::new(preset);
    Params { kv_tokens: kv_tokens.unwrap_or(params.kv_tokens), ..params }
}

/// The name of an engine, as it tells in `x-engine`.
pub fn engine_name(number: usize) -> String {
    format!("engine-{number}")
}

/// The controller with its addresses, or only the addresses that it will have.
async fn first_controller(
    spec: &Spec,
    engines: &[SocketAddr],
) -> anyhow::Result<(Option<Running>, (SocketAddr, SocketAddr))> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (grpc, http) = (at(spec.ports.controller_grpc), at(spec.ports.controller_http));
    if spec.arm.plain().is_some() {
        return Ok((None, (grpc, http)));
    }
    if spec.controller_later {
        return Ok((None, (at(free_port()?), http)));
    }
    let pool = Pool { hold: spec.hold.clone(), ..controller::pool_of(spec.arm, engines) };
    let controller = start_controller(grpc, http, spec.time_scale, pool).await?;
    let addresses = (controller.grpc_addr(), controller.http_addr());
    Ok((Some(controller), addresses))
}

async fn start_engine(spec: &Spec, number: usize) -> anyhow::Result<EngineServer> {
    let port = match spec.ports.engines {
        0 => 0,
        first => {
            u16::try_from(usize::from(first) + number).context("the last engine's port is above 65535")?
        }
    };
    let config = ServerConfig {
        name: engine_name(number),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        model: MODEL.to_owned(),
        params: spec.params.clone(),
        time_scale: spec.time_scale,
        tokens_per_chunk: spec.tokens_per_chunk,
        transfer: legs::transfer(spec.arm, number, spec.engines),
        faults: if number == 0 { spec.faults.clone() } else { Vec::new() },
        ..ServerConfig::default()
    };
    let failed = || format!("cannot start {} on port {port}", engine_name(number));
    EngineServer::start(config).await.with_context(failed)
}

/// Waits until the filter has heard the controller. Before, it knows only itself; an arm that starts there would
/// measure the start.
pub async fn wait_for_snapshot(envoy: &Envoy) -> anyhow::Result<()> {
    until("the filter's first snapshot", async || {
        (envoy.admin().stat(SNAPSHOTS).await.ok()? > 0).then_some(())
    })
    .await
    .context("the filter does not hear the controller")
}
