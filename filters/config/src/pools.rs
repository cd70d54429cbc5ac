//! The `pools` list: each pool by itself, and what must be unique over all of them.

use crate::fault::Problem;
use crate::members::{self, Member, NamedMembers, SeenMembers};
use crate::reader::{Entry, Fields, Reader, Unique};
use crate::{KvEvents, Prompt, hold, kv_events, prompt, rewrites, transfer};
use prost::Message;
use warmpath_core::limits::{
    ENDPOINTS_MAX, EVENT_BYTES_MAX, KV_BELOW_GPU_TOKENS_MAX, MODELS_PER_POOL_MAX, POOLS_MAX,
};
use warmpath_core::wire;

/// Endpoints that serve the same models.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pool {
    /// Unique among pools.
    pub name: String,
    /// Names of the base model; `*` takes any.
    pub models: Vec<String>,
    /// Names of adapters.
    pub adapters: Vec<String>,
    /// Engines, each in one pool only.
    pub endpoints: Vec<Member>,
    /// Host names whose addresses are engines, too, each in one pool only; a controller resolves them.
    pub hosts: Vec<NamedMembers>,
    /// Tokens that each engine holds in tiers below its GPU, beside those on it; `None` leaves it to what the engines
    /// report. Proxies receive it as a part of each endpoint's status.
    pub kv_below_gpu_tokens: Option<u64>,
    /// What its engines' prompts and tokens are read with; `None`: what they hold is learned alone. Proxies receive what a
    /// controller makes of it.
    pub prompt: Option<Prompt>,
    /// Where its engines publish what they hold.
    pub kv_events: KvEvents,
    /// As in [`wire::Pool::rewrites`].
    pub rewrites: Vec<wire::Rewrite>,
    /// As in [`wire::Pool::objectives`]. No file has them.
    pub objectives: Vec<wire::Objective>,
    /// As in [`wire::Pool::weight`]. Only pools of a cluster have it.
    pub weight: u32,
    /// As in [`wire::Pool::transfer`].
    pub transfer: Option<wire::Transfer>,
    /// As in [`wire::Pool::hold`].
    pub hold: Option<wire::Hold>,
}

/// In what a filter's pools and a controller's differ.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What a pool must say of its endpoints.
    pub endpoints: EndpointsRule,
    /// Whether endpoints may be host names.
    pub takes_hosts: bool,
    /// Reads the fields about what a controller reads of engines, if they exist. A function, so that a filter does not contain it.
    pub engines: Option<ReadEngines>,
}

/// Reads such fields of a pool into it.
pub type ReadEngines = fn(&mut Fields<'_>, &mut Pool, &mut Reader);

/// What a pool must say of its endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointsRule {
    /// At least one: no other source exists.
    AtLeastOne,
    /// The list may be empty or absent: a controller publishes it.
    Optional,
    /// The list must be there, and may be empty: a pool may be scaled to zero.
    Required,
}

/// What must be unique over all pools, and how much there is of what is bounded over all of them.
struct Seen {
    names: Unique,
    models: Unique,
    members: SeenMembers,
}

// === impl Pool ===

impl Pool {
    /// The pool as proxies receive it. Addresses are written as Envoy writes them, which is what they are compared
    /// by: `[::1]:80` for `[0:0::1]:080`.
    pub fn to_wire(&self) -> wire::Pool {
        let endpoints = self.endpoints.iter().map(|member| wire::PoolEndpoint {
            address: member.address.to_string(),
            identity: member.identity,
            role: member.role.into(),
            engine: String::new(),
        });
        wire::Pool {
            name: self.name.clone(),
            models: self.models.clone(),
            adapters: self.adapters.clone(),
            endpoints: endpoints.collect(),
            listed: Vec::new(),
            rewrites: self.rewrites.clone(),
            objectives: self.objectives.clone(),
            weight: self.weight,
            transfer: self.transfer.clone(),
            hold: self.hold.clone(),
            prompt_format: None,
        }
    }
}

/// The event that carries the pools.
pub fn to_wire(pools: &[Pool]) -> wire::Pools {
    wire::Pools { pools: pools.iter().map(Pool::to_wire).collect() }
}

