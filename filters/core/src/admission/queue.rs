//! The requests of a pool that wait, in all proxies.
//!
//! Every VM knows all of them, so that the order is one order, and a scaler sees them.

use crate::ids::{ConversationId, OriginId, TenantId};
use crate::time::Timestamp;
use crate::wire::{self, HeldFor};
use std::collections::BTreeMap;

/// Requests of a pool that are known to wait, in all proxies; those beyond wait where they are, unseen by others.
pub const HELD_MAX: usize = 16_384;
/// After how long a request is not believed to wait any more that is not repeated, in milliseconds. It is every five seconds.
const SILENCE_MS_MAX: u64 = 15_000;

/// Names a held request in every process: the VM that holds it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeldKey {
    /// The VM.
    pub origin: OriginId,
    /// Its number.
    pub number: u64,
}

/// What a request asks of the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Its conversation, if that is followed.
    pub conversation: Option<ConversationId>,
    /// Tokens of its prompt and of the response that is expected.
    pub tokens: u64,
    /// Tokens of those that other conversations begin with, too.
    pub shared_tokens: u64,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its priority: higher is more important; below zero, it may be refused.
    pub priority: i32,
}

/// One that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its name.
    pub key: HeldKey,
    /// What it asks.
    pub asked: Asked,
    /// What it waits for.
    pub held_for: HeldFor,
    /// Since when.
    pub since: Timestamp,
    /// Bytes of its body.
    pub body_bytes: u64,
    /// When it was last said to wait.
    repeated: Timestamp,
}

/// See the module. By their names, because each is repeated every few seconds.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    waiting: BTreeMap<HeldKey, Waiting>,
}

// === impl Asked ===

impl Asked {
    /// Tokens that an endpoint would keep for it alone.
    pub fn own_tokens(&self) -> u64 {
        self.tokens.saturating_sub(self.shared_tokens)
    }
}

// === impl Queue ===

impl Queue {
    pub(super) fn add(&mut self, held: &wire::Held, now: Timestamp) {
        let key = HeldKey { origin: OriginId(held.origin), number: held.number };
        if self.waiting.len() >= HELD_MAX && !self.waiting.contains_key(&key) {
            return;
        }
        let asked = Asked {
            conversation: (held.conversation != 0).then_some(ConversationId(held.conversation)),
            tokens: held.tokens,
            shared_tokens: 0,
            tenant: TenantId(held.tenant),
            priority: held.priority,
        };
        let (held_for, body_bytes) = (held.held_for(), held.body_bytes);
        let since = now.minus_ms(held.age_ms);
        self.waiting.insert(key, Waiting { key, asked, held_for, since, body_bytes, repeated: now });
    }

    pub(super) fn remove(&mut self, key: HeldKey) {
        self.waiting.remove(&key);
    }

    pub(super) fn drop_origin(&mut self, origin: OriginId) {
        self.waiting.retain(|key, _| key.origin != origin);
    }

    /// Drops those that whoever holds them repeats no more: they were released, and nobody has said so.
    pub(super) fn expire(&mut self, now: Timestamp) {
        self.waiting.retain(|_, waiting| now.ms_apart(waiting.repeated) <= SILENCE_MS_MAX);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// All that wait, in any order.
    pub fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.values()
    }
}
