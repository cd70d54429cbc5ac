//! The page of `GET /state`, as the controller writes it and the commands `warmpath get` and `warmpath check` read it.
//!
//! One type for both sides. Absent fields have their defaults, so that a command can read the page of another version.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The state of the controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatePage {
    /// The controller's version.
    pub version: String,
    /// Differs from that of every earlier process.
    pub instance: String,
    /// Time since the controller started.
    pub uptime_ms: u64,
    /// Changes since then.
    pub generation: u64,
    /// Bytes of text in a cell.
    pub cell_bytes: usize,
    /// Distinct cells over all endpoints.
    pub cells: usize,
    /// All pools.
    pub pools: Vec<PoolState>,
    /// The other replicas of the controller.
    pub replicas: Vec<ReplicaState>,
    /// The proxies that are connected, to any replica.
    pub proxies: Vec<ProxyState>,
    /// The proxies that were refused recently, and have not been served since.
    pub refused: Vec<RefusedState>,
    /// What the controller follows in a cluster, if it follows one.
    pub watches: Vec<WatchPage>,
    /// What is wrong with objects in the cluster.
    pub problems: Vec<ProblemPage>,
}

/// One watch of the API server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchPage {
    /// What is watched: `inferencepools.inference.networking.k8s.io`.
    pub resource: String,
    /// Where; null for all namespaces.
    pub namespace: Option<String>,
    /// How it goes: `pending`, `synced`, `missing`, `forbidden` or `failing`.
    pub state: String,
    /// Why it does not work.
    pub message: String,
}

/// An object in the cluster that does not do what its author must have meant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProblemPage {
    /// Its name in metrics.
    pub kind: String,
    /// What is wrong, and with which object.
    pub message: String,
}

/// One pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolState {
    /// Its name.
    pub name: String,
    /// Names of the base model.
    pub models: Vec<String>,
    /// Names of adapters.
    pub adapters: Vec<String>,
    /// The learned ratio of text to tokens.
    pub bytes_per_token: f64,
    /// Share of the prompts' tokens that engines recently found in their caches, by the usage that this replica's proxies reported;
    /// null without any.
    pub cached_share: Option<f64>,
    /// The time, in milliseconds, within which nine of ten streamed responses have begun lately, from the dispatch of the request (of two
    /// legs: of the second) to the first token; null where there were too few.
    pub ttft_p90_ms: Option<f64>,
    /// How its engines pass KV on; null: no request is split.
    pub transfer: Option<TransferState>,
    /// How long its requests may wait in the proxy; null: none does.
    pub hold: Option<HoldState>,
    /// The requests that proxies hold until there is room for their conversations.
    pub held_for_room: HeldState,
    /// The requests that proxies hold until the pool has an endpoint.
    pub held_for_endpoint: HeldState,
    /// How its prompts are written; null: it does not say, and what engines hold is learned.
    pub prompt: Option<PromptState>,
    /// Its endpoints.
    pub endpoints: Vec<EndpointState>,
}

/// How a pool's prompts are written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PromptState {
    /// The files that it names.
    pub tokenizer: String,
    /// Whether proxies write prompts as the engines do.
    pub is_written: bool,
    /// Why the files are of no use.
    pub fault: Option<String>,
    /// Why it is not used any more: what shows that the engines' prompts are other ones.
    pub mismatch: Option<String>,
    /// What does not work with it.
    pub notes: Vec<String>,
}

/// What an engine reports of its cache.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KvState {
    /// How far it is relied on: `none`, `whole`, `partial` or `suspect`.
    pub trust: String,
    /// Where it publishes, by rank; empty if it does not say.
    pub sources: Vec<String>,
    /// Ranks of those that are connected.
    pub connected: usize,
    /// Why one is not, or why nothing comes.
    pub problem: Option<String>,
    /// The topic of what one publishes in place of what is followed.
    pub topic: Option<String>,
    /// Messages that came.
    pub messages: u64,
    /// Blocks that are known.
    pub blocks: usize,
    /// Cells of these that are reported to proxies.
    pub cells: usize,
    /// Blocks that it stored so far.
    pub stored: u64,
    /// Blocks of those with tokens that the tokenizer does not have.
    pub unknown_tokens: u64,
    /// Blocks that waited in vain for the one before them.
    pub lost: u64,
}

/// How the engines of a pool pass KV on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TransferState {
    /// What they speak, as the configuration names it.
    pub protocol: String,
    /// The port of the prefill engines' bootstrap servers; null for the engines' default, or where they have none.
    pub bootstrap_port: Option<u32>,
    /// The cluster through which prefill legs reach them; null for that of the request's route.
    pub cluster: Option<String>,
}

