//! How each engine is started: its command, flags, environment and ports.
//!
//! Flags are those of vLLM 0.32.0, whose parser takes all that the golden plans have, of SGLang 0.5.23 and of TensorRT-LLM 1.2.

mod flags;
mod sglang;
mod trtllm;
mod vllm;
mod vllm_cache;

pub(crate) use flags::flag_name;

use crate::api::{Adapter, Engine, EngineKind, HubSource, KeyRef, KvCache, ModelServiceSpec, RoleName};
use crate::shape::Shape;
use flags::Flags;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The engines' port, that of the first rank; the others of a pod have the next ones.
pub const HTTP_PORT: u16 = 8_000;
/// The port for KV events of rank 0, and that of their replays. Each rank has the next one, so several leave room between the two.
const EVENTS: (u16, u16) = (5_557, 5_558);
const EVENTS_OF_RANKS: (u16, u16) = (20_000, 22_000);
/// NIXL's default.
const SIDE_CHANNEL_PORT: u16 = 5_600;
/// The engines' default.
pub(crate) const BOOTSTRAP_PORT: u16 = 8_998;
/// Where the model is in the container, if it comes from a volume.
pub(crate) const MODEL_PATH: &str = "/model";
/// Where downloads are kept.
pub(crate) const WEIGHTS_PATH: &str = "/weights";
/// Where adapters are, one directory each.
pub(crate) const ADAPTERS_PATH: &str = "/adapters";
/// Where small files of the engine are.
pub(crate) const FILES_PATH: &str = "/etc/warmpath";
/// Where the chat template is.
pub(crate) const TEMPLATE_PATH: &str = "/etc/warmpath-template/template.jinja";
/// Where the shared store's claim is.
pub(crate) const SHARED_PATH: &str = "/kv-shared";

/// How an engine is started.
#[derive(Debug, Default)]
pub(crate) struct Launch {
    pub(crate) command: Vec<String>,
    pub(crate) args: Vec<String>,
    /// The arguments of the further pods of a replica, where they differ.
    pub(crate) worker_args: Option<Vec<String>>,
    pub(crate) env: Vec<Value>,
    pub(crate) ports: Vec<(String, u16)>,
    /// Small files by their names, in [`FILES_PATH`].
    pub(crate) files: BTreeMap<String, String>,
    /// Where its health is.
    pub(crate) health: (String, u16),
    /// Whether all pods of a replica take requests, in place of the first alone.
    pub(crate) all_serve: bool,
}

/// What an engine is started for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) spec: &'a ModelServiceSpec,
    pub(crate) shape: &'a Shape<'a>,
    pub(crate) cache: &'a KvCache,
}

/// How the engine of a role is started.
pub(crate) fn launch(context: Context<'_>) -> Launch {
    match context.spec.engine.kind {
        EngineKind::Vllm => vllm::launch(context),
        EngineKind::Sglang => sglang::launch(context),
        EngineKind::Trtllm => trtllm::launch(context),
    }
}

/// The names that requests use.
pub(crate) fn served_names(spec: &ModelServiceSpec) -> Vec<String> {
    if spec.model.served_names.is_empty() {
        vec![spec.model.name.clone()]
    } else {
        spec.model.served_names.clone()
    }
}

/// The ports for KV events and their replays, of rank 0.
pub(crate) fn event_ports(shape: &Shape<'_>) -> (u16, u16) {
    if shape.role.parallelism.data > 1 { EVENTS_OF_RANKS } else { EVENTS }
}

/// An environment variable.
fn env(name: &str, value: impl Into<String>) -> Value {
    json!({"name": name, "value": value.into()})
}

/// An environment variable with a field of the pod.
fn env_of_field(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}})
}

/// The directory of the model in a volume, or its repository on the hub.
fn model_argument(spec: &ModelServiceSpec) -> String {
    let within = |path: &Option<String>| match path.as_deref().map(|path| path.trim_matches('/')) {
        Some(path) if !path.is_empty() => format!("{MODEL_PATH}/{path}"),
        _ => MODEL_PATH.to_owned(),
    };
    let source = spec.model.source.as_ref();
    if let Some(claim) = source.and_then(|source| source.claim.as_ref()) {
        return within(&claim.path);
    }
    if let Some(image) = source.and_then(|source| source.image.as_ref()) {
        return within(&image.path);
    }
    let hub = source.and_then(|source| source.hub.as_ref());
    hub.and_then(|hub| hub.repository.clone()).unwrap_or_else(|| spec.model.name.clone())
}

