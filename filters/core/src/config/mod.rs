//! The filter's plugin configuration: JSON -> [`Config`], with every error at once.
//!
//! ```json
//! {
//!   "pools": [{"name": "llama", "models": ["llama-3.1-8b"], "adapters": ["sql"], "endpoints": ["10.0.0.1:8000"]}],
//!   "controller": {"cluster": "warmpath_controller"},
//!   "cell_bytes": 256,
//!   "alternates": 3,
//!   "explain": false
//! }
//! ```
//!
//! `pools` serve until a controller's snapshot replaces them; without a controller they are all there is.

mod raw;

use crate::limits::{
    ALTERNATES_DEFAULT, ALTERNATES_MAX, CELL_BYTES_DEFAULT, CELL_BYTES_MAX, CELL_BYTES_MIN, ENDPOINTS_MAX,
    MODELS_PER_POOL_MAX, NAME_BYTES_MAX, POOLS_MAX,
};
use crate::wire::{Pool, PoolEndpoint, Pools};
use fnv::FnvHashSet;
use raw::Reader;
use serde_json::Value;
use std::fmt;
use std::net::SocketAddr;

/// A validated plugin configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Pools with fixed endpoints; empty when a controller names them all.
    pub pools: Pools,
    /// Envoy's cluster for the controller's gRPC stream.
    pub controller_cluster: Option<String>,
    /// Prompt text in one cell, in bytes. The controller and all proxies must agree.
    pub cell_bytes: usize,
    /// Endpoints named after the chosen one for Envoy's retries.
    pub alternates: usize,
    /// Whether answers carry `x-warmpath-decision` and `x-warmpath-explain` is answered: it tells clients
    /// the engines' addresses and loads.
    pub is_explaining: bool,
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where, as `pools[0].endpoints[1]`.
    pub path: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

// === impl Config ===

impl Config {
    /// Parses and validates a plugin configuration. Reports all errors, not the first.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigErrors> {
        let value: Value = serde_json::from_slice(json).map_err(|error| {
            ConfigErrors(vec![ConfigError { path: "$".to_owned(), message: format!("not JSON: {error}") }])
        })?;
        let mut reader = Reader::default();
        let config = read_config(&mut reader, &value);
        let errors = reader.into_errors();
        if errors.is_empty() { Ok(config) } else { Err(ConfigErrors(errors)) }
    }
}

fn read_config(reader: &mut Reader, value: &Value) -> Config {
    let fields = reader.object("$", value, &["pools", "controller", "cell_bytes", "alternates", "explain"]);
    let pools = reader.list("pools", fields.get("pools"), POOLS_MAX);
    let mut seen = Seen::default();
    let pools: Vec<Pool> = pools
        .iter()
        .enumerate()
        .map(|(at, pool)| read_pool(reader, &format!("pools[{at}]"), pool, &mut seen))
        .collect();
    let controller_cluster = fields.get("controller").map(|controller| {
        let fields = reader.object("controller", controller, &["cluster"]);
        reader.name("controller.cluster", fields.get("cluster"))
    });
    if pools.is_empty() && controller_cluster.is_none() {
        reader
            .error("$", "names neither `pools` nor `controller`: give one, or there is nothing to route to");
    }
    let endpoints: usize = pools.iter().map(|pool| pool.endpoints.len()).sum();
    if endpoints > ENDPOINTS_MAX {
        reader.error("pools", &format!("have {endpoints} endpoints together, {ENDPOINTS_MAX} at most"));
    }
    let has_no_feed = controller_cluster.is_none();
    for (at, pool) in pools.iter().enumerate() {
        if has_no_feed && pool.endpoints.is_empty() {
            reader.error(
                &format!("pools[{at}].endpoints"),
                "is empty and no `controller` is named: list `ip:port` of at least one engine",
            );
        }
    }
    let cell_bytes = reader.number(
        "cell_bytes",
        fields.get("cell_bytes"),
        CELL_BYTES_DEFAULT,
        CELL_BYTES_MIN..=CELL_BYTES_MAX,
    );
    let alternates =
        reader.number("alternates", fields.get("alternates"), ALTERNATES_DEFAULT, 0..=ALTERNATES_MAX);
    let is_explaining = reader.flag("explain", fields.get("explain"));
    Config { pools: Pools { pools }, controller_cluster, cell_bytes, alternates, is_explaining }
}

/// What must be unique over all pools.
#[derive(Default)]
struct Seen {
    names: FnvHashSet<String>,
    models: FnvHashSet<String>,
    addresses: FnvHashSet<String>,
}

