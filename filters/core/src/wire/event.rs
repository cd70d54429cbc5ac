//! The facts that travel: one variant of [`Kind`] for each kind of change, as small as the change itself.
//!
//! A receiver's duty stands with each variant. Unknown kinds (from a newer sender) decode to `None` and are
//! skipped.

use prost::{Enumeration, Message, Oneof};

/// One fact. The wrapper exists because protobuf has no top-level union.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// The fact itself; `None` when the sender is newer than the receiver.
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    pub kind: Option<Kind>,
}

/// What an [`Event`] says.
#[derive(Clone, PartialEq, Oneof)]
pub enum Kind {
    /// All pools with their endpoints. Replace the whole set; keep what is known of endpoints that stay.
    #[prost(message, tag = "1")]
    Pools(Pools),
    /// What one engine said of itself. Replace the endpoint's facts.
    #[prost(message, tag = "2")]
    Facts(Facts),
    /// A request was sent to an endpoint, which will soon hold its cells. Learn them.
    #[prost(message, tag = "3")]
    Routed(Routed),
    /// What one origin has in flight at one endpoint now. Replace that origin's share.
    #[prost(message, tag = "4")]
    Load(Load),
    /// A first token was seen. Adjust the endpoint's speed.
    #[prost(message, tag = "5")]
    Observed(Observed),
    /// An attempt at an endpoint failed before its first byte. Avoid it for a while.
    #[prost(message, tag = "6")]
    Failure(Failure),
    /// An origin still has what it last said. Keep its loads.
    #[prost(message, tag = "7")]
    Alive(Alive),
    /// An origin has ended. Drop its loads.
    #[prost(message, tag = "8")]
    Gone(Gone),
    /// One stretch of a snapshot's prefix tree, depth first. Extend the chain and learn it.
    #[prost(message, tag = "9")]
    Prefix(Prefix),
    /// How much text made how many tokens. Adjust the pool's ratio.
    #[prost(message, tag = "10")]
    Ratio(Ratio),
    /// The proxy processes that route. Replace the list; find your turn in it.
    #[prost(message, tag = "11")]
    Proxies(Proxies),
}

/// See [`Kind::Pools`].
#[derive(Clone, PartialEq, Message)]
pub struct Pools {
    /// In order of preference: the first one takes what names no model.
    #[prost(message, repeated, tag = "1")]
    pub pools: Vec<Pool>,
}

/// Endpoints that serve the same models.
#[derive(Clone, PartialEq, Message)]
pub struct Pool {
    /// Unique among pools; part of every chain's root.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Names that requests give the base model; `*` takes any.
    #[prost(string, repeated, tag = "2")]
    pub models: Vec<String>,
    /// Names of adapters; each has its own chains.
    #[prost(string, repeated, tag = "3")]
    pub adapters: Vec<String>,
    /// Who serves it.
    #[prost(message, repeated, tag = "4")]
    pub endpoints: Vec<PoolEndpoint>,
}

/// One endpoint of a pool.
#[derive(Clone, PartialEq, Message)]
pub struct PoolEndpoint {
    /// `ip:port`, as the cluster in the proxy has it.
    #[prost(string, tag = "1")]
    pub address: String,
}

/// See [`Kind::Facts`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Facts {
    /// The endpoint ([`crate::ids::EndpointId`]).
    #[prost(fixed64, tag = "1")]
    pub endpoint: u64,
    /// What the controller thinks of it.
    #[prost(enumeration = "Health", tag = "2")]
    pub health: i32,
    /// Requests in the engine's batch.
    #[prost(uint32, tag = "3")]
    pub running: u32,
    /// Requests in the engine's queue.
    #[prost(uint32, tag = "4")]
    pub waiting: u32,
    /// Share of KV blocks used by running requests, in thousandths.
    #[prost(uint32, tag = "5")]
    pub kv_used_permille: u32,
    /// KV capacity of the GPU in tokens, which bounds what can run at once; zero when unknown.
    #[prost(uint64, tag = "6")]
    pub capacity_tokens: u64,
    /// Tokens in a KV block; zero when unknown.
    #[prost(uint32, tag = "7")]
    pub block_tokens: u32,
    /// Tokens that the engine holds in tiers below its GPU, beside those on it, and loads from there by itself;
    /// zero for none.
    #[prost(uint64, tag = "8")]
    pub kv_below_gpu_tokens: u64,
}

