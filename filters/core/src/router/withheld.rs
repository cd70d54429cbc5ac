//! Bodies that the proxy withholds while a request is paused at its headers.
//!
//! ```text
//!   head ─► paused ─┬─ its body is shown ───────────────────────────────► this proxy shows bodies
//!                   └─ tick ─► probe ─┬─ nothing has come from the client ─► paused
//!                                     └─ bytes have come ─► routed unread, resumed
//!                                                            ├─ its body is shown at once ─► a witness: withheld
//!                                                            └─ the next input comes first ─► another filter had it
//! ```
//!
//! Envoy shows the body of a paused request only with `allow_on_headers_stop_iteration`, which Istio's and Higress's
//! WasmPlugin cannot set: without it, the pause would never end. Time alone does not reveal that, because a client may send its
//! headers long before its body. The number of body bytes that Envoy has received does: it includes bytes that no filter has
//! seen. And a withheld body passes through the filter at the moment in which the request is resumed, whereas a body that
//! another filter still holds does not.
//!
//! Once a proxy is known to withhold bodies, requests are not paused. That costs the routing by prompt, so one request is paused
//! from time to time to see whether it is still so. Each plugin of a VM finds out by itself: two listeners of one process may
//! differ in the flag.

use super::body::Body;
use super::exchange::Exchange;
use super::io::{ExchangeId, Notice, Output, PluginId};
use super::metrics::Counter;
use super::reasons::Unread;
use super::shared::SharedMap;
use super::{Clock, Router, pace};
use crate::time::Timestamp;

/// How long a body of which the proxy has received bytes may stay unseen before its request is resumed, in milliseconds.
const UNSEEN_MS: u64 = 50;
/// The same for a proxy that is known to show bodies: another filter may hold them.
const UNSEEN_MS_SHOWN: u64 = 5_000;
/// How long to wait for a body of which no byte has arrived, in milliseconds, while no body was ever shown: it may be empty.
const EMPTY_MS: u64 = 1_000;
/// Longest time between two probes of one request, in milliseconds. It doubles up to there.
const PROBE_MS_MAX: u64 = 250;
/// How many bodies must be found withheld, with none shown in between, before requests are no longer paused.
const WITNESSES: u32 = 2;
/// Time until the first request that is paused again to see whether bodies are still withheld, in milliseconds; it doubles
/// each time.
const RETRY_MS: u64 = 60_000;
/// Longest such time.
const RETRY_MS_MAX: u64 = 3_600_000;

/// What a plugin knows of its proxy.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bodies {
    knowledge: Knowledge,
    /// Bodies found withheld since the last one that was shown.
    witnesses: u32,
    /// When a request was last paused to see whether that has changed.
    tried_at: Timestamp,
    retry_ms: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Knowledge {
    #[default]
    Nothing,
    Shown,
    Withheld,
}

/// A request that is paused at its headers and has seen nothing of its body.
#[derive(Debug)]
pub(super) struct Waiting {
    plugin: PluginId,
    /// The first tick that saw it, and the last that probed it. Not the time of its headers, which are read without a clock.
    since: Option<(Timestamp, Timestamp)>,
}

// === impl Bodies ===

impl Bodies {
    /// Whether a request is to be paused at its headers.
    fn pauses(&mut self, clock: &impl Clock) -> bool {
        if self.knowledge != Knowledge::Withheld {
            return true;
        }
        let now = clock.now();
        let is_due = now.ms_apart(self.tried_at) >= self.retry_ms;
        if is_due {
            self.retry_ms = (self.retry_ms * 2).min(RETRY_MS_MAX);
            self.tried_at = now;
        }
        is_due
    }

    /// How long a request is paused while its body is not shown; `None`: until it is.
    fn patience_ms(&self, has_bytes: bool) -> Option<u64> {
        match (self.knowledge, has_bytes) {
            (Knowledge::Nothing, true) | (Knowledge::Withheld, _) => Some(UNSEEN_MS),
            (Knowledge::Nothing, false) => Some(EMPTY_MS),
            (Knowledge::Shown, true) => Some(UNSEEN_MS_SHOWN),
            (Knowledge::Shown, false) => None,
        }
    }

    /// Bodies are shown. Returns whether they were believed to be withheld.
    fn note_shown(&mut self) -> bool {
        let before = std::mem::replace(&mut self.knowledge, Knowledge::Shown);
        self.witnesses = 0;
        before == Knowledge::Withheld
    }

    /// One was withheld. Returns whether that changes what is known.
    fn note_withheld(&mut self, now: Timestamp) -> bool {
        self.witnesses = self.witnesses.saturating_add(1);
        let is_new = self.witnesses >= WITNESSES && self.knowledge != Knowledge::Withheld;
        if is_new {
            self.knowledge = Knowledge::Withheld;
            (self.tried_at, self.retry_ms) = (now, RETRY_MS);
        }
        is_new
    }
}

// === impl Router ===

