//! Held requests that go on, each tick: those that are next, and those that have waited for as long as their pool allows.
//!
//! ```text
//!   tick ─► the next one ─┬─ nothing to read ─► route ─► the next one ─► ..
//!                         └─► Recall ─► its body ─► route ─► the next one ─► ..
//! ```
//!
//! Not in the callback of whatever made room: a response's end would then pay for other requests' parsing. One at a time, because each
//! choice must know of the one before it.

use super::super::body::Body;
use super::super::exchange::Exchange;
use super::super::io::{ExchangeId, Output, PluginId, Prompt};
use super::super::pace;
use super::super::reasons::{HoldEnd, NotHeld};
use super::super::route::refuse_to_hold;
use super::super::shared::SharedMap;
use super::super::siblings::When;
use super::super::{Clock, Router};
use super::{Admitted, Held, Permit, Place, Source, Wait};
use crate::admission::{Admission, HeldKey, Verdict};
use crate::time::Timestamp;
use crate::view::Pool;
use crate::wire::{HeldFor, Kind, Released};
use fnv::FnvHashSet;
use std::cmp::Reverse;

/// Held requests that go on in one tick of a VM. Each has its body parsed once more, half a millisecond for a long prompt, and the
/// other requests of the worker wait meanwhile.
const RESUMED_PER_TICK_MAX: u32 = 16;
/// Tenants of a pool that may be put in order in a tick: where requests of more wait in all proxies, fewer ticks look for the next one.
const TENANTS_PER_TICK_MAX: usize = 512;
/// Time between two looks for those that have waited too long, in milliseconds.
const EXPIRE_MS: u64 = 100;
/// In so many seconds each held request is published once more: what another proxy has missed, it learns then.
const REPEAT_S: u64 = 5;

