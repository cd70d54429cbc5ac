//! Who routes, and how: a router in front of engines of its own.

use super::engines::Engines;
use crate::bench::process::Meter;
use crate::bench::target::{Peer, Target};
use crate::cluster::{POOL, wait_for_snapshot};
use crate::paths;
use anyhow::{Context, ensure};
use serde_json::json;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use warmpath::config::{Listen, Member, Pool, Settings};
use warmpath::run::{self, Running};
use warmpath_core::wire;
use warmpath_engine::{EngineServer, TransferProtocol};
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::resources::{CONTROLLER, GATEWAY};
use warmpath_envoy::shipped::ShippedConfig;
use warmpath_http::Client;

/// How long a router may take until it splits requests.
const SPLIT_TIME_MAX: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How requests are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    /// Each by one engine.
    Whole,
    /// In two legs, with vLLM's NIXL.
    Pull,
    /// In two legs, with vLLM's Mooncake.
    Push,
    /// In two legs, as SGLang does it.
    Rooms,
}

/// A router and a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    pub(super) router: Target,
    pub(super) mode: Mode,
}

/// A name that no way has.
#[derive(Debug, thiserror::Error)]
#[error("unknown way {name:?}, known are {known}")]
pub struct UnknownWay {
    name: String,
    known: String,
}

/// A way that runs; dropping it ends it.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) way: Way,
    pub(super) gateway: SocketAddr,
    pub(super) meter: Meter,
    pub(super) engines: Engines,
    process: Process,
    _folder: TempDir,
}

#[derive(Debug)]
enum Process {
    Envoy { _envoy: Box<Envoy>, _controller: Running },
    Peer(Peer),
}

// === impl Mode ===

impl Mode {
    pub(super) const fn protocol(self) -> Option<TransferProtocol> {
        match self {
            Self::Whole => None,
            Self::Pull => Some(TransferProtocol::Nixl),
            Self::Push => Some(TransferProtocol::Mooncake),
            Self::Rooms => Some(TransferProtocol::Sglang),
        }
    }

    /// Whether prefill engines have bootstrap servers.
    const fn has_bootstrap(self) -> bool {
        matches!(self, Self::Push | Self::Rooms)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Pull => "nixl",
            Self::Push => "mooncake",
            Self::Rooms => "sglang",
        }
    }
}

// === impl Way ===

impl Way {
    /// All that are measured: each router whole, and in the protocols that it splits requests in.
    pub const ALL: [Self; 9] = [
        Self { router: Target::Warmpath, mode: Mode::Whole },
        Self { router: Target::Warmpath, mode: Mode::Pull },
        Self { router: Target::Warmpath, mode: Mode::Push },
        Self { router: Target::Warmpath, mode: Mode::Rooms },
        Self { router: Target::VllmRouter, mode: Mode::Whole },
        Self { router: Target::VllmRouter, mode: Mode::Pull },
        Self { router: Target::VllmRouter, mode: Mode::Push },
        Self { router: Target::SglangRouter, mode: Mode::Whole },
        Self { router: Target::SglangRouter, mode: Mode::Rooms },
    ];

    pub(super) fn is_split(self) -> bool {
        self.mode != Mode::Whole
    }

    /// The same router with whole requests.
    pub(super) fn whole(self) -> Self {
        Self { mode: Mode::Whole, ..self }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.router, self.mode.name())
    }
}

impl FromStr for Way {
    type Err = UnknownWay;

    fn from_str(name: &str) -> Result<Self, UnknownWay> {
        let mut all = Self::ALL.into_iter();
        all.find(|way| way.to_string() == name).ok_or_else(|| UnknownWay {
            name: name.to_owned(),
            known: Self::ALL.map(|way| way.to_string()).join(", "),
        })
    }
}

// === impl Route ===

impl Route {
    /// Starts a way with its engines, and waits until it splits requests if it is to.
    pub(super) async fn start(way: Way, logs: &Path) -> anyhow::Result<Self> {
        let engines = Engines::start(way.mode).await?;
        let folder = tempfile::tempdir().context("cannot make a folder for envoy's configuration")?;
        let route = if way.router.is_peer() {
            let name = way.to_string().replace(':', "-");
            let arguments = |port: u16, metrics_port: u16| arguments(way, &engines, port, metrics_port);
            let peer = Peer::start_with(way.router, &name, arguments, logs).await?;
            let (gateway, meter) = (peer.gateway(), Meter::of(peer.pid()));
            Self { way, gateway, meter, engines, process: Process::Peer(peer), _folder: folder }
        } else {
            let controller = controller(way, &engines).await?;
            let envoy = envoy(&engines, controller.grpc_addr(), folder.path()).await?;
            let (gateway, meter) = (envoy.listener(GATEWAY).await?, Meter::of(envoy.pid()));
            let process = Process::Envoy { _envoy: Box::new(envoy), _controller: controller };
            Self { way, gateway, meter, engines, process, _folder: folder }
        };
        route.wait_split().await.map_err(|failure| route.blame(failure))?;
        Ok(route)
    }

    /// What went wrong with it, with the end of its log where it keeps one.
    pub(super) fn blame(&self, failure: anyhow::Error) -> anyhow::Error {
        let context = match &self.process {
            Process::Peer(peer) => format!("{}; {}", self.way, peer.log_tail()),
            Process::Envoy { .. } => self.way.to_string(),
        };
        failure.context(context)
    }

