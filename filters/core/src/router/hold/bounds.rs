//! How much a process holds, and what becomes of more: of two requests the less important one is refused.
//!
//! The configuration bounds the process, not the VM: bodies are in the memory that its VMs share, and which worker a connection is
//! given is chance. A VM knows its siblings' requests as it knows all others, and which of them are of its process by the log.

use super::super::Router;
use super::super::exchange::Exchange;
use super::super::io::{ExchangeId, Output, PluginId};
use super::super::metrics::Gauge;
use super::super::reasons::{HoldEnd, NotHeld};
use super::super::route::refuse_to_hold;
use super::super::shared::SharedMap;
use super::super::siblings::When;
use super::{Holds, Wait};
use crate::config::HoldLimits;
use crate::ids::OriginId;
use crate::num::u64_len;
use crate::time::Timestamp;
use crate::wire::{Held, HeldFor};
use fnv::FnvHashSet;
use std::cmp::Reverse;

/// What is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    requests: u64,
    body_bytes: u64,
}

// === impl Kept ===

impl Kept {
    fn add(&mut self, body_bytes: u64) {
        self.requests += 1;
        self.body_bytes = self.body_bytes.saturating_add(body_bytes);
    }

    fn is_beyond(&self, limits: HoldLimits) -> bool {
        self.requests > limits.requests_max || self.body_bytes > limits.body_bytes_max
    }
}

// === impl Holds ===

impl Holds {
    /// Notes a VM of this process that holds a request.
    pub(in crate::router) fn note_sibling(&mut self, origin: OriginId) {
        self.siblings.insert(origin);
    }
}

// === impl Router ===

impl<S: SharedMap> Router<S> {
    /// Whether the process may hold one more request as it is.
    pub(in crate::router) fn has_room_to_hold(&self, limits: HoldLimits, body_bytes: usize) -> bool {
        let mut kept = self.kept();
        kept.add(u64_len(body_bytes));
        !kept.is_beyond(limits)
    }

    /// Sees to it that the process may hold one more request. `false`: it may not. What has to make room does so in the next tick: a
    /// response to one stream would stop the callback of another.
    pub(super) fn make_room(&mut self, limits: HoldLimits, priority: i32, body_bytes: u64) -> bool {
        let mut kept = self.kept();
        kept.add(body_bytes);
        let is_full = |kept: &Kept| kept.is_beyond(limits);
        if !is_full(&kept) {
            return true;
        }
        // Only those that may be refused, the least important and youngest first.
        let mut sheddable: Vec<(i32, Reverse<u64>, u64)> = Vec::new();
        for (number, id) in &self.holds.ids {
            if let Some(Exchange::Held(held)) = self.exchanges.get(id)
                && held.place.wait.asked.priority < priority.min(0)
                && !self.holds.shed.contains(number)
            {
                let place = &held.place;
                sheddable.push((place.wait.asked.priority, Reverse(*number), place.body_bytes));
            }
        }
        sheddable.sort_unstable();
        let mut shed = Vec::new();
        for (_, Reverse(number), body_bytes) in sheddable {
            if !is_full(&kept) {
                break;
            }
            kept.requests -= 1;
            kept.body_bytes = kept.body_bytes.saturating_sub(body_bytes);
            shed.push(number);
        }
        if is_full(&kept) {
            return false;
        }
        self.holds.shed.append(&mut shed);
        true
    }

    /// What the VMs of this process hold, without what is to make room.
    fn kept(&self) -> Kept {
        let mut kept = Kept { requests: u64_len(self.holds.ids.len()), body_bytes: self.holds.body_bytes };
        for number in &self.holds.shed {
            if let Some(Exchange::Held(held)) =
                self.holds.ids.get(number).and_then(|id| self.exchanges.get(id))
            {
                kept.requests -= 1;
                kept.body_bytes = kept.body_bytes.saturating_sub(held.place.body_bytes);
            }
        }
        if !self.holds.siblings.is_empty() {
            let gates = self.view.pools().iter().filter_map(|pool| self.view.admission(pool.name()));
            for gate in gates {
                for origin in &self.holds.siblings {
                    let held = gate.queue().of_origin(*origin);
                    kept.requests += held.requests;
                    kept.body_bytes = kept.body_bytes.saturating_add(held.body_bytes);
                }
            }
        }
        kept
    }

