//! One HTTP request in the model: where the driver writes progress and the response reads it.

use super::hub::Hub;
use crate::{api::ModelOutput, model::RequestId};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use tokio::sync::Notify;

/// The progress of each prompt of a request. One reader only.
#[derive(Debug)]
pub(super) struct Flight {
    slots: Box<[Slot]>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Slot {
    cached_tokens: AtomicUsize,
    produced_tokens: AtomicUsize,
    /// Whether all has come that had to come from elsewhere.
    has_arrived: AtomicBool,
}

// === impl Flight ===

impl Flight {
    pub(super) fn new(prompts: usize) -> Self {
        Self { slots: (0..prompts).map(|_| Slot::default()).collect(), changed: Notify::new() }
    }

    pub(super) fn admitted(&self, slot: usize, cached_tokens: usize) {
        self.slots[slot].cached_tokens.store(cached_tokens, Ordering::Relaxed);
    }

    /// Books progress; wakes the reader only where there is something for it to do.
    pub(super) fn produced(&self, slot: usize, tokens: usize, wake: bool) {
        self.slots[slot].produced_tokens.store(tokens, Ordering::Release);
        if wake {
            self.changed.notify_one();
        }
    }

    /// What had to come from elsewhere is here.
    pub(super) fn arrived(&self, slot: usize) {
        self.slots[slot].has_arrived.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    pub(super) fn produced_tokens(&self, slot: usize) -> usize {
        self.slots[slot].produced_tokens.load(Ordering::Acquire)
    }

    pub(super) fn cached_tokens(&self, slot: usize) -> usize {
        self.slots[slot].cached_tokens.load(Ordering::Relaxed)
    }

    /// Waits for the next wake-up; one that came since the last wait counts.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until nothing has to come from elsewhere any more, or has not had to.
    pub(super) async fn all_arrived(&self) {
        let is_coming = |slot: &Slot| {
            !slot.has_arrived.load(Ordering::Acquire) && slot.produced_tokens.load(Ordering::Acquire) == 0
        };
        while self.slots.iter().any(is_coming) {
            self.changed().await;
        }
    }

    /// Waits until slot `i` has made `tokens(i)` tokens, for all slots.
    pub(super) async fn reached(&self, tokens: impl Fn(usize) -> usize) {
        while (0..self.slots.len()).any(|slot| self.produced_tokens(slot) < tokens(slot)) {
            self.changed().await;
        }
    }
}

/// A client's claim on a response. Dropping it early, as a lost client does, aborts the request in the model.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) hub: Arc<Hub>,
    pub(super) ids: Vec<RequestId>,
    pub(super) flight: Arc<Flight>,
    /// What the usage says of the cache, of each prompt, where it was another engine's that counts.
    pub(super) cached_elsewhere: Vec<usize>,
}

// === impl Ticket ===

impl Ticket {
    /// Writes down what the cache held of each prompt, as far as that is known.
    pub(super) fn note_cached(&self, output: &mut ModelOutput) {
        for (slot, choice) in output.choices.iter_mut().enumerate().take(self.ids.len()) {
            let elsewhere = self.cached_elsewhere.get(slot).copied();
            choice.cached_tokens = elsewhere.unwrap_or_else(|| self.flight.cached_tokens(slot));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.hub.take_back(&self.ids);
    }
}
