//! What the annotations of an InferencePool say of it, beyond its specification.

use super::problem::Problem;
use crate::config::ObjectName;
use std::collections::{BTreeMap, BTreeSet};
use warmpath_config::kv_events::Ports;
use warmpath_config::{KvEvents, Prompt, WEIGHT_MAX, transfer};
use warmpath_core::limits::{
    HOLD_S_MAX, MODELS_PER_POOL_MAX, NAME_BYTES_MAX, TENANT_WEIGHT_MAX, TENANTS_PER_POOL_MAX,
};
use warmpath_core::wire::{Hold, Tenant, Transfer, TransferProtocol};

/// The names that requests use, comma-separated.
const MODELS: &str = "warmpath.dev/models";
const ADAPTERS: &str = "warmpath.dev/adapters";
/// Its share of the conversations of a model that several pools serve, relative to theirs.
const WEIGHT: &str = "warmpath.dev/weight";
/// How its engines pass KV on, and the port of their bootstrap servers.
const TRANSFER: &str = "warmpath.dev/transfer";
const BOOTSTRAP_PORT: &str = "warmpath.dev/bootstrap-port";
/// The proxy's cluster through which prefill legs reach its engines.
const TRANSFER_CLUSTER: &str = "warmpath.dev/transfer-cluster";
/// The longest waits for room and for an endpoint, in seconds.
const HOLD_ROOM: &str = "warmpath.dev/hold-room";
const HOLD_ENDPOINT: &str = "warmpath.dev/hold-endpoint";
/// Tenants with their weights, `name=weight`, comma-separated.
const HOLD_TENANTS: &str = "warmpath.dev/hold-tenants";
/// The tokenizer of its model, by the name of its directory.
const TOKENIZER: &str = "warmpath.dev/tokenizer";
/// The chat template that its engines use in place of the model's own, by the name of its file in one of those directories.
const CHAT_TEMPLATE: &str = "warmpath.dev/chat-template";
/// Where its engines publish what they hold: `discovered`, `none`, or a port, with that of replays behind a comma.
const KV_EVENTS: &str = "warmpath.dev/kv-events";

/// The annotations of an InferencePool. One that is not valid is a problem, and counts as if it were not there.
pub(super) struct Annotations<'a> {
    pub(super) name: &'a ObjectName,
    pub(super) of: &'a BTreeMap<String, String>,
    pub(super) problems: &'a mut BTreeSet<Problem>,
}

// === impl Annotations ===

impl Annotations<'_> {
    pub(super) fn models(&mut self) -> Vec<String> {
        self.read(MODELS, read_names).unwrap_or_default()
    }

    pub(super) fn adapters(&mut self) -> Vec<String> {
        self.read(ADAPTERS, read_names).unwrap_or_default()
    }

    /// Zero for the default.
    pub(super) fn weight(&mut self) -> u32 {
        self.read(WEIGHT, read_weight).unwrap_or_default()
    }

    pub(super) fn transfer(&mut self) -> Option<Transfer> {
        let protocol = self.read(TRANSFER, read_protocol);
        let port = self.read(BOOTSTRAP_PORT, read_port);
        let cluster = self.read(TRANSFER_CLUSTER, read_name);
        let has_server = protocol.is_some_and(transfer::has_bootstrap);
        if port.is_some() && !has_server {
            self.report(BOOTSTRAP_PORT, "remove it, only engines of sglang and mooncake have such a port");
        }
        Some(Transfer {
            protocol: protocol?.into(),
            bootstrap_port: port.filter(|_| has_server).unwrap_or_default().into(),
            cluster: cluster.unwrap_or_default(),
        })
    }

    pub(super) fn hold(&mut self, has_transfer: bool) -> Option<Hold> {
        let mut room_ms_max = self.read(HOLD_ROOM, read_wait_ms).unwrap_or_default();
        let endpoint_ms_max = self.read(HOLD_ENDPOINT, read_wait_ms).unwrap_or_default();
        let tenants = self.read(HOLD_TENANTS, read_tenants);
        if has_transfer && room_ms_max > 0 {
            self.report(
                HOLD_ROOM,
                "remove it, requests wait for room only in pools without warmpath.dev/transfer",
            );
            room_ms_max = 0;
        }
        if room_ms_max == 0 && endpoint_ms_max == 0 {
            if tenants.is_some() {
                let remedy = format!("add {HOLD_ROOM} or {HOLD_ENDPOINT}, without which nobody waits");
                self.report(HOLD_TENANTS, &remedy);
            }
            return None;
        }
        Some(Hold { room_ms_max, endpoint_ms_max, tenants: tenants.unwrap_or_default() })
    }

    /// `tokenizers` is the directory of all that may be named: whoever may write an InferencePool must not read files with it.
    pub(super) fn prompt(&mut self, tokenizers: Option<&str>) -> Option<Prompt> {
        let template = self.read(CHAT_TEMPLATE, read_file);
        let Some(name) = self.read(TOKENIZER, read_directory) else {
            if template.is_some() {
                let remedy = format!("add {TOKENIZER}, without which the engines' tokens are no text");
                self.report(CHAT_TEMPLATE, &remedy);
            }
            return None;
        };
        let Some(tokenizers) = tokenizers else {
            self.report(
                TOKENIZER,
                "set kubernetes.tokenizers in the controller's file to the directory that it is in, or list it in the chart's controller.tokenizers",
            );
            return None;
        };
        let chat_template = template.map(|file| format!("{tokenizers}/{file}"));
        Some(Prompt { tokenizer: format!("{tokenizers}/{name}"), chat_template, ..Prompt::default() })
    }

    pub(super) fn kv_events(&mut self, has_prompt: bool) -> KvEvents {
        let events = self.read(KV_EVENTS, read_kv_events);
        if !has_prompt && events.as_ref().is_some_and(|events| *events != KvEvents::Off) {
            let remedy = format!("add {TOKENIZER}, without which the engines' tokens are no text");
            self.report(KV_EVENTS, &remedy);
        }
        events.unwrap_or_default()
    }

    fn read<T>(&mut self, annotation: &str, parse: fn(&str) -> Result<T, String>) -> Option<T> {
        let read = parse(self.of.get(annotation)?);
        read.map_err(|what| self.report(annotation, &what)).ok()
    }

    fn report(&mut self, annotation: &str, what: &str) {
        let what = format!("annotation {annotation}: {what}");
        self.problems.insert(Problem::Invalid { object: self.name.clone(), what });
    }
}