/// Reads the list.
pub fn read(entry: &Entry<'_>, rules: Rules, reader: &mut Reader) -> Vec<Pool> {
    let entries = reader.list(entry, "pools", POOLS_MAX);
    let mut seen = Seen {
        names: Unique::new("give each pool a name of its own"),
        models: Unique::new("list each model and adapter once"),
        members: SeenMembers { addresses: Unique::new("list each endpoint once"), count: 0 },
    };
    let pools: Vec<Pool> = entries.iter().map(|entry| read_pool(entry, rules, &mut seen, reader)).collect();
    reader.bound(&entry.place, seen.members.count, "endpoints in all pools together", ENDPOINTS_MAX);
    reader.bound(
        &entry.place,
        to_wire(&pools).encoded_len(),
        "bytes of names and addresses",
        EVENT_BYTES_MAX,
    );
    pools
}

fn read_pool(entry: &Entry<'_>, rules: Rules, seen: &mut Seen, reader: &mut Reader) -> Pool {
    let mut fields = reader.fields(entry);
    let name = fields.required("name", reader).and_then(|entry| {
        let name = reader.name(&entry)?;
        seen.names.add(&entry.place, name.clone(), reader);
        Some(name)
    });
    let models = fields.required("models", reader).map(|entry| {
        let models = read_names(&entry, seen, reader);
        if entry.is_empty_list() {
            let remedy = "list the names that requests use, or \"*\" for any";
            reader.report(&entry.place, Problem::Empty { remedy });
        }
        models
    });
    let adapters = fields.optional("adapters").map(|entry| read_names(&entry, seen, reader));
    let rewrites = fields.optional("rewrites").map(|entry| rewrites::read(&entry, reader));
    let members = members::read(&mut fields, rules, &mut seen.members, reader);
    let transfer = fields.optional("transfer").map(|entry| transfer::read(&entry, reader));
    let has_controller = rules.endpoints != EndpointsRule::AtLeastOne;
    let beside = hold::Beside { has_transfer: transfer.is_some(), has_controller };
    let hold = fields.optional("hold").map(|entry| hold::read(&entry, beside, reader));
    let mut pool = Pool {
        name: name.unwrap_or_default(),
        models: models.unwrap_or_default(),
        adapters: adapters.unwrap_or_default(),
        endpoints: members.addresses,
        hosts: members.hosts,
        rewrites: rewrites.unwrap_or_default(),
        transfer,
        hold,
        ..Pool::default()
    };
    if let Some(read) = rules.engines {
        read(&mut fields, &mut pool, reader);
    }
    fields.finish(reader);
    pool
}

/// Reads the fields about a pool's engines, for [`Rules::engines`].
pub fn read_engines(fields: &mut Fields<'_>, pool: &mut Pool, reader: &mut Reader) {
    let tokens = fields.optional("kv_below_gpu_tokens");
    pool.kv_below_gpu_tokens = tokens.and_then(|entry| reader.number(&entry, 1..=KV_BELOW_GPU_TOKENS_MAX));
    read_caches(fields, &mut pool.prompt, &mut pool.kv_events, reader);
}

/// Reads how to know what engines hold.
pub fn read_caches(
    fields: &mut Fields<'_>,
    prompt: &mut Option<Prompt>,
    kv_events: &mut KvEvents,
    reader: &mut Reader,
) {
    *prompt = fields.optional("prompt").map(|entry| prompt::read(&entry, reader));
    if let Some(entry) = fields.optional("kv_events") {
        *kv_events = kv_events::read(&entry, reader);
        if prompt.is_none() && *kv_events != KvEvents::Off {
            reader.report(&entry.place, Problem::NoPrompt);
        }
    }
}

fn read_names(entry: &Entry<'_>, seen: &mut Seen, reader: &mut Reader) -> Vec<String> {
    let entries = reader.list(entry, "names", MODELS_PER_POOL_MAX);
    let names = entries.iter().filter_map(|entry| {
        let name = reader.name(entry)?;
        seen.models.add(&entry.place, name.clone(), reader);
        Some(name)
    });
    names.collect()
}
