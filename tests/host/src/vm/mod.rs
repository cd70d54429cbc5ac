//! One VM: the state that one worker thread of Envoy holds for the filter.
//!
//! `Vm` is a handle; its streams hold the same VM, so a test can drive several streams in any order.

mod callouts;
mod core;
mod start;
mod state;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

pub(crate) use self::core::Core;
pub use self::state::Violation;
pub(crate) use self::state::{Context, Deferred, RootState, VmState};

use crate::error::{Outcome, Trap};
use crate::guest::Counts;
use crate::module::Module;
use crate::stream::Stream;

/// A handle to one VM. See [`Host::vm`](crate::Host::vm).
#[derive(Clone)]
pub struct Vm {
    pub(crate) core: Rc<RefCell<Core>>,
}

// === impl Vm ===

impl Vm {
    /// Gives the VM a plugin configuration, in a root context of its own: the guest's
    /// `proxy_on_context_create`, `proxy_on_vm_start` and `proxy_on_configure` run. False where the guest
    /// refused; Envoy then keeps the configuration that it had.
    ///
    /// A second call is what a configuration update does: a second root in the same VM, to which new
    /// streams go. The first one lives until [`Self::retire`].
    pub fn configure(&self, configuration: &[u8]) -> Outcome<bool> {
        let mut core = self.core.borrow_mut();
        let root = RootState { configuration: configuration.to_vec(), ..RootState::default() };
        let id = core.state().add_context(Context::Root(root));
        let accepted = core.configure(id, configuration)?;
        if !accepted {
            core.delete_root(id)?;
        }
        Ok(accepted)
    }

    /// Ids of the root contexts, oldest first.
    pub fn roots(&self) -> Vec<u32> {
        self.core.borrow_mut().state().roots().map(|(id, _)| id).collect()
    }

    /// Retires a root: `proxy_on_done`, and `proxy_on_delete` as soon as the guest agrees, by its result or later by
    /// `proxy_done`. True when the root is gone.
    pub fn retire(&self, root: u32) -> Outcome<bool> {
        let mut core = self.core.borrow_mut();
        match core.state().root(root) {
            Some(root) => root.retiring = true,
            None => return Ok(true),
        }
        let agreed: Option<u32> = core.call(root, "proxy_on_done", root)?;
        core.settle()?;
        if agreed != Some(0) {
            core.delete_root(root)?;
        }
        Ok(core.state().root(root).is_none())
    }

    /// Lets the timer of every root fire that has set one; the clock stays. Gives how many fired.
    pub fn tick(&self) -> Outcome<usize> {
        let mut core = self.core.borrow_mut();
        let due: Vec<u32> =
            core.state().roots().filter(|(_, root)| root.tick_period_ms > 0).map(|(id, _)| id).collect();
        for id in &due {
            core.notify(*id, "proxy_on_tick", *id)?;
        }
        Ok(due.len())
    }

    /// The period that the newest root has set for its ticks.
    pub fn tick_period(&self) -> Option<Duration> {
        let mut core = self.core.borrow_mut();
        let id = core.newest_root()?;
        let period_ms = core.state().root(id)?.tick_period_ms;
        (period_ms > 0).then(|| Duration::from_millis(u64::from(period_ms)))
    }

    /// Delivers the queue wake-ups that are pending for this VM, one `proxy_on_queue_ready` for each enqueued item.
    /// Returns their number; wake-ups that these cause are pending afterwards.
    pub fn deliver_queues(&self) -> Outcome<usize> {
        let mut core = self.core.borrow_mut();
        let worker = core.state().worker;
        let pending = core.state().process.borrow_mut().queues.take_pending(worker);
        let mut delivered = 0;
        for wake_up in pending {
            // A wake-up for a context that is gone is dropped.
            if core.state().root(wake_up.context).is_some() {
                core.notify(wake_up.context, "proxy_on_queue_ready", (wake_up.context, wake_up.queue))?;
                delivered += 1;
            }
        }
        Ok(delivered)
    }

    /// A new HTTP stream. The guest sees it at [`Stream::headers`].
    pub fn request(&self) -> Stream {
        Stream::new(self.clone())
    }

    /// Streams that the guest has a context for.
    pub fn open_streams(&self) -> usize {
        self.core.borrow_mut().open_streams()
    }

    /// Hostcalls and bytes since the start or the last [`Self::reset_counts`].
    pub fn counts(&self) -> Counts {
        self.core.borrow_mut().state().counts.clone()
    }

    /// Starts the books anew.
    pub fn reset_counts(&self) {
        self.core.borrow_mut().state().counts = Counts::default();
    }

    /// Size of the guest's linear memory in bytes; it never shrinks.
    pub fn memory_bytes(&self) -> usize {
        let mut core = self.core.borrow_mut();
        core.state().memory.map_or(0, |memory| memory.data_size(&core.store))
    }

    /// The trap that ended this VM.
    pub fn trap(&self) -> Option<Trap> {
        self.core.borrow().trap.clone()
    }

    /// Calls whose behaviour in Envoy is undefined.
    pub fn violations(&self) -> Vec<Violation> {
        self.core.borrow_mut().state().violations.clone()
    }

    /// The worker thread of this VM; a rebuilt VM has its predecessor's.
    pub fn worker(&self) -> u32 {
        self.core.borrow_mut().state().worker
    }

    pub(crate) fn module(&self) -> Module {
        self.core.borrow().module.clone()
    }

    /// The newest root's configuration.
    pub(crate) fn configuration(&self) -> Option<Vec<u8>> {
        let mut core = self.core.borrow_mut();
        let id = core.newest_root()?;
        core.state().root(id).map(|root| root.configuration.clone())
    }
}
