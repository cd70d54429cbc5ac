//! Shared queues and the wake-ups they cause (`proxy-wasm-cpp-host`, `src/shared_queue.cc`).
//!
//! One queue has one listener: the VM that registered it *last*. A filter that wants every worker woken
//! needs a queue per worker. Each item that is enqueued causes one `on_queue_ready`, which Envoy posts to
//! the listener's thread; here it is pending until the test delivers it.

use crate::abi::Status;
use std::collections::{BTreeMap, VecDeque};

/// A pending `on_queue_ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WakeUp {
    pub(crate) worker: u32,
    pub(crate) context: u32,
    pub(crate) queue: u32,
}

struct Queue {
    worker: u32,
    context: u32,
    items: VecDeque<Vec<u8>>,
}

#[derive(Default)]
pub(crate) struct Queues {
    ids: BTreeMap<Vec<u8>, u32>,
    by_id: BTreeMap<u32, Queue>,
    pending: VecDeque<WakeUp>,
}

// === impl Queues ===

impl Queues {
    /// Creates the queue or takes over its wake-ups; items that wait in it stay.
    pub(crate) fn register(&mut self, name: &[u8], worker: u32, context: u32) -> u32 {
        let next = self.ids.len() as u32 + 1;
        let id = *self.ids.entry(name.to_vec()).or_insert(next);
        let queue = self.by_id.entry(id).or_insert_with(|| Queue { worker, context, items: VecDeque::new() });
        queue.worker = worker;
        queue.context = context;
        id
    }

    pub(crate) fn resolve(&self, name: &[u8]) -> Option<u32> {
        self.ids.get(name).copied()
    }

    pub(crate) fn len(&self, name: &[u8]) -> usize {
        self.resolve(name).and_then(|id| self.by_id.get(&id)).map_or(0, |queue| queue.items.len())
    }

    pub(crate) fn enqueue(&mut self, id: u32, item: Vec<u8>) -> Result<(), Status> {
        let queue = self.by_id.get_mut(&id).ok_or(Status::NotFound)?;
        queue.items.push_back(item);
        self.pending.push_back(WakeUp { worker: queue.worker, context: queue.context, queue: id });
        Ok(())
    }

    pub(crate) fn dequeue(&mut self, id: u32) -> Result<Vec<u8>, Status> {
        let queue = self.by_id.get_mut(&id).ok_or(Status::NotFound)?;
        queue.items.pop_front().ok_or(Status::Empty)
    }

    /// Takes the wake-ups that are pending for one worker now, in order.
    pub(crate) fn take_pending(&mut self, worker: u32) -> Vec<WakeUp> {
        let (due, rest): (Vec<_>, Vec<_>) =
            self.pending.drain(..).partition(|wake_up| wake_up.worker == worker);
        self.pending = rest.into();
        due
    }
}