    /// Responds to those that make room for others.
    pub(super) fn shed_held(&mut self, plugin: PluginId, now: Timestamp, out: &mut Vec<Output>) {
        for number in std::mem::take(&mut self.holds.shed) {
            if let Some(id) = self.holds.ids.get(&number).copied() {
                self.refuse_held(id, NotHeld::Shed, plugin, now, out);
            }
        }
    }

    /// A body, or more of it, comes while its request is held. Returns whether it is.
    pub(in crate::router) fn keeps_held(
        &mut self,
        id: ExchangeId,
        (buffered_bytes, now): (usize, impl FnOnce() -> Timestamp),
        out: &mut Vec<Output>,
    ) -> bool {
        let Some(Exchange::Held(held)) = self.exchanges.get_mut(&id) else { return false };
        let more = u64_len(buffered_bytes).saturating_sub(held.place.body_bytes);
        held.place.body_bytes += more;
        let limit = held.source.limits().body_bytes_max;
        self.holds.body_bytes = self.holds.body_bytes.saturating_add(more);
        if more == 0 || self.kept().body_bytes <= limit {
            out.push(Output::Pause);
        } else if let Some(Exchange::Held(held)) = self.exchanges.remove(&id) {
            let now = now();
            self.leave(&held.place, HoldEnd::Refused, now, out);
            let wait_ms = self.wait_ms(&held.place.wait, now);
            refuse_to_hold(NotHeld::Full, (held.place.wait.held_for, wait_ms), held.source.caller(), out);
            self.publish([], When::Soon, now, out);
        }
        true
    }

    /// The requests that the VMs of this process hold.
    pub(in crate::router) fn process_holds(&self, now: Timestamp) -> Vec<Held> {
        let own = self.ledger.origin();
        self.view.held_by(|origin| origin == own || self.holds.siblings.contains(&origin), now)
    }

    /// Shows what the process holds, once a second while that is anything.
    pub(in crate::router) fn show_held(&mut self, out: &mut Vec<Output>) {
        let own = self.ledger.origin();
        let (mut sums, mut seen) = ([Kept::default(); 2], FnvHashSet::default());
        let gates = self.view.pools().iter().filter_map(|pool| self.view.admission(pool.name()));
        for waiting in gates.flat_map(|gate| gate.queue().iter()) {
            let origin = waiting.key.origin;
            if origin == own || self.holds.siblings.contains(&origin) {
                let [endpoint, room] = &mut sums;
                let sum = if waiting.held_for == HeldFor::Room { room } else { endpoint };
                sum.add(waiting.body_bytes);
                seen.insert(origin);
            }
        }
        // A VM that is gone holds nothing.
        self.holds.siblings.retain(|origin| seen.contains(origin));
        if std::mem::replace(&mut self.holds.shown, sums) == sums && sums == <[Kept; 2]>::default() {
            return;
        }
        for (held_for, sum) in [HeldFor::Endpoint, HeldFor::Room].into_iter().zip(sums) {
            out.push(Output::Show(Gauge::Held(held_for), sum.requests));
            out.push(Output::Show(Gauge::HeldBytes(held_for), sum.body_bytes));
        }
    }

    /// How long a request is likely to wait, in milliseconds; `None`: nobody knows.
    pub(super) fn wait_ms(&self, wait: &Wait, now: Timestamp) -> Option<u64> {
        match wait.held_for {
            HeldFor::Room => self.view.admission(&wait.pool)?.wait_ms(&wait.asked, now),
            HeldFor::Endpoint => {
                let pool = self.view.pools().iter().find(|pool| pool.name() == wait.pool)?;
                pool.wake()?.ready_in_ms(now)
            }
        }
    }
}