/// What downloads need.
fn hub_env(spec: &ModelServiceSpec) -> Vec<Value> {
    let is_on_volume = spec.model.source.as_ref().is_some_and(|source| source.hub.is_none());
    let has_adapters = adapters_of_hub(spec).next().is_some();
    let mut found = match (is_on_volume, has_adapters) {
        // A pod that has all on volumes should not ask the hub for anything.
        (true, false) => return vec![env("HF_HUB_OFFLINE", "1")],
        // Without the volume of downloads, they go where the engine's image puts them.
        (true, true) => Vec::new(),
        (false, _) => vec![env("HF_HOME", WEIGHTS_PATH)],
    };
    if let Some(token) = hub_token(spec) {
        let reference = json!({"name": token.name, "key": token.key});
        found.push(json!({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}}));
    }
    found
}

fn adapters_of_hub(spec: &ModelServiceSpec) -> impl Iterator<Item = &HubSource> {
    spec.adapters.iter().flat_map(|adapters| &adapters.list).filter_map(|adapter| adapter.source.hub.as_ref())
}

/// The one token that an engine has: the model's, or the first of an adapter.
pub(crate) fn hub_token(spec: &ModelServiceSpec) -> Option<&KeyRef> {
    let model = spec.model.source.iter().filter_map(|source| source.hub.as_ref());
    model.chain(adapters_of_hub(spec)).find_map(|hub| hub.token.as_ref())
}

/// The flags that engines have alike, of their server and of the model. Each has its own name for the longest context.
fn serving(spec: &ModelServiceSpec, context_length: &str, flags: &mut Flags) {
    flags.set("--host", "0.0.0.0");
    flags.set("--port", HTTP_PORT);
    flags.set_some("--revision", revision(spec));
    flags.set_some(context_length, spec.model.context_length);
    if spec.model.chat_template.is_some() {
        flags.set("--chat-template", TEMPLATE_PATH);
    }
}

/// Where an engine publishes what it holds, as vLLM and SGLang read it.
fn events(shape: &Shape<'_>) -> Value {
    let (port, replay) = event_ports(shape);
    json!({
        "publisher": "zmq", "topic": "kv-events",
        "endpoint": format!("tcp://*:{port}"), "replay_endpoint": format!("tcp://*:{replay}"),
    })
}

/// A share that is stated in percent, as engines read it.
fn share(percent: u32) -> String {
    format!("0.{percent:02}")
}

/// Where an adapter is: a repository on the hub, or a directory.
pub(crate) fn adapter_path(adapter: &Adapter) -> String {
    match &adapter.source.hub {
        Some(hub) => hub.repository.clone().unwrap_or_else(|| adapter.name.clone()),
        None => format!("{ADAPTERS_PATH}/{}", adapter.name),
    }
}

/// Adapters with their places, as the engines' lists have them.
fn modules<'a>(adapters: impl Iterator<Item = &'a Adapter>) -> Vec<String> {
    adapters.map(|adapter| format!("{}={}", adapter.name, adapter_path(adapter))).collect()
}

fn revision(spec: &ModelServiceSpec) -> Option<&str> {
    spec.model.source.as_ref()?.hub.as_ref()?.revision.as_deref()
}

/// The user's own arguments for a role.
fn user_args<'a>(engine: &'a Engine, shape: &'a Shape<'_>) -> impl Iterator<Item = &'a str> + Clone {
    engine.additions.args.iter().chain(&shape.role.additions.args).map(String::as_str)
}

/// The ports of the ranks of a pod, and those of their KV events.
fn ports(shape: &Shape<'_>, ranks: u32) -> Vec<(String, u16)> {
    let (events, replay) = event_ports(shape);
    let mut ports = http_ports(ranks);
    ports.extend([("kv-events".to_owned(), events), ("kv-replay".to_owned(), replay)]);
    ports
}

/// Names of ports have at most 15 characters.
fn http_ports(ranks: u32) -> Vec<(String, u16)> {
    let name = |rank: u16| if rank == 0 { "http".to_owned() } else { format!("http-{rank}") };
    let ranks = u16::try_from(ranks).unwrap_or(1);
    (0..ranks).map(|rank| (name(rank), HTTP_PORT.saturating_add(rank))).collect()
}

fn is_prefill(name: RoleName) -> bool {
    name == RoleName::Prefill
}