impl<S: SharedMap> Router<S> {
    /// Whether a request is paused until its body is there.
    pub(super) fn pauses(&mut self, clock: &impl Clock, plugin: PluginId) -> bool {
        self.plugin_mut(plugin).is_none_or(|plugin| plugin.bodies.pauses(clock))
    }

    /// A request is paused at its headers.
    pub(super) fn await_body(&mut self, id: ExchangeId, plugin: PluginId, out: &mut Vec<Output>) {
        self.waiting.insert(id, Waiting { plugin, since: None });
        if self.plugin_mut(plugin).is_some_and(|plugin| plugin.bodies.knowledge != Knowledge::Shown) {
            self.hasten(plugin, pace::TICK_MS_BUSY, out);
        }
    }

    /// The body of a paused request is shown.
    pub(super) fn body_shown(&mut self, id: ExchangeId, out: &mut Vec<Output>) {
        if let Some(waiting) = self.waiting.remove(&id)
            && let Some(plugin) = self.plugin_mut(waiting.plugin)
            && plugin.bodies.note_shown()
        {
            out.push(Output::Notice(Notice::BodiesShown));
        }
    }

    /// Bytes of the body of a request that is not paused are shown.
    pub(super) fn body_passes(
        &mut self,
        clock: &impl Clock,
        (id, bytes): (ExchangeId, usize),
        out: &mut Vec<Output>,
    ) {
        let Some(at) = self.resumed.iter().position(|(resumed, _, received)| {
            // All that had arrived passes at once.
            *resumed == id && u64::try_from(bytes).is_ok_and(|bytes| bytes >= *received)
        }) else {
            return;
        };
        let (_, plugin, _) = self.resumed.swap_remove(at);
        if let Some(plugin) = self.plugin_mut(plugin)
            && plugin.bodies.note_withheld(clock.now())
        {
            out.push(Output::Notice(Notice::BodiesWithheld));
        }
    }

    /// Any other input than the body of a request that the last tick resumed: a withheld body would have passed before it.
    pub(super) fn settle_resumed(&mut self) {
        while let Some((_, plugin, _)) = self.resumed.pop() {
            if let Some(plugin) = self.plugin_mut(plugin) {
                plugin.bodies.note_shown();
            }
        }
    }

    /// A request has its response, or is gone: nothing follows from a body that does not arrive.
    pub(super) fn forget_body(&mut self, id: ExchangeId) {
        self.waiting.remove(&id);
        self.resumed.retain(|(resumed, ..)| *resumed != id);
    }

    /// Asks the proxy how much it has received of bodies that are not shown.
    pub(super) fn probe_waiting(&mut self, now: Timestamp, plugin: PluginId, out: &mut Vec<Output>) {
        let mut due: Vec<ExchangeId> = Vec::new();
        for (id, waiting) in &mut self.waiting {
            let (since, probed_at) = waiting.since.get_or_insert((now, now));
            // Not a deadline for the next probe, because the clock may be set back.
            if now.ms_apart(*probed_at) >= probed_at.ms_apart(*since).clamp(UNSEEN_MS, PROBE_MS_MAX) {
                *probed_at = now;
                due.push(*id);
            }
        }
        if due.is_empty() {
            return;
        }
        for id in due {
            out.push(Output::Enter { exchange: id });
            out.push(Output::Probe { exchange: id });
        }
        out.push(Output::Leave { plugin });
    }

    /// The result of a probe.
    pub(super) fn probed(
        &mut self,
        clock: &impl Clock,
        (id, received_bytes): (ExchangeId, u64),
        out: &mut Vec<Output>,
    ) {
        let now = clock.now();
        let Some(&Waiting { plugin, since: Some((since, _)) }) = self.waiting.get(&id) else { return };
        let has_bytes = received_bytes > 0;
        let patience_ms =
            self.plugin_mut(plugin).map_or(Some(0), |plugin| plugin.bodies.patience_ms(has_bytes));
        if patience_ms.is_none_or(|patience_ms| now.ms_apart(since) < patience_ms) {
            return;
        }
        self.waiting.remove(&id);
        let Some(Exchange::Reading(reading)) = self.exchanges.remove(&id) else { return };
        out.push(Output::Count(Counter::Resumed, 1));
        out.push(Output::Enter { exchange: id });
        self.route_body(clock, id, (reading, None), Body::Unread(Unread::Withheld), out);
        // An exchange that is gone has its response already, and one that is held stays where it is.
        if self.exchanges.get(&id).is_some_and(|exchange| !matches!(exchange, Exchange::Held(_))) {
            out.push(Output::Resume);
            if has_bytes {
                self.resumed.push((id, plugin, received_bytes));
            }
        }
        out.push(Output::Leave { plugin });
    }

    /// Whether ticks must be frequent because requests of this plugin may be paused in vain.
    pub(super) fn hastens_ticks(&self, id: PluginId) -> bool {
        let is_known =
            self.plugins.iter().any(|plugin| plugin.id == id && plugin.bodies.knowledge == Knowledge::Shown);
        !is_known && self.waiting.values().any(|waiting| waiting.plugin == id)
    }
}
