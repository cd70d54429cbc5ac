//! Everything together: simulated engines, a controller, a control plane, and Envoys with the built filter.
//! All but the Envoys live in this process; all end when the test drops them.

mod artifact;
mod ask;
mod clean;
mod controller;
mod framing;
mod traffic;

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::ops::Range;
use warmpath_engine::{EngineServer, ServerConfig};
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::resources::{CONTROLLER, Filter, GATEWAY, Gateway, WasmFilter};
use warmpath_envoy::until;
use warmpath_envoy::xds::ControlPlane;
use warmpath_http::{Client, Connection};

pub(crate) use self::artifact::{Build, TRAP_HEADER};
pub(crate) use self::ask::{
    EXPLAIN, PATH, cached_tokens, completion, engine_of, explain, explain_anywhere, prompt, send,
};
pub(crate) use self::clean::assert_at_rest;
pub(crate) use self::controller::Controller;
pub(crate) use self::framing::{HEAD, chunks_and_trailers, send_with_trailers};
pub(crate) use self::traffic::Traffic;

/// The model of the usual pool.
pub(crate) const MODEL: &str = "sim";

/// What differs between stacks.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The model of each pool, and the numbers of its engines.
    pub(crate) pools: Vec<(&'static str, Range<usize>)>,
    /// Engines that exist, in pools or not yet.
    pub(crate) engines: usize,
    /// Without one, the pools are in the plugin's configuration.
    pub(crate) has_controller: bool,
    pub(crate) envoys: usize,
    /// Worker threads of each Envoy.
    pub(crate) workers: u32,
    pub(crate) build: Build,
    /// See [`Launch`].
    pub(crate) drain_s: u32,
    /// See [`WasmFilter`].
    pub(crate) shows_bodies: bool,
    /// The rules of each pool for other models.
    pub(crate) rewrites: Value,
    /// How long requests of each pool may wait in the proxy; `null`: not at all.
    pub(crate) hold: Value,
    /// Fields of the plugin's configuration besides pools and controller.
    pub(crate) fields: Value,
    /// What the engines are, in turn, but for their names and models.
    pub(crate) kinds: Vec<ServerConfig>,
    /// Further fields of each pool in the controller's file.
    pub(crate) pool_fields: Value,
}

// === impl Setup ===

impl Default for Setup {
    fn default() -> Self {
        Self {
            pools: vec![(MODEL, 0..3)],
            engines: 3,
            has_controller: true,
            envoys: 1,
            workers: 1,
            build: Build::Shipped,
            drain_s: Launch::default().drain_s,
            shows_bodies: true,
            rewrites: json!([]),
            hold: Value::Null,
            fields: json!({}),
            kinds: vec![ServerConfig::instant()],
            pool_fields: json!({}),
        }
    }
}

/// A running stack.
pub(crate) struct Stack {
    // First, so that they go first: an Envoy that loses its control plane fills its log with that.
    envoys: Vec<Envoy>,
    pub(crate) plane: ControlPlane,
    controller: Option<Controller>,
    engines: Vec<EngineServer>,
    setup: Setup,
}

// === impl Stack ===

impl Stack {
    pub(crate) async fn start(setup: Setup) -> Self {
        let mut engines = Vec::new();
        for at in 0..setup.engines {
            let pool = setup.pools.iter().find(|(_, members)| members.contains(&at));
            let model = pool.map_or(MODEL, |(model, _)| model).to_owned();
            let kind = setup.kinds[at % setup.kinds.len()].clone();
            let config = ServerConfig { name: format!("engine-{at}"), model, ..kind };
            engines.push(EngineServer::start(config).await.unwrap());
        }
        let addresses: Vec<_> = engines.iter().map(EngineServer::addr).collect();
        let pools = pools(&setup.pools, &addresses, &setup);
        let controller = if setup.has_controller { Some(Controller::start(&pools).await) } else { None };
        let filter = filter(&setup, plugin(&setup, &pools));
        let gateway = Gateway {
            controller: controller.as_ref().map(Controller::addr),
            ..Gateway::new(filter, &addresses)
        };
        let plane = ControlPlane::start(gateway.resources()).await.unwrap();
        let mut envoys = Vec::new();
        for at in 0..setup.envoys {
            let launch = Launch {
                workers: setup.workers,
                drain_s: setup.drain_s,
                node_id: format!("envoy-{at}"),
                // Hundreds of lines about its extensions, which would push all else out of the log's end.
                component_log_level: Some("main:warning".to_owned()),
                ..Launch::default()
            };
            envoys.push(Envoy::from_control_plane(&plane, &launch).await.unwrap());
        }
        let stack = Self { envoys, plane, controller, engines, setup };
        stack.wait_routing().await;
        stack
    }

