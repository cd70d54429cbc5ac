//! What the scenarios of held requests start: a pool that sleeps and wakes by the controller's file, as it does for users, and an
//! Envoy whose endpoints come from the controller, too.
//!
//! Not a [`crate::cluster::Cluster`]: the endpoints of that one are in Envoy's own configuration, and stay there.

use super::super::setting::TIME_SCALE;
use super::super::traffic::PATIENCE;
use crate::bench::process::free_port;
use crate::cluster::{MODEL, POOL, engine_name, params};
use crate::paths;
use anyhow::Context;
use futures::future::try_join_all;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use tempfile::TempDir;
use warmpath::config::{Settings, Watched};
use warmpath::run::{self, Running};
use warmpath_engine::{EngineServer, Preset, ServerConfig};
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::resources::{CONTROLLER, Filter, GATEWAY, Gateway, WasmFilter, listener};
use warmpath_envoy::shipped::ShippedConfig;
use warmpath_envoy::until;
use warmpath_envoy::xds::ControlPlane;

/// Engines of the pool when it is awake.
const ENGINES: usize = 4;
/// Where the filter's counters begin, in Envoy's stats.
const STATS: &str = "wasmcustom.warmpath.";

/// What differs between the sets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    /// Worker threads of Envoy.
    pub(super) workers: u32,
    /// Whether the filter can be made to trap.
    pub(super) is_faulty: bool,
    /// Whether a control plane of this process configures Envoy, so that it can be configured anew. Envoy then keeps its
    /// endpoints while the pool sleeps.
    pub(super) has_plane: bool,
}

/// A running set.
pub(super) struct Set {
    pub(super) envoy: Envoy,
    pub(super) gateway: SocketAddr,
    plane: Option<ControlPlane>,
    wasm: PathBuf,
    controller: Option<Running>,
    controller_at: [SocketAddr; 2],
    engines: Vec<EngineServer>,
    is_awake: bool,
    folder: TempDir,
}

// === impl Set ===