/// Reads a comma-separated list.
fn read_names(list: &str) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::new();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let name = read_name(name)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() > MODELS_PER_POOL_MAX {
        return Err(format!("more than {MODELS_PER_POOL_MAX} names"));
    }
    Ok(names)
}

fn read_name(name: &str) -> Result<String, String> {
    if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(format!("a name must have at most {NAME_BYTES_MAX} bytes, and no control characters"));
    }
    Ok(name.to_owned())
}

fn read_weight(weight: &str) -> Result<u32, String> {
    let weight = weight.trim().parse().ok().filter(|weight| (1..=WEIGHT_MAX).contains(&u64::from(*weight)));
    weight.ok_or_else(|| format!("write a whole number from 1 to {WEIGHT_MAX}"))
}

fn read_protocol(name: &str) -> Result<TransferProtocol, String> {
    let protocol = transfer::protocol_named(name.trim());
    protocol.ok_or_else(|| format!("write one of {}", transfer::PROTOCOL_NAMES.join(", ")))
}

fn read_port(port: &str) -> Result<u16, String> {
    let port = port.trim().parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| format!("write a port from 1 to {}", u16::MAX))
}

fn read_directory(name: &str) -> Result<String, String> {
    let name = read_name(name.trim())?;
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err("write the name of a directory, without slashes and without a dot before it".to_owned());
    }
    Ok(name)
}

/// A path below the tokenizers, which does not lead out of them.
fn read_file(path: &str) -> Result<String, String> {
    let path = read_name(path.trim())?;
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.');
    if !path.contains('/') || !path.split('/').all(is_part) {
        return Err(
            "write a directory and a file in it, such as templates/llama.jinja, without a dot before either"
                .to_owned(),
        );
    }
    Ok(path)
}

fn read_kv_events(source: &str) -> Result<KvEvents, String> {
    let (port, replay) = match source.trim() {
        "discovered" => return Ok(KvEvents::Discovered),
        "none" => return Ok(KvEvents::Off),
        ports => ports.split_once(',').map_or((ports, None), |(port, replay)| (port, Some(replay))),
    };
    let replay_port = replay.map(read_port).transpose();
    match (read_port(port), replay_port) {
        (Ok(port), Ok(replay_port)) => {
            Ok(KvEvents::Ports(Ports { port, replay_port, ranks: 1, topic: String::new() }))
        }
        _ => Err("write discovered, none, or a port, with that of replays behind a comma".to_owned()),
    }
}

fn read_wait_ms(seconds: &str) -> Result<u32, String> {
    let seconds = seconds.trim().parse().ok().filter(|seconds: &u32| *seconds <= HOLD_S_MAX);
    let seconds = seconds.ok_or_else(|| format!("write whole seconds, from 0 to {HOLD_S_MAX}"))?;
    Ok(seconds.saturating_mul(1_000))
}

fn read_tenants(list: &str) -> Result<Vec<Tenant>, String> {
    let mut tenants: Vec<Tenant> = Vec::new();
    for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let tenant = entry.rsplit_once('=').and_then(|(name, weight)| {
            let weight =
                weight.trim().parse().ok().filter(|weight| (1..=TENANT_WEIGHT_MAX).contains(weight))?;
            Some(Tenant { name: name.trim().to_owned(), weight })
        });
        let tenant = tenant.filter(|tenant| !tenant.name.is_empty());
        let tenant = tenant.ok_or_else(|| {
            format!("write name=weight, each weight a whole number from 1 to {TENANT_WEIGHT_MAX}")
        })?;
        read_name(&tenant.name)?;
        if tenants.iter().any(|other| other.name == tenant.name) {
            return Err("list each tenant once".to_owned());
        }
        tenants.push(tenant);
    }
    if tenants.len() > TENANTS_PER_POOL_MAX {
        return Err(format!("more than {TENANTS_PER_POOL_MAX} tenants"));
    }
    Ok(tenants)
}
