//! Sleep mode: vLLM's `--enable-sleep-mode`, with the development endpoints that control it.
//!
//! Level 1 keeps the weights in the host's memory, level 2 discards them: whoever wakes the engine then must reload them between the two
//! parts of the wake. A request that comes meanwhile waits until the engine is awake, and one that comes to an engine without weights
//! fails, where the real one would generate nonsense. Both are counted, for routers that must not let it come to that.
//!
//! As in vLLM, a sleep begins with a pause, which stays where the rest fails: such an engine says that it sleeps, and that it is awake after
//! a wake that did nothing.

use super::{
    engine_server::App,
    reply::{Body, json as reply_json},
};
use crate::api::ApiError;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::watch;

/// What of an engine is asleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Asleep {
    /// Whether nothing is computed.
    is_paused: bool,
    weights: Weights,
    kv_cache: bool,
}

/// Where the weights are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Weights {
    #[default]
    InPlace,
    /// In the host's memory.
    Offloaded,
    /// Nowhere, and there is no memory for them.
    Discarded,
    /// Nowhere, and there is memory for them.
    Missing,
}

/// What came of sleeping so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slept {
    /// Times that it fell asleep.
    pub sleeps: u64,
    /// Times that it was awake again, with all its parts.
    pub wakes: u64,
    /// Requests under way when it was sent to sleep: vLLM aborts them.
    pub interrupted: u64,
    /// Inference requests that came while it slept.
    pub disturbed: u64,
    /// Inference requests that came when it was awake without its weights.
    pub without_weights: u64,
}

/// The sleep of one engine.
#[derive(Debug)]
pub(super) struct Sleep {
    asleep: watch::Sender<Asleep>,
    slept: Mutex<Slept>,
}

// === impl Asleep ===

impl Asleep {
    fn lacks_memory(self) -> bool {
        self.kv_cache || matches!(self.weights, Weights::Offloaded | Weights::Discarded)
    }
}

// === impl Sleep ===

impl Default for Sleep {
    fn default() -> Self {
        Self { asleep: watch::channel(Asleep::default()).0, slept: Mutex::default() }
    }
}

impl Sleep {
    /// What came of sleeping so far.
    pub(super) fn slept(&self) -> Slept {
        *self.slept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process is another one, and awake.
    pub(super) fn restart(&self) {
        self.asleep.send_replace(Asleep::default());
    }

    fn count(&self, change: impl FnOnce(&mut Slept)) {
        change(&mut self.slept.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn is_sleeping(&self) -> bool {
        let asleep = *self.asleep.borrow();
        asleep.is_paused || asleep.lacks_memory()
    }

    /// Waits until the engine can compute.
    pub(super) async fn awake(&self) -> Result<(), ApiError> {
        if self.is_sleeping() {
            self.count(|slept| slept.disturbed += 1);
        }
        let mut asleep = self.asleep.subscribe();
        let awake = asleep.wait_for(|asleep| !asleep.is_paused && !asleep.lacks_memory()).await;
        if awake.is_ok_and(|awake| awake.weights == Weights::Missing) {
            self.count(|slept| slept.without_weights += 1);
            return Err(ApiError::Fault(StatusCode::INTERNAL_SERVER_ERROR));
        }
        Ok(())
    }
}

/// `POST /sleep?level=1`.
pub(super) fn sleep(app: &App, query: &str) -> Result<Response<Body>, ApiError> {
    let level = values(query, "level").next().unwrap_or("1");
    if !["1", "2"].contains(&level) {
        return Err(ApiError::Invalid(format!("level {level} is none that is simulated")));
    }
    if app.config.sleep_fails {
        // Its memory is gone, and nobody has taken note of it.
        app.sleep.asleep.send_replace(Asleep { is_paused: true, weights: Weights::Missing, kv_cache: false });
        return Err(ApiError::Fault(StatusCode::INTERNAL_SERVER_ERROR));
    }
    let weights = if level == "2" { Weights::Discarded } else { Weights::Offloaded };
    let stats = app.hub.read(|readings| readings.stats);
    app.sleep.count(|slept| {
        slept.sleeps += 1;
        slept.interrupted += (stats.running + stats.waiting) as u64;
    });
    app.sleep.asleep.send_replace(Asleep { is_paused: true, weights, kv_cache: true });
    // The cache is discarded.
    app.hub.forget();
    Ok(reply_json(StatusCode::OK, &json!({"status": "sleeping", "level": if level == "2" { 2 } else { 1 }})))
}

/// `POST /wake_up`, all of it or the parts that `tags` name.
pub(super) async fn wake_up(app: &App, query: &str, takes: Duration) -> Response<Body> {
    let tags: Vec<&str> = values(query, "tags").collect();
    let is_meant = |tag: &str| tags.is_empty() || tags.contains(&tag);
    let lacked_memory = app.sleep.asleep.borrow().lacks_memory();
    if lacked_memory {
        tokio::time::sleep(takes).await;
    }
    app.sleep.asleep.send_modify(|asleep| {
        asleep.weights = match asleep.weights {
            Weights::Offloaded if is_meant("weights") => Weights::InPlace,
            Weights::Discarded if is_meant("weights") => Weights::Missing,
            weights => weights,
        };
        asleep.kv_cache &= !is_meant("kv_cache");
        asleep.is_paused &= asleep.lacks_memory();
    });
    if lacked_memory && !app.sleep.is_sleeping() {
        app.sleep.count(|slept| slept.wakes += 1);
    }
    let tags = (!tags.is_empty()).then_some(tags);
    reply_json(StatusCode::OK, &json!({"status": "awake", "tags": tags}))
}

/// `GET /is_sleeping`.
pub(super) fn is_sleeping(app: &App) -> Response<Body> {
    reply_json(StatusCode::OK, &json!({"is_sleeping": app.sleep.is_sleeping()}))
}

/// `POST /collective_rpc` with `reload_weights`, for which their memory must be there.
pub(super) fn collective_rpc(app: &App, body: &[u8]) -> Result<Response<Body>, ApiError> {
    #[derive(Deserialize)]
    struct Call {
        method: String,
    }
    let call: Call = serde_json::from_slice(body).map_err(ApiError::BadJson)?;
    if call.method != "reload_weights" {
        return Err(ApiError::Invalid(format!("{} is no method that is simulated", call.method)));
    }
    if matches!(app.sleep.asleep.borrow().weights, Weights::Offloaded | Weights::Discarded) {
        return Err(ApiError::Fault(StatusCode::INTERNAL_SERVER_ERROR));
    }
    app.sleep.asleep.send_modify(|asleep| asleep.weights = Weights::InPlace);
    Ok(reply_json(StatusCode::OK, &json!({"results": [null]})))
}

/// The values of a parameter, which have no characters that would be escaped.
fn values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(move |(key, _)| *key == name).map(|(_, value)| value)
}
