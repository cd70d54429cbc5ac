//! The `pools` list: each pool by itself, and what must be unique over all of them.

use super::fields::{Entry, Reader};
use super::problem::Fault;
use fnv::FnvHashMap;
use prost::Message;
use std::net::SocketAddr;
use warmpath_core::limits::{ENDPOINTS_MAX, EVENT_BYTES_MAX, MODELS_PER_POOL_MAX, POOLS_MAX};
use warmpath_core::wire;

/// Bound of `kv_below_gpu_tokens`: 70 TB of DeepSeek-V3, of whose tokens each takes 70 KB, and more of most others.
/// What is larger is bytes by mistake.
const KV_BELOW_GPU_TOKENS_MAX: u64 = 1_000_000_000;

/// Endpoints that serve the same models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Unique among pools.
    pub name: String,
    /// Names of the base model; `*` takes any.
    pub models: Vec<String>,
    /// Names of adapters.
    pub adapters: Vec<String>,
    /// Engine addresses, each in one pool only.
    pub endpoints: Vec<SocketAddr>,
    /// Tokens that each engine holds in tiers below its GPU, beside those on it; zero leaves it to what the
    /// engines tell. Proxies hear it as a fact about each endpoint.
    pub kv_below_gpu_tokens: u64,
}

/// Values seen so far, with their lines.
#[derive(Debug, Default)]
struct Seen {
    names: FnvHashMap<String, u64>,
    models: FnvHashMap<String, u64>,
    endpoints: FnvHashMap<SocketAddr, u64>,
}

// === impl Pool ===

impl Pool {
    /// The pool as proxies hear of it.
    pub fn to_wire(&self) -> wire::Pool {
        let endpoints =
            self.endpoints.iter().map(|address| wire::PoolEndpoint { address: address.to_string() });
        wire::Pool {
            name: self.name.clone(),
            models: self.models.clone(),
            adapters: self.adapters.clone(),
            endpoints: endpoints.collect(),
        }
    }
}

pub(super) fn read(entry: &Entry<'_>, reader: &mut Reader) -> Option<Vec<Pool>> {
    let entries = reader.list(entry)?;
    let mut seen = Seen::default();
    let pools: Vec<Pool> = entries.iter().filter_map(|entry| read_pool(entry, &mut seen, reader)).collect();
    let sizes = [("pools", entries.len(), POOLS_MAX), ("endpoints", seen.endpoints.len(), ENDPOINTS_MAX)];
    for (of, count, max) in sizes {
        bound(entry, of, count, max, reader);
    }
    let event = wire::Pools { pools: pools.iter().map(Pool::to_wire).collect() };
    bound(entry, "bytes of names", event.encoded_len(), EVENT_BYTES_MAX, reader);
    Some(pools)
}

fn read_pool(entry: &Entry<'_>, seen: &mut Seen, reader: &mut Reader) -> Option<Pool> {
    let mut fields = reader.fields(entry)?;
    let name_entry = fields.required("name", reader);
    let name = name_entry.as_ref().and_then(|entry| reader.name(entry));
    if let (Some(entry), Some(name)) = (&name_entry, &name) {
        unique(entry, name.clone(), &mut seen.names, reader);
    }
    let models = fields.required("models", reader);
    let models = models.and_then(|entry| read_names(&entry, &mut seen.models, reader));
    let adapters = fields.optional("adapters");
    let adapters = adapters.and_then(|entry| Some(read_list_names(&entry, &mut seen.models, reader)?.0));
    let endpoints = fields.required("endpoints", reader);
    let endpoints = endpoints.and_then(|entry| read_endpoints(&entry, &mut seen.endpoints, reader));
    let below = fields.optional("kv_below_gpu_tokens");
    let below = below.and_then(|entry| reader.number(&entry, 1..=KV_BELOW_GPU_TOKENS_MAX));
    fields.finish(reader);
    Some(Pool {
        name: name?,
        models: models?,
        adapters: adapters.unwrap_or_default(),
        endpoints: endpoints?,
        kv_below_gpu_tokens: below.unwrap_or_default(),
    })
}

/// Names of which there must be one at least.
fn read_names(
    entry: &Entry<'_>,
    seen: &mut FnvHashMap<String, u64>,
    reader: &mut Reader,
) -> Option<Vec<String>> {
    let (names, count) = read_list_names(entry, seen, reader)?;
    if count == 0 {
        reader.report(entry.line, entry.path.clone(), Fault::Empty);
    }
    Some(names)
}

/// A list of names, and how many stand in it, faulty ones included.
fn read_list_names(
    entry: &Entry<'_>,
    seen: &mut FnvHashMap<String, u64>,
    reader: &mut Reader,
) -> Option<(Vec<String>, usize)> {
    let entries = reader.list(entry)?;
    bound(entry, "names", entries.len(), MODELS_PER_POOL_MAX, reader);
    let mut names = Vec::with_capacity(entries.len());
    for entry in &entries {
        if let Some(name) = reader.name(entry) {
            unique(entry, name.clone(), seen, reader);
            names.push(name);
        }
    }
    Some((names, entries.len()))
}

/// An empty list is no fault: a pool may be scaled to zero.
fn read_endpoints(
    entry: &Entry<'_>,
    seen: &mut FnvHashMap<SocketAddr, u64>,
    reader: &mut Reader,
) -> Option<Vec<SocketAddr>> {
    let entries = reader.list(entry)?;
    let mut endpoints = Vec::with_capacity(entries.len());
    for entry in &entries {
        if let Some(address) = reader.address(entry) {
            unique(entry, address, seen, reader);
            endpoints.push(address);
        }
    }
    Some(endpoints)
}

fn unique<T: std::hash::Hash + Eq + ToString>(
    entry: &Entry<'_>,
    value: T,
    seen: &mut FnvHashMap<T, u64>,
    reader: &mut Reader,
) {
    if let Some(line) = seen.get(&value) {
        let fault = Fault::Repeated { value: value.to_string(), line: *line };
        reader.report(entry.line, entry.path.clone(), fault);
    } else {
        seen.insert(value, entry.line);
    }
}

fn bound(entry: &Entry<'_>, of: &'static str, count: usize, max: usize, reader: &mut Reader) {
    if count > max {
        reader.report(entry.line, entry.path.clone(), Fault::TooMany { count, of, max });
    }
}
