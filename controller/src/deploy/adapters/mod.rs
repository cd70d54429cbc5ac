//! Keeps pinned adapters loaded: asks each engine of a ModelService which it has, and lets it load what it lacks.
//!
//! ```text
//!   ModelServices, /state ─► targets ─► keeper (a task) ─► GET /v1/models, POST load_lora_adapter ─► engines
//!                                          └─► a diagnosis of each ModelService ─► its status
//! ```
//!
//! Engines load them when they start, by their flags, so that no engine is ready without them. What is loaded here is what is missing all
//! the same: unloaded by somebody, or lost by an engine. Adapters that nobody asked for are left alone. It has a task of its own, because a
//! load takes as long as a download.

mod plan;

use crate::api::StatePage;
use crate::config::ObjectName;
use crate::web::{self, Bounds};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use plan::Engine;
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use warmpath_deploy::adapters::{self, Pinned};
use warmpath_deploy::api::{EngineKind, ModelService};
use warmpath_deploy::plan::Diagnosis;

/// The condition.
pub(super) const CONDITION: &str = "AdaptersLoaded";
/// Between two looks at an engine's list of models.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// Engines that are asked at a time.
const ENGINES_MAX: usize = 8;
/// A list of models, and the time for it.
const LIST: Bounds = Bounds { time_max: Duration::from_secs(5), bytes_max: 1024 * 1024 };
/// A load, which may download: its response is a sentence.
const LOAD: Bounds = Bounds { time_max: Duration::from_mins(10), bytes_max: 64 * 1024 };
/// Engines and adapters that a message names.
const NAMED_MAX: usize = 3;
/// Bytes of an engine's words that a message has.
const WHY_BYTES_MAX: usize = 200;

/// What each ModelService wants, and where its engines are.
pub(super) type Targets = BTreeMap<ObjectName, Target>;

/// What a ModelService wants, and where its engines are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    wanted: Vec<Pinned>,
    path: &'static str,
    /// Engines that respond, `ip:port`.
    addresses: BTreeSet<String>,
}

/// The task, and what it has found. It ends with this.
#[derive(Debug)]
pub(super) struct Keeper {
    targets: watch::Sender<Targets>,
    engines: Engines,
}

/// What is known of engines by their addresses. Its copies share one state.
#[derive(Clone, Debug, Default)]
struct Engines(Arc<Mutex<BTreeMap<String, Engine>>>);

/// The body of `/v1/models`.
#[derive(Debug, Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Debug, Deserialize)]
struct Model {
    id: String,
}

// === impl Target ===

impl Target {
    /// Of a ModelService; `None`: it pins no adapters, or none of its engines responds.
    pub(super) fn of(name: &ObjectName, service: &ModelService, state: &StatePage) -> Option<Self> {
        let wanted = adapters::pinned(&service.spec);
        let name = name.to_string();
        let pool = state.pools.iter().find(|pool| pool.name == name).filter(|_| !wanted.is_empty())?;
        let healthy = pool.endpoints.iter().filter(|endpoint| endpoint.health == "healthy");
        let path = match service.spec.engine.kind {
            EngineKind::Sglang => "/load_lora_adapter",
            EngineKind::Vllm | EngineKind::Trtllm => "/v1/load_lora_adapter",
        };
        Some(Self { wanted, path, addresses: healthy.map(|endpoint| endpoint.address.clone()).collect() })
    }
}

// === impl Keeper ===

impl Keeper {
    /// Keeps nothing yet.
    pub(super) fn start() -> Self {
        let (targets, targeted) = watch::channel(Targets::default());
        let engines = Engines::default();
        tokio::spawn(keep(targeted, engines.clone()));
        Self { targets, engines }
    }

    /// Keeps these from now on.
    pub(super) fn follow(&self, targets: Targets) {
        self.targets.send_if_modified(|known| {
            let is_new = *known != targets;
            *known = targets;
            is_new
        });
    }

    /// What is to be said of each ModelService whose engines have been asked.
    pub(super) fn diagnoses(&self) -> BTreeMap<ObjectName, Diagnosis> {
        let (targets, engines) = (self.targets.borrow(), self.engines.lock());
        targets
            .iter()
            .filter_map(|(name, target)| Some((name.clone(), diagnosis(target, &engines)?)))
            .collect()
    }
}

