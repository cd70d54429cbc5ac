//! The identifiers that must not mix, each its own type.
//!
//! All but [`Slot`] and [`Generation`] are hashes or random numbers that mean the same in every process, so no
//! number has to be allocated: a proxy, its siblings and the controller agree on an endpoint's id because they agree on its
//! address. On the wire they are bare numbers; the code converts at the edge.

use crate::wire::PromptFormat;
use prost::Message;
use std::fmt;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Names a whole prefix: the hash of one cell chained to that of everything before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CellHash(pub u64);

/// Names one engine address, in every process alike: the hash of `ip:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub u64);

/// Names one stored response, in every process alike: the hash of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResponseId(pub u64);

/// Names one session of a client, in every process alike: the hash of a header that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey(pub u64);

/// Names a format in which engines write prompts: the same for equal ones, in every process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FormatId(pub u64);

/// Names one proxy process; all its VMs and all its streams share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId(pub u64);

/// Names one source of bookings: one VM of one proxy process, for that VM's lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OriginId(pub u64);

/// Names a request in every process: the VM that sent it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestKey {
    /// The VM.
    pub origin: OriginId,
    /// Its number.
    pub request: u64,
}

/// Names one conversation, in every process alike: random bits of the VM that saw its first turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConversationId(pub u64);

/// Names one LoRA adapter, in every process alike: the hash of its name. Zero: the base model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdapterId(pub u64);

/// Names one tenant, in every process alike: the hash of its name. Zero: a request that names none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(pub u64);

/// Names one controller process, for its lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(pub u64);

/// One controller instance's count of changes. Generations compare only under the same [`InstanceId`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u64);

/// An endpoint's dense index inside one view. Means nothing outside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u16);

// === impl EndpointId ===

impl EndpointId {
    /// The id of the endpoint at `address`, written `ip:port`.
    pub fn of(address: &str) -> Self {
        Self(xxh3_64(address.as_bytes()))
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

// === impl ResponseId ===

impl ResponseId {
    /// Of the `id` that the engine gave the response.
    pub fn of(id: &str) -> Self {
        Self(xxh3_64(id.as_bytes()))
    }
}

// === impl AdapterId ===

impl AdapterId {
    /// The base model: no adapter.
    pub const BASE: Self = Self(0);

    /// Of an adapter's name.
    pub fn of(name: &str) -> Self {
        Self(if name.is_empty() { 0 } else { xxh3_64(name.as_bytes()) })
    }
}

// === impl TenantId ===

impl TenantId {
    /// Of a tenant's name.
    pub fn of(name: &str) -> Self {
        Self(if name.is_empty() { 0 } else { xxh3_64(name.as_bytes()) })
    }
}

// === impl SessionKey ===

impl SessionKey {
    /// Of the header's name and value.
    pub fn of(name: &str, value: &[u8]) -> Self {
        Self(xxh3_64_with_seed(value, xxh3_64(name.as_bytes())))
    }
}

// === impl FormatId ===

impl FormatId {
    /// Of a format: its fields decide the text of a prompt, and so what its chain matches.
    pub fn of(format: &PromptFormat) -> Self {
        Self(xxh3_64(&format.encode_to_vec()))
    }
}

// === impl ProcessId ===

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

// === impl InstanceId ===

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

// === impl Slot ===

impl Slot {
    /// The slot as an index into per-endpoint tables.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}