/// What may hand over what a held request comes from.
#[derive(Debug)]
pub(in crate::router) enum Again<'a> {
    Body(&'a [u8]),
    Prompt(Prompt<'a>),
}

// === impl Router ===

impl<S: SharedMap> Router<S> {
    /// Looks after the held requests, in the tick of a plugin.
    pub(in crate::router) fn tend_held(
        &mut self,
        clock: &impl Clock,
        plugin: PluginId,
        out: &mut Vec<Output>,
    ) {
        if self.holds.ids.is_empty() {
            return;
        }
        let now = clock.now();
        self.holds.recalled = None;
        self.holds.budget = RESUMED_PER_TICK_MAX;
        self.holds.ticks = self.holds.ticks.wrapping_add(1);
        self.shed_held(plugin, now, out);
        self.expire_held(plugin, now, out);
        self.resume_held(clock, plugin, out);
    }

    /// Whether anything is held.
    pub(in crate::router) fn holds_requests(&self) -> bool {
        !self.holds.ids.is_empty()
    }

    /// The interval of ticks that held requests need; the longest one that there is where nothing is held.
    pub(in crate::router) fn held_tick_ms(&self) -> u64 {
        match (self.holds.ids.len(), self.holds.for_room) {
            (0, _) => u64::MAX,
            (_, 0) => pace::TICK_MS_BUSY,
            _ => pace::TICK_MS_HELD,
        }
    }

    /// Lets one after the other go on, up to the first whose body has to be read.
    fn resume_held(&mut self, clock: &impl Clock, plugin: PluginId, out: &mut Vec<Output>) {
        let now = clock.now();
        while self.holds.budget > 0
            && let Some((id, permit)) = self.next_own(now, out)
        {
            self.holds.budget -= 1;
            let Some(Exchange::Held(held)) = self.exchanges.get_mut(&id) else { return };
            held.permit = Some(permit);
            if held.source.is_recalled() {
                self.holds.recalled = Some((id, plugin));
                out.extend([
                    Output::Enter { exchange: id },
                    Output::Recall { exchange: id },
                    Output::Leave { plugin },
                ]);
                return;
            }
            self.go_on(clock, id, plugin, None, out);
        }
    }

    /// What a held request comes from is here once more.
    pub(in crate::router) fn recalled(
        &mut self,
        clock: &impl Clock,
        id: ExchangeId,
        again: Again<'_>,
        out: &mut Vec<Output>,
    ) {
        let Some((_, plugin)) = self.holds.recalled.take_if(|(recalled, _)| *recalled == id) else { return };
        self.go_on(clock, id, plugin, Some(again), out);
        self.resume_held(clock, plugin, out);
    }

    /// Routes a held request once more.
    fn go_on(
        &mut self,
        clock: &impl Clock,
        id: ExchangeId,
        plugin: PluginId,
        again: Option<Again<'_>>,
        out: &mut Vec<Output>,
    ) {
        let Some(Exchange::Held(held)) = self.exchanges.remove(&id) else { return };
        let Held { source, place, permit } = *held;
        let waited_ms = self.holds.clock.ms(clock.now()).saturating_sub(place.came_ms);
        let admitted = permit.map(|permit| Admitted { place, permit, waited_ms });
        out.push(Output::Enter { exchange: id });
        match (source, again) {
            (Source::Read(reading, _), Some(Again::Body(body))) => {
                self.route_body(clock, id, (*reading, admitted), Body::Whole(body), out);
            }
            (Source::Read(reading, kept), _) => {
                self.route_body(clock, id, (*reading, admitted), kept.into(), out);
            }
            (Source::Prompt(_), Some(Again::Prompt(prompt))) => {
                self.route_prompt(clock, id, (plugin, admitted), prompt, out);
            }
            // Its caller no longer has it: as if the client had left.
            (Source::Prompt(_), _) => {
                if let Some(Admitted { place, .. }) = admitted {
                    self.leave(&place, HoldEnd::Left, clock.now(), out);
                }
            }
        }
        if matches!(self.exchanges.get(&id), Some(Exchange::Sent(_) | Exchange::Passed(_))) {
            out.push(Output::Resume);
        }
        out.push(Output::Leave { plugin });
    }

    /// A held request goes on, or is refused.
    pub(in crate::router) fn release(
        &mut self,
        admitted: Option<Admitted>,
        end: HoldEnd,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        if let Some(Admitted { place, .. }) = admitted {
            self.leave(&place, end, now, out);
        }
    }

    /// The request of this VM that goes on next.
    fn next_own(&mut self, now: Timestamp, out: &mut Vec<Output>) -> Option<(ExchangeId, Permit)> {
        while let Some(number) = self.holds.due.pop() {
            if let Some(id) = self.holds.ids.get(&number) {
                return Some((*id, Permit { verdict: Some(Verdict::Open), is_last: true }));
            }
        }
        if let Some(id) = self.next_for_endpoint(now) {
            return Some((id, Permit { verdict: None, is_last: false }));
        }
        let pools = self.view.pools();
        let from = self.holds.ticks % pools.len().max(1);
        let (before, after) = pools.split_at_checked(from)?;
        let mut unknown = None;
        for pool in after.iter().chain(before).filter(|pool| pool.hold().is_some()) {
            let tenants = self.view.admission(pool.name()).map_or(0, |gate| gate.queue().tenants_len());
            if !self.holds.ticks.is_multiple_of(1 + tenants / TENANTS_PER_TICK_MAX) {
                continue;
            }
            let next = self.view.next_held(pool, now).filter(|(key, _)| key.origin == self.ledger.origin());
            let Some((key, verdict)) = next else { continue };
            if let Some(id) = self.holds.ids.get(&key.number) {
                return Some((*id, Permit { verdict: Some(verdict), is_last: false }));
            }
            unknown = Some(key);
        }
        if let Some(HeldKey { origin, number }) = unknown {
            // One that is gone must not keep the others waiting.
            self.publish(
                [Kind::Released(Released { origin: origin.0, number, is_sent: false })],
                When::Soon,
                now,
                out,
            );
        }
        None
    }

    /// The first that waits for an endpoint in a pool that has one. Each VM lets its own go on, without regard to the others' where no
    /// more endpoints are about to come: where they go is a matter of cost, and to take turns would take a tick each.
    fn next_for_endpoint(&mut self, now: Timestamp) -> Option<ExchangeId> {
        if self.holds.ids.len() == self.holds.for_room || self.holds.clock.ms(now) < self.holds.vain_until_ms
        {
            return None;
        }
        let pools = self.view.pools().iter().filter(|pool| pool.hold().is_some() && pool.has_takers());
        let awake = pools.filter(|pool| !self.view.is_waking(pool, now));
        let (paced, open): (Vec<&Pool>, Vec<&Pool>) = awake.partition(|pool| self.view.is_pacing(pool));
        let is_open = |pool: &str| open.iter().any(|known| known.name() == pool);
        let is_next = |id: &&ExchangeId| match self.exchanges.get(id) {
            Some(Exchange::Held(held)) => {
                let Wait { pool, held_for, .. } = &held.place.wait;
                *held_for == HeldFor::Endpoint && is_open(pool)
            }
            _ => false,
        };
        let next = self.holds.ids.values().filter(|_| !open.is_empty()).find(is_next).copied();
        next.or_else(|| {
            let is_held = |number| self.holds.ids.contains_key(&number);
            let own = (self.ledger.origin(), is_held);
            let key = paced.iter().find_map(|pool| self.view.next_paced(pool, own, now))?;
            self.holds.ids.get(&key.number).copied()
        })
    }

    /// Finds those that have waited for as long as their pool allows.
    fn expire_held(&mut self, plugin: PluginId, now: Timestamp, out: &mut Vec<Output>) {
        let ms = self.holds.clock.ms(now);
        if ms - self.holds.expired_ms < EXPIRE_MS {
            return;
        }
        self.holds.expired_ms = ms;
        self.holds.due.clear();
        let mut refused = Vec::new();
        for (number, id) in &self.holds.ids {
            let Some(Exchange::Held(held)) = self.exchanges.get(id) else { continue };
            let Wait { pool, held_for, .. } = &held.place.wait;
            let limits = self.view.admission(pool).map(Admission::hold);
            let max_ms = limits.map_or(0, |limits| match held_for {
                HeldFor::Endpoint => limits.endpoint_ms_max,
                HeldFor::Room => limits.room_ms_max,
            });
            if ms - held.place.since_ms.min(ms) < u64::from(max_ms) {
                continue;
            }
            // Another pool may serve it by now.
            let mut pools = self.view.pools().iter().filter(|known| limits.is_none() || known.name() == pool);
            if pools.any(|known| limits.is_none() || known.has_takers()) {
                self.holds.due.push(*number);
            } else {
                refused.push(*id);
            }
        }
        // Those that came first go first.
        self.holds.due.sort_unstable_by_key(|number| Reverse(*number));
        for id in refused {
            self.refuse_held(id, NotHeld::Expired, plugin, now, out);
        }
        self.publish([], When::Soon, now, out);
    }

    /// Responds to a held request.
    pub(super) fn refuse_held(
        &mut self,
        id: ExchangeId,
        reason: NotHeld,
        plugin: PluginId,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let Some(Exchange::Held(held)) = self.exchanges.remove(&id) else { return };
        let Wait { held_for, .. } = held.place.wait;
        // Who waits for room gets it in the end, unless there is nobody left to have any.
        let held_for = if reason == NotHeld::Expired { HeldFor::Endpoint } else { held_for };
        let wait_ms = self.wait_ms(&held.place.wait, now);
        self.leave(&held.place, HoldEnd::Refused, now, out);
        out.push(Output::Enter { exchange: id });
        refuse_to_hold(reason, (held_for, wait_ms), held.source.caller(), out);
        out.push(Output::Leave { plugin });
    }

    /// Publishes held requests once more, a part of them each second, and those that this VM's own view has lost.
    pub(in crate::router) fn repeat_held(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if self.holds.ids.is_empty() {
            return;
        }
        let origin = self.ledger.origin();
        let gates = self.view.pools().iter().filter_map(|pool| self.view.admission(pool.name()));
        let waiting = gates.flat_map(|gate| gate.queue().iter()).map(|waiting| waiting.key);
        let known: FnvHashSet<u64> =
            waiting.filter(|key| key.origin == origin).map(|key| key.number).collect();
        let part = self.holds.clock.ms(now) / 1_000 % REPEAT_S;
        let due = self
            .holds
            .ids
            .iter()
            .filter(|(number, _)| **number % REPEAT_S == part || !known.contains(number));
        let places = due.filter_map(|(_, id)| match self.exchanges.get(id) {
            Some(Exchange::Held(held)) => Some(held.place.clone()),
            _ => None,
        });
        let places: Vec<Place> = places.collect();
        let kinds: Vec<Kind> = places.iter().map(|place| self.held_event(place, now)).collect();
        self.publish(kinds, When::Later, now, out);
    }
}
