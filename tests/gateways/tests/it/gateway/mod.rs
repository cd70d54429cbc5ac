//! A gateway that runs a captured configuration with our patches, in front of simulated engines and a controller.

mod checks;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use warmpath::args::{CheckArgs, CheckOutput};
use warmpath::check;
use warmpath::check::finding::Level;
use warmpath::config::Settings;
use warmpath::run::{self, Running};
use warmpath_engine::{EngineServer, ServerConfig};
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::until;
use warmpath_gateways::run::{Surroundings, write};
use warmpath_gateways::{Captured, built_filter};
use warmpath_http::Client;

pub(crate) use self::checks::{
    conversations_stay_together, forged_headers_are_ignored, full_engines_are_retried, long_requests_pass,
    requests_pass, sessions_stay_together,
};

/// Its engines, of which each serves a model of this name.
pub(crate) const MODEL: &str = "sim";
const ENGINES: usize = 3;

/// Checks of what other objects set than those under test: the bootstrap is the test's own, and the captures were taken without
/// the VirtualService, HTTPRoute and DestinationRule of ours.
const ELSEWHERE: [&str; 4] =
    ["envoy.memory-limit", "route.public-paths", "cluster.idle-timeout", "cluster.connect-timeout"];

/// Where the clusters of a captured configuration lead.
pub(crate) struct Clusters {
    /// That of the engines.
    pub(crate) engines: &'static str,
    /// That of the controller.
    pub(crate) controller: &'static str,
    /// That of an app that is none of ours.
    pub(crate) other: &'static str,
}

/// What a gateway stands in front of.
pub(crate) struct Backends {
    pub(crate) engines: Vec<EngineServer>,
    /// An app that is none of ours.
    pub(crate) other: EngineServer,
    pub(crate) controller: Running,
}

/// A running gateway.
pub(crate) struct RunningGateway {
    pub(crate) envoy: Envoy,
    pub(crate) backends: Backends,
    listener: String,
}

// === impl Backends ===

impl Backends {
    pub(crate) async fn start() -> Self {
        Self::with(json!({})).await
    }

    /// With more fields in the controller's file.
    pub(crate) async fn with(more: Value) -> Self {
        let mut engines = Vec::new();
        for at in 0..ENGINES {
            engines.push(engine(&format!("engine-{at}")).await);
        }
        let controller = controller(&engines, more).await;
        Self { engines, other: engine("other").await, controller }
    }
}

// === impl RunningGateway ===

impl RunningGateway {
    /// Starts everything.
    pub(crate) async fn start(captured: &Captured, clusters: &Clusters) -> Self {
        let backends = Backends::start().await;
        // Where the engines' own cluster is the other one, the first entry is replaced.
        let endpoints = BTreeMap::from([
            (clusters.other.to_owned(), vec![backends.other.addr()]),
            (clusters.engines.to_owned(), backends.engines.iter().map(EngineServer::addr).collect()),
            (clusters.controller.to_owned(), vec![backends.controller.grpc_addr()]),
        ]);
        let folder = tempfile::tempdir().unwrap();
        let surroundings = Surroundings { endpoints, wasm: built_filter().unwrap() };
        let file = write(captured, &surroundings, folder.path()).unwrap();
        Self::over(&file, captured.listeners[0]["name"].as_str().unwrap(), backends).await
    }

    /// Starts Envoy from a file.
    pub(crate) async fn over(file: &Path, listener: &str, backends: Backends) -> Self {
        // Hundreds of lines about its extensions would push all else out of the log's end.
        let quiet = Some("main:warning".to_owned());
        let launch = Launch { component_log_level: quiet, ..Launch::default() };
        let envoy = Envoy::from_file(file, &launch).await.unwrap();
        Self { envoy, backends, listener: listener.to_owned() }
    }

    /// Waits until the filter has its endpoints from the controller.
    pub(crate) async fn wait_routing(&self) {
        until("the filter's endpoints", async || {
            (self.metric("view.endpoints").await >= u64::try_from(ENGINES).unwrap()).then_some(())
        })
        .await
        .unwrap();
    }

    /// A counter or gauge of the filter.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        self.envoy.admin().stat(&format!("wasmcustom.warmpath.{name}")).await.unwrap()
    }

    /// How many requests the filter has placed, or left to Envoy.
    pub(crate) async fn decisions(&self) -> u64 {
        self.envoy.admin().stats("wasmcustom.warmpath.decision.").await.unwrap().values().sum()
    }

    /// What `warmpath check` finds wrong: level, id, what was seen.
    pub(crate) async fn wrong(&self) -> Vec<String> {
        // The filter shows its sizes once a second.
        self.wait_routing().await;
        let args = CheckArgs {
            controller: Some(self.backends.controller.http_addr().to_string()),
            envoy: vec![self.envoy.admin().addr().to_string()],
            kubernetes: false,
            namespace: Vec::new(),
            output: CheckOutput::Text,
            quiet: true,
        };
        let report = check::run(&args).await;
        assert_eq!(report.unchecked, []);
        let wrong = report.findings.iter().filter(|finding| finding.level > Level::Ok);
        let wrong = wrong.filter(|finding| !ELSEWHERE.contains(&finding.check.id));
        wrong
            .map(|finding| format!("{} {} {}", finding.level.label(), finding.check.id, finding.seen))
            .collect()
    }

    pub(crate) async fn http1(&self) -> Client {
        Client::http1(self.envoy.listener(&self.listener).await.unwrap())
    }

    pub(crate) async fn http2(&self) -> Client {
        Client::h2c(self.envoy.listener(&self.listener).await.unwrap())
    }
}

async fn engine(name: &str) -> EngineServer {
    let config = ServerConfig { name: name.to_owned(), model: MODEL.to_owned(), ..ServerConfig::instant() };
    EngineServer::start(config).await.unwrap()
}

async fn controller(engines: &[EngineServer], more: Value) -> Running {
    let addresses: Vec<_> = engines.iter().map(|engine| engine.addr().to_string()).collect();
    let mut config = json!({
        "listen": { "grpc": "127.0.0.1:0", "http": "127.0.0.1:0" },
        "scrape": { "interval_ms": 100, "timeout_ms": 1000, "unhealthy_after": 3 },
        "pools": [{ "name": "llm/llama", "models": ["*"], "endpoints": addresses }],
    });
    let Value::Object(more) = more else { panic!("{more} is no object") };
    config.as_object_mut().unwrap().extend(more);
    run::start(Settings::parse(&config.to_string()).unwrap()).await.unwrap()
}