/// How long a pool's requests may wait in the proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HoldState {
    /// For room, in seconds; zero: none waits for that.
    pub room_s: u32,
    /// For an endpoint, in seconds; zero: none waits for that.
    pub endpoint_s: u32,
    /// Tenants whose share is not that of the others, with their weights.
    pub tenants: BTreeMap<String, u32>,
    /// Whether the gate lets requests wait for room: hits are being lost, and requests queue at the engines.
    pub gate_is_on: bool,
    /// Share of what earlier turns of the pool's conversations computed that no engine has any more.
    pub lost_share: f64,
}

/// Requests that proxies hold for the same reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeldState {
    /// How many.
    pub requests: usize,
    /// How long the oldest of them has waited.
    pub oldest_ms: u64,
    /// Bytes of their bodies, which the proxies keep.
    pub body_bytes: u64,
}

/// One endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointState {
    /// `ip:port`.
    pub address: String,
    /// `namespace/name` of its pod; null if it is no pod, or the controller does not follow pods.
    pub pod: Option<String>,
    /// The legs of requests that it takes: `both`, `prefill` or `decode`.
    pub role: String,
    /// What the scrapes show. Proxies are sent `unknown` if the scrapes of the whole pool fail.
    pub health: String,
    /// Whether it may be chosen.
    pub fitness: String,
    /// The outcome of the last scrape; null before the first one.
    pub scrape: Option<String>,
    /// Time since the last successful scrape; null before the first one.
    pub scraped_ms: Option<u64>,
    /// The kind of engine, by its metrics; null if none of them is known.
    pub engine: Option<String>,
    /// The legs that the engine was started for, by its metrics; null where they do not say.
    pub engine_role: Option<String>,
    /// Whether its metrics show a NIXL connector; null unless they are vLLM's.
    pub nixl: Option<bool>,
    /// Whether its bootstrap server accepts connections; null where it has none, or before it was tried.
    pub bootstrap: Option<bool>,
    /// From the engine's metrics page: requests in its batch.
    pub running: u32,
    /// Requests in its queue.
    pub waiting: u32,
    /// Share of its KV cache that requests use, in thousandths.
    pub kv_used_permille: u32,
    /// Tokens that its GPU can hold.
    pub capacity_tokens: u64,
    /// Whether the engine reports that number: otherwise it is assumed.
    pub capacity_is_known: Option<bool>,
    /// In addition to that, in tiers below: as configured, or as the engine reports.
    pub kv_below_gpu_tokens: u64,
    /// Tokens in a KV block.
    pub block_tokens: Option<u32>,
    /// The in-flight work of all proxies.
    pub requests: u32,
    /// Requests of those that still prefill.
    pub prefills: u32,
    /// Work of those prefills.
    #[serde(rename = "prefill_tokens")]
    pub prefill_work: u64,
    /// Prompt tokens of all of them.
    pub context_tokens: u64,
    /// Cells that it is believed to hold.
    pub held_cells: usize,
    /// Cells that it can hold on its GPU and below.
    pub capacity_cells: usize,
    /// Its measured speed; null until first tokens have shown it.
    pub prefill_s_per_token: Option<f64>,
    /// As [`PoolState::cached_share`].
    pub cached_share: Option<f64>,
    /// Whether the usage in its responses says how many tokens were cached; null without any.
    pub says_cached: Option<bool>,
    /// What it reports of its cache; null if that is not followed.
    pub kv: Option<KvState>,
}

/// The page of `GET /proxies`: who is connected to one replica.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProxiesPage {
    /// As in [`StatePage::instance`].
    pub instance: String,
    /// The replica's name for people: that of its pod.
    pub replica: String,
    /// The proxies that are connected to it.
    pub proxies: Vec<ProxyState>,
    /// The proxies that it refused lately.
    pub refused: Vec<RefusedState>,
}

/// Another replica of the controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplicaState {
    /// Where it was asked for its proxies.
    pub address: String,
    /// Its name for people; empty where it did not respond.
    pub name: String,
    /// Why it did not respond: its proxies are not listed.
    pub problem: Option<String>,
}

/// A proxy that is connected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProxyState {
    /// The replica that it is connected to: the name of its pod.
    pub replica: String,
    /// Its process.
    pub process: String,
    /// Its name for people: Envoy's node id.
    pub node: String,
    /// Its filter's version.
    pub version: String,
    /// Bytes of text in its cells; null if it does not state them.
    pub cell_bytes: Option<u32>,
    /// Whether it takes what engines report of their caches; null if its replica does not know.
    pub takes_reports: Option<bool>,
    /// For how long it has been connected.
    pub connected_ms: u64,
    /// Requests that it has in flight.
    pub requests: u32,
    /// Requests that it holds.
    pub held: u32,
}

/// A proxy that was refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RefusedState {
    /// Its process.
    pub process: String,
    /// Its name for people.
    pub node: String,
    /// Its filter's version.
    pub version: String,
    /// Why, by its name in metrics.
    pub reason: String,
    /// Why, in words.
    pub message: String,
    /// Time since it last tried.
    pub age_ms: u64,
}