fn read_pool(reader: &mut Reader, path: &str, value: &Value, seen: &mut Seen) -> Pool {
    let fields = reader.object(path, value, &["name", "models", "adapters", "endpoints"]);
    let name_path = format!("{path}.name");
    let name = reader.name(&name_path, fields.get("name"));
    if !name.is_empty() && !seen.names.insert(name.clone()) {
        reader.error(&name_path, &format!("`{name}` names another pool already: choose a different name"));
    }
    let mut models = |key: &str, reader: &mut Reader| -> Vec<String> {
        let list_path = format!("{path}.{key}");
        let values = reader.list(&list_path, fields.get(key), MODELS_PER_POOL_MAX);
        let read = values.iter().enumerate().map(|(at, value)| {
            let path = format!("{list_path}[{at}]");
            let model = reader.name(&path, Some(value));
            if !model.is_empty() && !seen.models.insert(model.clone()) {
                reader.error(&path, &format!("`{model}` is served by a pool already: name each model once"));
            }
            model
        });
        read.collect()
    };
    let model_names = models("models", reader);
    let adapters = models("adapters", reader);
    if model_names.is_empty() {
        reader
            .error(&format!("{path}.models"), "is empty: list the names that requests use, or \"*\" for any");
    }
    let list_path = format!("{path}.endpoints");
    let values = reader.list(&list_path, fields.get("endpoints"), ENDPOINTS_MAX);
    let endpoints = values.iter().enumerate().map(|(at, value)| {
        let path = format!("{list_path}[{at}]");
        let address = reader.name(&path, Some(value));
        PoolEndpoint { address: read_address(reader, &path, &address, seen) }
    });
    let endpoints = endpoints.collect();
    Pool { name, models: model_names, adapters, endpoints }
}

/// An address as Envoy writes it, which is what it is compared by: `[::1]:80` for `[0:0::1]:080`.
fn read_address(reader: &mut Reader, path: &str, address: &str, seen: &mut Seen) -> String {
    if address.is_empty() {
        return String::new();
    }
    let Ok(parsed) = address.parse::<SocketAddr>() else {
        reader
            .error(path, &format!("`{address}` is not `ip:port`: Envoy picks hosts by address, not by name"));
        return String::new();
    };
    let address = parsed.to_string();
    if !seen.addresses.insert(address.clone()) {
        reader.error(path, &format!("`{address}` is in a pool already: list each endpoint once"));
    }
    address
}

/// Checks a name's length; used by [`Reader::name`].
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains(char::is_control)
}

// === impl ConfigErrors ===

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} error(s)", self.0.len())?;
        self.0.iter().try_for_each(|error| write!(f, "; {error}"))
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_configuration_has_the_defaults() {
        let config = Config::parse(br#"{"controller":{"cluster":"c"}}"#).unwrap();
        assert_eq!(config.controller_cluster.as_deref(), Some("c"));
        assert_eq!((config.cell_bytes, config.alternates, config.is_explaining), (256, 3, false));
    }

    #[test]
    fn every_error_is_told_at_once_with_its_path() {
        let errors = Config::parse(
            br#"{
                "pools": [
                    {"name": "a", "models": ["m", 3], "endpoints": ["10.0.0.1", "10.0.0.2:80", "10.0.0.2:80"], "weight": 1},
                    {"name": "a", "models": ["m"], "endpoints": "x"},
                    7
                ],
                "controler": {},
                "cell_bytes": 5,
                "alternates": "many",
                "explain": 1
            }"#,
        )
        .unwrap_err();
        let paths: Vec<&str> = errors.0.iter().map(|error| error.path.as_str()).collect();
        for path in [
            "controler",
            "pools[0].weight",
            "pools[0].models[1]",
            "pools[0].endpoints[0]",
            "pools[0].endpoints[2]",
            "pools[1].name",
            "pools[1].models[0]",
            "pools[1].endpoints",
            "pools[2]",
            "cell_bytes",
            "alternates",
            "explain",
        ] {
            assert!(paths.contains(&path), "{path} is missing in {paths:#?}");
        }
    }

    #[test]
    fn addresses_are_written_as_envoy_writes_them() {
        let json = br#"{"pools":[{"name":"a","models":["m"],"endpoints":["10.0.0.1:080","[0:0::1]:80"]}]}"#;
        let addresses: Vec<String> = Config::parse(json)
            .unwrap()
            .pools
            .pools
            .remove(0)
            .endpoints
            .into_iter()
            .map(|e| e.address)
            .collect();
        assert_eq!(addresses, ["10.0.0.1:80", "[::1]:80"]);
    }

    #[test]
    fn nothing_to_route_to_is_an_error() {
        assert!(Config::parse(b"{}").is_err());
        assert!(Config::parse(b"").is_err());
        assert!(Config::parse(br#"{"pools":[{"name":"a","models":["m"]}]}"#).is_err());
    }
}