fn diagnosis(target: &Target, engines: &BTreeMap<String, Engine>) -> Option<Diagnosis> {
    let known = || target.addresses.iter().filter_map(|at| Some((at, engines.get(at)?)));
    let asked = known().filter(|(_, engine)| engine.listed.is_some()).count();
    let lacking = known().flat_map(|(at, engine)| {
        engine.lacks(&target.wanted).into_iter().map(move |(name, why)| match why {
            Some(why) => format!("{at} cannot load {name}: {why}"),
            None => format!("{at} does not have {name} yet"),
        })
    });
    let lacking: Vec<String> = lacking.collect();
    if asked == 0 {
        return None;
    }
    let named: Vec<&str> = lacking.iter().take(NAMED_MAX).map(String::as_str).collect();
    let more = lacking.len().saturating_sub(named.len());
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let is_fine = lacking.is_empty();
    Some(Diagnosis {
        kind: CONDITION.to_owned(),
        is_fine,
        reason: if is_fine { "Loaded" } else { "Missing" }.to_owned(),
        message: if is_fine {
            "each engine has the pinned adapters".to_owned()
        } else {
            format!("{}{more}", named.join("; "))
        },
    })
}

async fn keep(mut targeted: watch::Receiver<Targets>, engines: Engines) {
    let mut running = JoinSet::new();
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            changed = targeted.changed() => if changed.is_err() { return },
        }
        let targets = targeted.borrow_and_update().clone();
        engines.lock().retain(|at, _| targets.values().any(|target| target.addresses.contains(at)));
        for target in targets.into_values() {
            for at in &target.addresses {
                // A load may take longer than the time between two looks.
                if std::mem::replace(&mut engines.lock().entry(at.clone()).or_default().is_busy, true) {
                    continue;
                }
                while running.try_join_next().is_some() {}
                if running.len() >= ENGINES_MAX {
                    running.join_next().await;
                }
                running.spawn(look(at.clone(), target.wanted.clone(), target.path, engines.clone()));
            }
        }
    }
}

/// Asks one engine, and lets it load what it lacks.
async fn look(at: String, wanted: Vec<Pinned>, path: &'static str, engines: Engines) {
    let listed = web::json::<Models>(&at, "/v1/models", LIST, "an engine").await.ok();
    let listed = listed.map(|models| models.data.into_iter().map(|model| model.id).collect());
    let loads: Vec<Pinned> = {
        let mut engines = engines.lock();
        let engine = engines.entry(at.clone()).or_default();
        engine.lists(listed);
        engine.loads(&wanted, Instant::now()).into_iter().cloned().collect()
    };
    for adapter in loads {
        let result = load(&at, path, &adapter).await;
        if let Err(why) = &result {
            tracing::warn!(engine = at, adapter = adapter.name, why, "an engine cannot load an adapter");
        }
        if let Some(engine) = engines.lock().get_mut(&at) {
            engine.loaded(&adapter.name, result, Instant::now());
        }
    }
    if let Some(engine) = engines.lock().get_mut(&at) {
        engine.is_busy = false;
    }
}

async fn load(at: &str, path: &str, adapter: &Pinned) -> Result<(), String> {
    let url = web::url(at, path);
    let body = json!({"lora_name": adapter.name, "lora_path": adapter.path}).to_string();
    let request = Request::builder().method(Method::POST).uri(&url);
    let request = request.header(header::CONTENT_TYPE, "application/json").body(Full::new(Bytes::from(body)));
    let request = request.map_err(|error| error.to_string())?;
    let reply = web::send(url, request, LOAD).await.map_err(|error| error.to_string())?;
    let words = String::from_utf8_lossy(&reply.body);
    let words = words.get(..words.floor_char_boundary(WHY_BYTES_MAX)).unwrap_or_default();
    match reply.status {
        StatusCode::OK => Ok(()),
        StatusCode::NOT_FOUND => Err(
            "it has no such path: start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in spec.engine.env"
                .to_owned(),
        ),
        status => Err(format!("{status}: {words}")),
    }
}

// === impl Engines ===

