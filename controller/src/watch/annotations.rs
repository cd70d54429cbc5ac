//! What the annotations of an InferencePool say of it, beyond its specification.

use super::problem::Problem;
use crate::config::ObjectName;
use std::collections::{BTreeMap, BTreeSet};
use warmpath_config::{WEIGHT_MAX, transfer};
use warmpath_core::limits::{MODELS_PER_POOL_MAX, NAME_BYTES_MAX};
use warmpath_core::wire::{Transfer, TransferProtocol};

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
