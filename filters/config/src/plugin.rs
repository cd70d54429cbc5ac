//! The filter's plugin configuration: JSON -> [`Config`].
//!
//! ```json
//! {
//!   "pools": [{"name": "llama", "models": ["llama-3.1-8b"], "adapters": ["sql"], "endpoints": ["10.0.0.1:8000"]}],
//!   "controller": {"cluster": "warmpath_controller", "token_env": "WARMPATH_TOKEN"},
//!   "cell_bytes": 256,
//!   "alternates": 3,
//!   "omitted_prefixes": ["x-anthropic-billing-header"],
//!   "affinity_headers": ["x-session-id"],
//!   "model_header": "x-model",
//!   "tenant_header": "x-tenant",
//!   "objective_header": "x-objective",
//!   "hold": {"requests_max": 1000, "body_bytes_max": 536870912},
//!   "explain": false,
//!   "explain_token": "a secret"
//! }
//! ```
//!
//! `pools` serve until a controller's snapshot replaces them; without a controller they are all there is.

use crate::cells;
use crate::fault::{Fault, Faults, Place, Problem};
use crate::hold;
use crate::omitted;
use crate::pools::{self, EndpointsRule, Rules};
use crate::reader::{Entry, Reader, Unique};
use crate::tree::{Format, Node, Tree};
use serde::de::DeserializeOwned;
use warmpath_core::config::{Config, ControllerConfig, Explain};
use warmpath_core::limits::{ALTERNATES_DEFAULT, ALTERNATES_MAX};
use warmpath_core::num::u64_len;

/// Most headers that may name a session: each header of a request is compared with each of them.
const AFFINITY_HEADERS_MAX: usize = 8;

/// JSON, whose parser does not report the lines of values.
#[derive(Debug)]
enum Json {}

/// Parses and validates a plugin configuration. `environment` looks up the variables that it may name.
pub fn parse(json: &[u8], environment: impl Fn(&str) -> Option<String>) -> Result<Config, Faults> {
    let tree: Tree<Json> = serde_json::from_slice(json).map_err(|error| syntax(&error))?;
    let root = Node::root::<Json>(tree);
    let mut reader = Reader::default();
    let config = read(&Entry::root(&root), &environment, &mut reader);
    reader.finish(config)
}

fn syntax(error: &serde_json::Error) -> Faults {
    // The parser's text ends with line and column.
    let detail = error.to_string();
    let problem = Problem::Syntax { format: "JSON", detail, remedy: "correct the syntax there" };
    Faults::one(Fault { place: Place { path: String::new(), line: None }, problem })
}

fn read(root: &Entry<'_>, environment: &impl Fn(&str) -> Option<String>, reader: &mut Reader) -> Config {
    let mut fields = reader.fields(root);
    let pools = fields.optional("pools");
    let controller = fields.optional("controller");
    if fields.is_map() && controller.is_none() && pools.as_ref().is_none_or(Entry::is_empty_list) {
        reader.report(&root.place, Problem::NothingToRouteTo);
    }
    let endpoints = if controller.is_some() { EndpointsRule::Optional } else { EndpointsRule::AtLeastOne };
    let rules = Rules { endpoints, takes_hosts: false, engines: None };
    let pools = pools.map(|entry| pools::read(&entry, rules, reader)).unwrap_or_default();
    let controller = controller.map(|entry| read_controller(&entry, environment, reader));
    let cell_bytes = cells::read(&mut fields, reader);
    let alternates = fields.optional("alternates");
    let alternates = alternates.and_then(|entry| reader.number(&entry, 0..=u64_len(ALTERNATES_MAX)));
    let omitted_prefixes = omitted::read(&mut fields, reader);
    let affinity_headers = fields.optional("affinity_headers");
    let affinity_headers = affinity_headers.map(|entry| read_headers(&entry, reader)).unwrap_or_default();
    let model_header = fields.optional("model_header").and_then(|entry| reader.header(&entry));
    let tenant_header = fields.optional("tenant_header").and_then(|entry| reader.header(&entry));
    let objective_header = fields.optional("objective_header").and_then(|entry| reader.header(&entry));
    let hold = fields.optional("hold").map(|entry| hold::read_limits(&entry, reader));
    let explains = fields.optional("explain").and_then(|entry| reader.flag(&entry)).unwrap_or_default();
    let token = fields.optional("explain_token").and_then(|entry| reader.name(&entry));
    let explain = match token {
        Some(token) => Explain::Token(token),
        None if explains => Explain::Everybody,
        None => Explain::Nobody,
    };
    fields.finish(reader);
    Config {
        pools: pools::to_wire(&pools),
        controller,
        cell_bytes,
        alternates: alternates.unwrap_or(ALTERNATES_DEFAULT),
        omitted_prefixes,
        affinity_headers,
        model_header,
        tenant_header,
        objective_header,
        hold: hold.unwrap_or_default(),
        explain,
    }
}

fn read_headers(entry: &Entry<'_>, reader: &mut Reader) -> Vec<String> {
    let mut unique = Unique::new("list each header once");
    let mut headers = Vec::new();
    for entry in reader.list(entry, "headers", AFFINITY_HEADERS_MAX) {
        if let Some(header) = reader.header(&entry) {
            unique.add(&entry.place, header.clone(), reader);
            headers.push(header);
        }
    }
    headers
}

fn read_controller(
    entry: &Entry<'_>,
    environment: &impl Fn(&str) -> Option<String>,
    reader: &mut Reader,
) -> ControllerConfig {
    let mut fields = reader.fields(entry);
    let cluster = fields.required("cluster", reader).and_then(|entry| reader.name(&entry));
    let token = fields.optional("token");
    let variable = fields.optional("token_env");
    if let (Some(token), Some(_)) = (&token, &variable) {
        reader.report(&token.place, Problem::Excluded { other: "token_env" });
    }
    let token = match (token, variable) {
        (Some(token), _) => reader.secret(&token),
        (None, Some(variable)) => reader.secret_of(&variable, environment),
        (None, None) => None,
    };
    fields.finish(reader);
    ControllerConfig { cluster: cluster.unwrap_or_default(), token }
}

// === impl Json ===

impl Format for Json {
    type Part<T: DeserializeOwned> = T;

    fn open<T: DeserializeOwned>(part: T) -> (T, Option<u64>) {
        (part, None)
    }
}