impl Engines {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Engine>> {
        // No update leaves it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Diagnosis, Keeper, LIST, Models, ObjectName, Target, Targets};
    use crate::api::{EndpointState, PoolState, StatePage};
    use bytes::Bytes;
    use http::header::CONTENT_TYPE;
    use http::{Request, StatusCode};
    use http_body_util::Full;
    use serde_json::json;
    use std::time::Duration;
    use tokio::time::timeout;
    use warmpath_deploy::api::ModelService;
    use warmpath_engine::{EngineServer, ServerConfig};

    /// Far longer than a load takes.
    const DEADLINE: Duration = Duration::from_secs(30);

    fn service(path: &str) -> ModelService {
        let adapter = |name: &str| json!({"name": name, "source": {"hub": {"repository": path}}});
        let service = json!({
            "apiVersion": "warmpath.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": "llama", "namespace": "llm"},
            "spec": {"model": {"name": "m"}, "roles": {}, "adapters": {"list": [adapter("sql"), adapter("legal")]}},
        });
        serde_json::from_value(service).unwrap()
    }

    fn targets(service: &ModelService, at: &str) -> Targets {
        let name = ObjectName { namespace: "llm".to_owned(), name: "llama".to_owned() };
        let endpoint = |address: &str, health: &str| EndpointState {
            address: address.to_owned(),
            health: health.to_owned(),
            ..EndpointState::default()
        };
        let endpoints = vec![endpoint(at, "healthy"), endpoint("127.0.0.1:1", "unhealthy")];
        let pool = PoolState { name: name.to_string(), endpoints, ..PoolState::default() };
        let target = Target::of(&name, service, &StatePage { pools: vec![pool], ..StatePage::default() });
        Targets::from([(name, target.unwrap())])
    }

    async fn engine() -> EngineServer {
        let config = ServerConfig { adapters: vec!["legal".to_owned()], ..ServerConfig::default() };
        EngineServer::start(config).await.unwrap()
    }

    /// What is said once it is this.
    async fn said(keeper: &Keeper, is_fine: bool) -> Diagnosis {
        let said = async {
            loop {
                let found = keeper.diagnoses().into_values().next();
                if let Some(found) = found.filter(|it| it.is_fine == is_fine && !it.message.contains("yet")) {
                    return found;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, said).await.unwrap()
    }

    #[tokio::test]
    async fn an_engine_loads_what_it_lacks_and_so_does_the_one_that_follows_it() {
        let keeper = Keeper::start();
        for _ in 0..2 {
            let engine = engine().await;
            keeper.follow(targets(&service("acme/lora"), &engine.addr().to_string()));
            let found = said(&keeper, true).await;
            assert_eq!((found.kind.as_str(), found.reason.as_str()), ("AdaptersLoaded", "Loaded"));
            engine.shutdown().await;
        }
    }

    #[tokio::test]
    async fn what_somebody_has_unloaded_is_loaded_again() {
        let (keeper, engine) = (Keeper::start(), engine().await);
        let at = engine.addr().to_string();
        keeper.follow(targets(&service("acme/lora"), &at));
        said(&keeper, true).await;
        let url = crate::web::url(&at, "/v1/unload_lora_adapter");
        let body = Full::new(Bytes::from(json!({"lora_name": "sql"}).to_string()));
        let request = Request::post(&url).header(CONTENT_TYPE, "application/json").body(body);
        assert_eq!(crate::web::send(url, request.unwrap(), LIST).await.unwrap().status, StatusCode::OK);
        // A change is looked at at once.
        keeper.follow(targets(&service("acme/lora-2"), &at));
        let is_listed = async {
            loop {
                let models = crate::web::json::<Models>(&at, "/v1/models", LIST, "an engine").await.unwrap();
                if models.data.iter().any(|model| model.id == "sql") {
                    return;
                }
            }
        };
        timeout(DEADLINE, is_listed).await.unwrap();
        engine.shutdown().await;
    }

    #[tokio::test]
    async fn a_load_that_fails_is_said_with_the_engines_words() {
        let (keeper, engine) = (Keeper::start(), engine().await);
        keeper.follow(targets(&service("acme/missing"), &engine.addr().to_string()));
        let found = said(&keeper, false).await;
        assert!(found.message.contains("cannot load sql: 400 Bad Request"), "{}", found.message);
        assert!(found.message.contains("No adapter found for 'sql' at 'acme/missing'"), "{}", found.message);
        engine.shutdown().await;
    }
}