    /// The usual stack.
    pub(crate) async fn usual() -> Self {
        Self::start(Setup::default()).await
    }

    pub(crate) fn envoy(&self, at: usize) -> &Envoy {
        &self.envoys[at]
    }

    pub(crate) fn engine(&self, at: usize) -> &EngineServer {
        &self.engines[at]
    }

    /// The engine with this name.
    pub(crate) fn engine_named(&self, name: &str) -> &EngineServer {
        self.engines.iter().find(|engine| engine.name() == name).unwrap()
    }

    pub(crate) fn addresses(&self, of: Range<usize>) -> Vec<SocketAddr> {
        self.engines[of].iter().map(EngineServer::addr).collect()
    }

    pub(crate) fn controller(&mut self) -> &mut Controller {
        self.controller.as_mut().unwrap()
    }

    /// Where clients of an Envoy come in.
    pub(crate) async fn gateway(&self, at: usize) -> SocketAddr {
        self.envoy(at).listener(GATEWAY).await.unwrap()
    }

    /// A client of the first Envoy.
    pub(crate) async fn client(&self) -> Client {
        Client::http1(self.gateway(0).await)
    }

    /// The plugin's configuration as it was at the start.
    pub(crate) fn plugin(&self) -> Value {
        plugin(&self.setup, &self.pools(&self.setup.pools))
    }

    /// The filter with another configuration.
    pub(crate) fn filter(&self, plugin: Value) -> Filter {
        filter(&self.setup, plugin)
    }

    /// Pools as the controller's file and the plugin's configuration have them.
    pub(crate) fn pools(&self, pools_of: &[(&'static str, Range<usize>)]) -> Value {
        pools(pools_of, &self.addresses(0..self.engines.len()), &self.setup)
    }

    /// Waits until a counter of the filter in the first Envoy has come this far: a VM tells on its tick.
    pub(crate) async fn counted(&self, name: &str, at_least: u64) {
        until(name, async || (self.metric(name).await >= at_least).then_some(())).await.unwrap();
    }

    /// A counter or gauge of the filter in the first Envoy.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        self.envoy(0).admin().stat(&format!("wasmcustom.warmpath.{name}")).await.unwrap()
    }

    /// Waits until every worker of every Envoy knows an endpoint.
    async fn wait_routing(&self) {
        let body = completion(self.setup.pools[0].0, "is anybody there");
        for (at, envoy) in self.envoys.iter().enumerate() {
            for connection in &mut envoy.connection_of_each_worker(self.workers()).await.unwrap() {
                until("a worker to know an endpoint", async || explain(connection, &body).await)
                    .await
                    .unwrap_or_else(|wait| panic!("envoy {at}: {wait}"));
            }
        }
    }

    /// A connection to each worker of an Envoy, in their order.
    pub(crate) async fn connections(&self, at: usize) -> Vec<Connection> {
        self.envoy(at).connection_of_each_worker(self.workers()).await.unwrap()
    }

    fn workers(&self) -> usize {
        usize::try_from(self.setup.workers).unwrap()
    }
}

fn plugin(setup: &Setup, pools: &Value) -> Value {
    let mut plugin = setup.fields.clone();
    plugin["explain"] = json!(true);
    if setup.has_controller {
        plugin["controller"] = json!({ "cluster": CONTROLLER });
    } else {
        plugin["pools"] = pools.clone();
    }
    plugin
}

fn filter(setup: &Setup, plugin: Value) -> Filter {
    let shows_bodies = setup.shows_bodies;
    Filter::Wasm(WasmFilter { shows_bodies, ..WasmFilter::new(setup.build.path(), plugin) })
}

fn pools(of: &[(&'static str, Range<usize>)], addresses: &[SocketAddr], setup: &Setup) -> Value {
    let pool = |(model, members): &(&'static str, Range<usize>)| {
        let endpoints: Vec<_> = addresses[members.clone()].iter().map(ToString::to_string).collect();
        let name = format!("pool-{model}");
        let rewrites = &setup.rewrites;
        let mut pool =
            json!({ "name": name, "models": [model], "endpoints": endpoints, "rewrites": rewrites });
        if !setup.hold.is_null() {
            pool["hold"] = setup.hold.clone();
        }
        pool.as_object_mut().unwrap().extend(setup.pool_fields.as_object().unwrap().clone());
        pool
    };
    of.iter().map(pool).collect()
}
