//! Which of an engine's KV-cache groups decide what a prompt finds there.
//!
//! A model with several kinds of attention has a cache for each: full attention keeps all blocks of a prompt, a sliding
//! window the last few, a state-space layer one state. A prompt's match is as long as full attention has it; the other
//! groups can only shorten it, and what they hold besides is no match by itself. So their events are left out, and what is
//! predicted for such a model may be longer than what the engine finds. Engines that name no kinds have one group.

use super::{Batch, KvEvent};
use fnv::FnvHashSet;

/// Groups that are remembered: a model has a few.
const GROUPS_MAX: usize = 256;

/// What is known of one engine's groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Those that do not decide.
    others: FnvHashSet<u32>,
    /// Whether one that decides has stored a block.
    has_deciding: bool,
}

// === impl Groups ===

impl Groups {
    /// Leaves out the events of groups that do not decide.
    pub(super) fn filter(&mut self, batch: &mut Batch) {
        batch.events.retain(|event| match event {
            KvEvent::Stored(stored) => {
                let decides = stored.kind.as_deref().is_none_or(decides);
                self.has_deciding |= decides;
                if !decides && self.others.len() < GROUPS_MAX {
                    self.others.insert(stored.group);
                }
                decides
            }
            KvEvent::Removed { group, .. } => !self.others.contains(group),
            KvEvent::Cleared => true,
        });
    }

    /// Whether blocks are stored, and none of them in a group that decides: nothing is known of what a prompt finds.
    pub(super) fn are_unknown(&self) -> bool {
        !self.has_deciding && !self.others.is_empty()
    }
}

/// Whether groups of a kind keep all of a prompt.
fn decides(kind: &str) -> bool {
    matches!(kind, "full_attention" | "mla_attention" | "sink_full_attention")
}

#[cfg(test)]
mod tests {
    use super::Groups;
    use crate::events::{Batch, BlockHash, KvEvent, StoredBlocks};
    use warmpath_core::wire::Tier;

    fn stored(group: u32, kind: Option<&str>) -> KvEvent {
        KvEvent::Stored(StoredBlocks {
            hashes: vec![BlockHash(1)],
            parent: None,
            tokens: vec![7],
            block_tokens: 1,
            lora: None,
            extra_keys: Vec::new(),
            tier: Tier::Gpu,
            group,
            kind: kind.map(ToOwned::to_owned),
        })
    }

    fn removed(group: u32) -> KvEvent {
        KvEvent::Removed { hashes: vec![BlockHash(1)], tier: Tier::Gpu, group }
    }

    #[test]
    fn full_attention_alone_says_what_a_prompt_finds() {
        let (full, window) = (stored(0, Some("full_attention")), stored(1, Some("sliding_window")));
        let mut groups = Groups::default();
        let mut batch = Batch { events: vec![full.clone(), window, removed(1), removed(0)] };
        groups.filter(&mut batch);
        assert_eq!(batch.events, [full, removed(0)]);
        assert!(!groups.are_unknown());
    }

    #[test]
    fn an_engine_that_names_no_kinds_has_one_group() {
        let mut groups = Groups::default();
        let mut batch = Batch { events: vec![stored(0, None), removed(0), KvEvent::Cleared] };
        groups.filter(&mut batch);
        assert_eq!(batch.events.len(), 3);
        assert!(!groups.are_unknown());
    }

    #[test]
    fn a_model_without_full_attention_is_not_understood() {
        let mut groups = Groups::default();
        let mut batch = Batch { events: vec![stored(0, Some("mamba"))] };
        groups.filter(&mut batch);
        assert!(batch.events.is_empty() && groups.are_unknown());
        groups.filter(&mut Batch { events: vec![stored(1, Some("mla_attention"))] });
        assert!(!groups.are_unknown());
    }
}
