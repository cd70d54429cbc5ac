//! What the blocks of each request hold, and events from the changes of a step.

use super::event::{KvEvent, Stored};
use crate::model::{BlockHash, CacheChange, RequestId, Tier};
use fnv::FnvHashMap;
use std::sync::Arc;

/// Prompt and output of a request, as its blocks have them.
#[derive(Clone, Debug)]
pub(in crate::server) struct Content {
    pub(in crate::server) chain: Vec<BlockHash>,
    pub(in crate::server) tokens: Vec<u32>,
    pub(in crate::server) block_tokens: usize,
    /// Number and name.
    pub(in crate::server) adapter: Option<(u32, String)>,
    /// Empty: none.
    pub(in crate::server) salt: String,
}

/// The contents of the requests in flight.
#[derive(Debug, Default)]
pub(in crate::server) struct Contents {
    of: FnvHashMap<RequestId, Arc<Content>>,
    /// Those that have left; a step that began before may still name blocks of theirs.
    left: Vec<RequestId>,
    /// The tiers below the GPU, the nearest first.
    tiers: Vec<Tier>,
}

// === impl Content ===

impl Content {
    /// What distinguishes a block from others with equal tokens, in vLLM's order.
    fn extra_keys(&self, at: usize) -> Vec<String> {
        let adapter = self.adapter.iter().map(|(_, name)| name.clone());
        let salt = (at == 0 && !self.salt.is_empty()).then(|| self.salt.clone());
        adapter.chain(salt).collect()
    }

    fn stored(&self, from: usize, to: usize) -> Option<KvEvent> {
        let parent = match from.checked_sub(1) {
            None => None,
            Some(before) => Some(*self.chain.get(before)?),
        };
        Some(KvEvent::Stored(Stored {
            blocks: self.chain.get(from..to)?.to_vec(),
            parent,
            tokens: self.tokens.get(from * self.block_tokens..to * self.block_tokens)?.to_vec(),
            block_tokens: self.block_tokens,
            adapter: self.adapter.clone(),
            extra_keys: (from..to).map(|at| self.extra_keys(at)).collect(),
        }))
    }
}

// === impl Contents ===

impl Contents {
    pub(in crate::server) fn new(tiers: impl IntoIterator<Item = Tier>) -> Self {
        Self { tiers: tiers.into_iter().collect(), ..Self::default() }
    }

    pub(in crate::server) fn enter(&mut self, id: RequestId, content: Arc<Content>) {
        self.of.insert(id, content);
    }

    pub(in crate::server) fn leave(&mut self, id: RequestId) {
        self.left.push(id);
    }

    /// The events of each step that changed something.
    pub(in crate::server) fn events(&mut self, steps: Vec<Vec<CacheChange>>) -> Vec<Vec<KvEvent>> {
        if steps.is_empty() {
            return Vec::new();
        }
        let batches = steps.into_iter().map(|changes| self.of_step(&changes));
        let batches = batches.filter(|events| !events.is_empty()).collect();
        for id in self.left.drain(..) {
            self.of.remove(&id);
        }
        batches
    }

    /// Blocks of one request that follow one another are one event.
    fn of_step(&self, changes: &[CacheChange]) -> Vec<KvEvent> {
        let mut events = Vec::new();
        let mut rest = changes;
        while let [first, others @ ..] = rest {
            rest = others;
            let event = match *first {
                CacheChange::Stored { request, at } => {
                    let mut to = at + 1;
                    while rest.first() == Some(&CacheChange::Stored { request, at: to }) {
                        rest = &rest[1..];
                        to += 1;
                    }
                    self.of.get(&request).and_then(|content| content.stored(at, to))
                }
                CacheChange::Removed(block) => Some(KvEvent::Removed { block, tier: None }),
                CacheChange::Sunk { block, tier } => {
                    self.tiers.get(tier).map(|tier| KvEvent::Sunk { block, tier: *tier })
                }
                CacheChange::Dropped { block, tier } => {
                    self.tiers.get(tier).map(|tier| KvEvent::Removed { block, tier: Some(*tier) })
                }
                CacheChange::Cleared => Some(KvEvent::Cleared),
            };
            events.extend(event);
        }
        events
    }
}