impl Set {
    /// Starts all parts; the pool sleeps.
    pub(super) async fn start(setup: Setup) -> anyhow::Result<Self> {
        let engines = try_join_all((0..ENGINES).map(engine)).await.context("cannot start the engines")?;
        let folder = tempfile::tempdir().context("cannot make a folder for the configurations")?;
        let port = || anyhow::Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)));
        let controller_at = [port()?, port()?];
        let wasm = if setup.is_faulty { paths::wasm_faulty()? } else { paths::wasm()? };
        let controller = start_controller(&folder, controller_at, &pools(&[])).await?;
        let launch = Launch { workers: setup.workers, log_level: "warning", ..Launch::default() };
        let (envoy, plane) = if setup.has_plane {
            let addresses: Vec<_> = engines.iter().map(EngineServer::addr).collect();
            let filter = Filter::Wasm(WasmFilter::new(wasm.clone(), plugin(3)));
            let gateway = Gateway { controller: Some(controller_at[0]), ..Gateway::new(filter, &addresses) };
            let plane = ControlPlane::start(gateway.resources()).await.context("no control plane")?;
            (Envoy::from_control_plane(&plane, &launch).await?, Some(plane))
        } else {
            let file = folder.path().join("envoy.json");
            let config = ShippedConfig::new().listener_port(0).admin_port(0).controllers(&controller_at[..1]);
            config.wasm(wasm.clone()).plugin(plugin(3)).eds().write(&file)?;
            (Envoy::from_file(&file, &launch).await?, None)
        };
        let gateway = envoy.listener(GATEWAY).await?;
        let set = Self {
            envoy,
            gateway,
            plane,
            wasm,
            controller: Some(controller),
            controller_at,
            engines,
            is_awake: false,
            folder,
        };
        set.wait(&format!("{STATS}feed.snapshot"), 1).await?;
        Ok(set)
    }

    /// The pool's endpoints come.
    pub(super) fn wake(&mut self) -> anyhow::Result<()> {
        self.set_awake(true)
    }

    /// The pool's endpoints go, and every proxy and the controller know that it is asleep.
    pub(super) async fn sleep(&mut self) -> anyhow::Result<()> {
        self.set_awake(false)?;
        let client = self.client();
        let ask = json!({ "model": MODEL, "prompt": "is anybody there" });
        until("the pool to sleep", async || {
            let asked = client.post_json_with("/v1/completions", &[("x-warmpath-explain", "1")], &ask);
            asked.await.ok()?.json().get("candidates").is_none().then_some(())
        })
        .await?;
        Ok(())
    }

    fn set_awake(&mut self, is_awake: bool) -> anyhow::Result<()> {
        self.is_awake = is_awake;
        fs::write(controller_file(&self.folder), config(self.controller_at, &self.pools()).to_string())
            .context("cannot write the controller's file")
    }

    /// Ends the controller.
    pub(super) async fn stop_controller(&mut self) {
        if let Some(controller) = self.controller.take() {
            controller.shutdown().await;
        }
    }

    /// Starts another one, which knows nothing, in its place.
    pub(super) async fn start_controller(&mut self) -> anyhow::Result<()> {
        self.controller = Some(start_controller(&self.folder, self.controller_at, &self.pools()).await?);
        Ok(())
    }

    /// Configures the plugin anew.
    pub(super) async fn configure_anew(&self) -> anyhow::Result<()> {
        let plane = self.plane.as_ref().context("this set has no control plane")?;
        let filter = Filter::Wasm(WasmFilter::new(self.wasm.clone(), plugin(1)));
        Ok(plane.apply([listener(&filter).into()]).await?)
    }

    /// A client of the gateway, as patient as those of the other scenarios.
    pub(super) fn client(&self) -> warmpath_http::Client {
        warmpath_http::Client::http1(self.gateway).with_time_max(PATIENCE)
    }

    /// Waits until a stat of Envoy has come this far.
    pub(super) async fn wait(&self, stat: &str, at_least: u64) -> anyhow::Result<()> {
        until(&format!("{at_least} of {stat}"), async || {
            (self.envoy.admin().stat(stat).await.ok()? >= at_least).then_some(())
        })
        .await?;
        Ok(())
    }

    /// Waits until so many requests were held, all in all.
    pub(super) async fn wait_held(&self, requests: usize) -> anyhow::Result<()> {
        self.wait(&format!("{STATS}held.endpoint"), requests as u64).await
    }

    /// The filter's counters of held requests that are not zero.
    pub(super) async fn counters(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let stats = self.envoy.admin().stats(STATS).await?;
        let stats = stats.into_iter().map(|(name, count)| (name.replacen(STATS, "", 1), count));
        Ok(stats.filter(|(name, count)| name.starts_with("hold") && *count > 0).collect())
    }

    /// Requests that engines have finished.
    pub(super) fn finished(&self) -> u64 {
        self.engines.iter().map(|engine| engine.state().finished).sum()
    }

    /// What the controller still believes to be held, once it has had its time to know better.
    pub(super) async fn left_behind(&self) -> Option<String> {
        let client = warmpath_http::Client::http1(self.controller_at[1]);
        let held = async || {
            let page = client.get("/metrics").await.ok()?.text();
            let of_pool = |line: &&str| line.starts_with("warmpath_controller_held_requests{");
            let held: Vec<_> = page.lines().filter(of_pool).map(str::to_owned).collect();
            (!held.is_empty())
                .then(|| held.into_iter().filter(|line| !line.ends_with(" 0")).collect::<Vec<_>>())
        };
        let none = until("nothing to be held", async || held().await.filter(Vec::is_empty)).await;
        match none {
            Ok(_) => None,
            Err(_) => {
                Some(held().await.map_or("the controller says nothing".to_owned(), |left| left.join(", ")))
            }
        }
    }

    /// Ends all parts.
    pub(super) async fn shutdown(mut self) {
        drop(self.envoy);
        if let Some(controller) = self.controller.take() {
            controller.shutdown().await;
        }
        futures::future::join_all(self.engines.into_iter().map(EngineServer::shutdown)).await;
    }

    fn pools(&self) -> Value {
        pools(if self.is_awake { &self.engines } else { &[] })
    }
}

async fn engine(number: usize) -> anyhow::Result<EngineServer> {
    let config = ServerConfig {
        name: engine_name(number),
        model: MODEL.to_owned(),
        params: params(Preset::Qwen3On2, None),
        time_scale: TIME_SCALE,
        tokens_per_chunk: 4,
        ..ServerConfig::default()
    };
    Ok(EngineServer::start(config).await?)
}

async fn start_controller(folder: &TempDir, at: [SocketAddr; 2], pools: &Value) -> anyhow::Result<Running> {
    let text = config(at, pools).to_string();
    let file = controller_file(folder);
    fs::write(&file, &text).context("cannot write the controller's file")?;
    let settings = Settings::parse(&text).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    Ok(run::launch(settings, Some(Watched::new(file, text))).await?)
}

fn controller_file(folder: &TempDir) -> PathBuf {
    folder.path().join("controller.yaml")
}

fn config([grpc, http]: [SocketAddr; 2], pools: &Value) -> Value {
    json!({
        "listen": { "grpc": grpc.to_string(), "http": http.to_string() },
        "scrape": { "interval_ms": 100, "timeout_ms": 1000, "unhealthy_after": 3 },
        "pools": pools,
    })
}

fn pools(engines: &[EngineServer]) -> Value {
    let endpoints: Vec<_> = engines.iter().map(|engine| engine.addr().to_string()).collect();
    json!([{ "name": POOL, "models": ["*"], "endpoints": endpoints, "hold": { "endpoint_s": 60 } }])
}

fn plugin(alternates: u32) -> Value {
    json!({ "controller": { "cluster": CONTROLLER }, "explain": true, "alternates": alternates })
}
