//! LoRA adapters: how many a batch may mix, and which are on the GPU.
//!
//! As in vLLM, a request whose adapter has no place in the batch is passed over by those behind it, and an
//! adapter that is not on the GPU is loaded by the step that needs it first, which takes that much longer.

/// One adapter on the GPU.
#[derive(Clone, Copy, Debug)]
struct Slot {
    adapter: u32,
    /// Running requests that use it.
    users: usize,
}

/// The adapters on the GPU, the one used longest ago first.
#[derive(Debug)]
pub(super) struct Adapters {
    slots: Vec<Slot>,
    max: usize,
}

// === impl Adapters ===

impl Adapters {
    pub(super) fn new(max: usize) -> Self {
        Self { slots: Vec::new(), max }
    }

    /// Whether a request with this adapter may join the batch now.
    pub(super) fn has_room(&self, adapter: u32) -> bool {
        adapter == BASE
            || self.slots.len() < self.max
            || self.slots.iter().any(|slot| slot.adapter == adapter || slot.users == 0)
    }

    /// Lets a request join, for which there [is room](Self::has_room). Returns whether its adapter must be
    /// loaded, in the place of the one that nobody has used for the longest.
    pub(super) fn enter(&mut self, adapter: u32) -> bool {
        if adapter == BASE {
            return false;
        }
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.adapter == adapter) {
            slot.users += 1;
            return false;
        }
        if self.slots.len() >= self.max
            && let Some(idle) = self.slots.iter().position(|slot| slot.users == 0)
        {
            self.slots.remove(idle);
        }
        self.slots.push(Slot { adapter, users: 1 });
        debug_assert!(self.slots.len() <= self.max, "an adapter entered without room");
        true
    }

    /// A request left the batch.
    pub(super) fn leave(&mut self, adapter: u32) {
        let Some(at) = self.slots.iter().position(|slot| slot.adapter == adapter) else { return };
        let mut slot = self.slots.remove(at);
        slot.users -= 1;
        self.slots.push(slot);
    }

    /// The adapters on the GPU, the one used longest ago first.
    pub(super) fn resident(&self) -> impl Iterator<Item = u32> + '_ {
        self.slots.iter().map(|slot| slot.adapter)
    }
}

/// The number of "no adapter".
pub const BASE: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_adapter_unused_for_the_longest_makes_room() {
        let mut adapters = Adapters::new(2);
        assert!(adapters.enter(1) && adapters.enter(2) && !adapters.enter(1) && !adapters.enter(BASE));
        assert!(!adapters.has_room(3) && adapters.has_room(2) && adapters.has_room(BASE));
        adapters.leave(2);
        adapters.leave(1);
        assert!(adapters.has_room(3), "the second has no user");
        assert!(adapters.enter(3));
        assert_eq!(adapters.resident().collect::<Vec<_>>(), [1, 3]);
        assert!(!adapters.enter(1), "still there");
    }
}