    async fn wait_split(&self) -> anyhow::Result<()> {
        let client = Client::http1(self.gateway);
        let end = Instant::now() + SPLIT_TIME_MAX;
        for number in 0.. {
            let before = self.engines.prefill_legs();
            let response =
                client.post_json(super::cost::PATH, &super::cost::body(u64::MAX - number, 8 << 10)).await;
            let is_served = response.as_ref().is_ok_and(|response| response.status == 200);
            if is_served && (!self.way.is_split() || self.engines.prefill_legs() > before) {
                break;
            }
            ensure!(Instant::now() < end, "no request is split: {response:?}");
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }
}

/// The pool of a way's engines.
fn pool(way: Way, engines: &Engines) -> Pool {
    let member = |role: wire::Role, address: SocketAddr| Member { role, ..Member::from(address) };
    let endpoints = match way.mode {
        Mode::Whole => engines.addresses().into_iter().map(Member::from).collect(),
        Mode::Pull | Mode::Push | Mode::Rooms => {
            let prefill = engines.prefill.iter().map(|engine| member(wire::Role::Prefill, engine.addr()));
            let decode = engines.decode.iter().map(|engine| member(wire::Role::Decode, engine.addr()));
            prefill.chain(decode).collect()
        }
    };
    let protocol = match way.mode {
        Mode::Whole => None,
        Mode::Pull => Some(wire::TransferProtocol::Pull),
        Mode::Push => Some(wire::TransferProtocol::Push),
        Mode::Rooms => Some(wire::TransferProtocol::Bootstrap),
    };
    let transfer = protocol.map(|protocol| wire::Transfer {
        protocol: protocol.into(),
        bootstrap_port: if way.mode.has_bootstrap() { engines.side_port().into() } else { 0 },
        ..wire::Transfer::default()
    });
    Pool { name: POOL.to_owned(), models: vec!["*".to_owned()], endpoints, transfer, ..Pool::default() }
}

async fn controller(way: Way, engines: &Engines) -> anyhow::Result<Running> {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut settings = Settings::new(Listen { grpc: free, http: free });
    settings.pools = vec![pool(way, engines)];
    run::start(settings).await.context("cannot start the controller")
}

/// The shipped Envoy with the filter, which gets its pool from the controller.
async fn envoy(engines: &Engines, controller: SocketAddr, folder: &Path) -> anyhow::Result<Envoy> {
    let plugin = json!({
        "pools": [{ "name": POOL, "models": ["*"] }],
        "controller": { "cluster": CONTROLLER },
    });
    let file = folder.join("envoy.json");
    let config = ShippedConfig::new().listener_port(0).admin_port(0).engines(&engines.addresses());
    config.controller(controller).wasm(paths::wasm()?).plugin(plugin).write(&file)?;
    let launch = Launch { workers: 1, log_level: "warning", ..Launch::default() };
    let envoy = Envoy::from_file(&file, &launch).await?;
    wait_for_snapshot(&envoy).await?;
    Ok(envoy)
}

/// What a peer is started with.
fn arguments(way: Way, engines: &Engines, port: u16, metrics_port: u16) -> Vec<String> {
    let url = |engine: &EngineServer| format!("http://{}", engine.addr());
    let mut line: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| line.extend(words.iter().map(|word| (*word).to_owned()));
    if way.router == Target::SglangRouter {
        add(&["launch"]);
    }
    add(&["--host", "127.0.0.1", "--port", &port.to_string()]);
    if way.is_split() {
        let split: &[&str] = match way.router {
            Target::VllmRouter => &["--vllm-pd-disaggregation", "--kv-connector", way.mode.name()],
            _ => &["--pd-disaggregation"],
        };
        add(split);
        for engine in &engines.prefill {
            add(&["--prefill", &url(engine)]);
            if way.mode.has_bootstrap() {
                add(&[&engine.side_addr().port().to_string()]);
            }
        }
        for engine in &engines.decode {
            add(&["--decode", &url(engine)]);
        }
        add(&["--prefill-policy", "cache_aware", "--decode-policy", "power_of_two"]);
    } else {
        add(&["--worker-urls"]);
        for engine in engines.all() {
            add(&[&url(engine)]);
        }
        add(&["--policy", "cache_aware"]);
    }
    let log_level = if way.router == Target::VllmRouter { "warning" } else { "warn" };
    add(&[
        "--prometheus-host",
        "127.0.0.1",
        "--prometheus-port",
        &metrics_port.to_string(),
        "--log-level",
        log_level,
    ]);
    add(&["--worker-startup-timeout-secs", "30", "--worker-startup-check-interval", "1"]);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_its_way_and_others_are_refused() {
        for way in Way::ALL {
            assert_eq!(way.to_string().parse::<Way>().ok(), Some(way));
        }
        let refused = "plain:nixl".parse::<Way>().unwrap_err().to_string();
        assert!(refused.contains("plain") && refused.contains("vllm-router:nixl"), "{refused}");
    }

    #[tokio::test]
    async fn peers_are_given_the_engines_of_each_leg() {
        let line = async |router, mode| {
            let engines = Engines::start(mode).await.unwrap();
            let line = arguments(Way { router, mode }, &engines, 1, 2).join(" ");
            let [p, d] =
                [&engines.prefill, &engines.decode].map(|engines| engines.first().map(EngineServer::addr));
            (line, p, d, engines.side_port())
        };
        let (nixl, p, d, _) = line(Target::VllmRouter, Mode::Pull).await;
        let first = format!("--kv-connector nixl --prefill http://{} --prefill", p.unwrap());
        assert!(
            nixl.contains(&first) && nixl.contains(&format!("--decode http://{} ", d.unwrap())),
            "{nixl}"
        );
        let (rooms, p, _, port) = line(Target::SglangRouter, Mode::Rooms).await;
        assert!(rooms.contains(&format!("--prefill http://{} {port} --prefill", p.unwrap())), "{rooms}");
        let (whole, p, d, _) = line(Target::SglangRouter, Mode::Whole).await;
        assert!(whole.contains(&format!("--worker-urls http://{} ", p.unwrap())) && d.is_none(), "{whole}");
    }
}