/// Whether an endpoint may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Health {
    /// Nobody has looked yet: may be chosen.
    Unknown = 0,
    /// Answered the last scrape.
    Healthy = 1,
    /// Failed several scrapes in a row: not chosen, unless a first token came from it a moment ago.
    Unhealthy = 2,
}

/// See [`Kind::Routed`].
#[derive(Clone, PartialEq, Message)]
pub struct Routed {
    /// The endpoint it was sent to.
    #[prost(fixed64, tag = "1")]
    pub endpoint: u64,
    /// The prompt's whole chain, from its first cell: a receiver's tree may be cut at other places than the
    /// sender's, so a suffix could not be attached.
    #[prost(fixed64, repeated, tag = "2")]
    pub cells: Vec<u64>,
}

/// See [`Kind::Load`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Load {
    /// Who booked it ([`crate::ids::OriginId`]).
    #[prost(fixed64, tag = "1")]
    pub origin: u64,
    /// Where.
    #[prost(fixed64, tag = "2")]
    pub endpoint: u64,
    /// Requests sent and not ended.
    #[prost(uint32, tag = "3")]
    pub requests: u32,
    /// Requests of those whose first byte has not come.
    #[prost(uint32, tag = "4")]
    pub prefills: u32,
    /// Prompt tokens of those prefills that were not expected in the cache.
    #[prost(uint64, tag = "5")]
    pub prefill_tokens: u64,
    /// Prompt tokens of all of them.
    #[prost(uint64, tag = "6")]
    pub context_tokens: u64,
}

/// See [`Kind::Observed`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Observed {
    /// The endpoint.
    #[prost(fixed64, tag = "1")]
    pub endpoint: u64,
    /// Tokens that had to be prefilled before that first token: its own and those promised before it.
    #[prost(uint64, tag = "2")]
    pub tokens: u64,
    /// Dispatch to first body byte, in microseconds.
    #[prost(uint64, tag = "3")]
    pub ttft_us: u64,
}

/// See [`Kind::Failure`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Failure {
    /// The endpoint.
    #[prost(fixed64, tag = "1")]
    pub endpoint: u64,
}

/// See [`Kind::Alive`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Alive {
    /// The origin.
    #[prost(fixed64, tag = "1")]
    pub origin: u64,
}

/// See [`Kind::Gone`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Gone {
    /// The origin.
    #[prost(fixed64, tag = "1")]
    pub origin: u64,
}

/// See [`Kind::Prefix`]. The receiver keeps one chain: it is cut to `depth` and `cells` are appended.
#[derive(Clone, PartialEq, Message)]
pub struct Prefix {
    /// Cells of the previous chain to keep.
    #[prost(uint32, tag = "1")]
    pub depth: u32,
    /// Cells that follow.
    #[prost(fixed64, repeated, tag = "2")]
    pub cells: Vec<u64>,
    /// Endpoints that hold the chain, in the order of `held`.
    #[prost(fixed64, repeated, tag = "3")]
    pub endpoints: Vec<u64>,
    /// How many of `cells` each of them holds.
    #[prost(uint32, repeated, tag = "4")]
    pub held: Vec<u32>,
}

/// See [`Kind::Ratio`].
#[derive(Clone, PartialEq, Message)]
pub struct Ratio {
    /// The pool's name.
    #[prost(string, tag = "1")]
    pub pool: String,
    /// Prompt text in bytes.
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
    /// Tokens that the engine counted for it.
    #[prost(uint64, tag = "3")]
    pub tokens: u64,
    /// Tokens of those that were in its cache; absent when it does not tell.
    #[prost(uint64, optional, tag = "4")]
    pub cached_tokens: Option<u64>,
    /// Tokens of the answer; absent from an older sender.
    #[prost(uint64, optional, tag = "5")]
    pub output_tokens: Option<u64>,
}

/// See [`Kind::Proxies`].
#[derive(Clone, PartialEq, Message)]
pub struct Proxies {
    /// In ascending order.
    #[prost(fixed64, repeated, tag = "1")]
    pub processes: Vec<u64>,
}

// === impl Event ===

impl From<Kind> for Event {
    fn from(kind: Kind) -> Self {
        Self { kind: Some(kind) }
    }
}
