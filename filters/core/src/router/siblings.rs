//! Publishes a router's events to the other VMs of the process, and reads theirs.
//!
//! ```text
//!   this VM:   publish ─► view, pending ── flush ─┐            ┌─► view
//!   siblings:                                     ├─► the log ─┤
//!   uplink:    message ─► view, pending ── flush ─┘            └─► outbox ─► controller (in the VM with the lease)
//! ```
//!
//! One queue for both sources, because order matters: an event of the controller is in the log before any decision of this
//! VM that used it. Records leave the queue only when they are in the log.

use super::Router;
use super::hold::Holds;
use super::io::{Output, PluginId};
use super::log::{AppendReport, ReadReport};
use super::metrics::{Counter, Gauge};
use super::outbox::Outbox;
use super::shared::SharedMap;
use crate::ids::{OriginId, ProcessId};
use crate::limits::ALIVE_INTERVAL_MS;
use crate::num::u64_len;
use crate::time::Timestamp;
use crate::view::View;
use crate::wire::{Alive, Down, Event, Kind, Record, Source};
use prost::Message;

/// How old the last append must be for the next one not to wait, in milliseconds. Under load, what waits goes with the
/// next request's booking; a VM with little to do publishes at once.
const FLUSH_INTERVAL_MS: u64 = 5;
/// Events of this VM that may wait for the next append, when this one met too many conflicts. Those of the uplink have
/// a bound of their own, beyond which its stream is closed.
const PENDING_EVENTS_MAX: usize = 4096;

const PROCESS_KEY: &str = "warmpath/1/process";

/// The urgency of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Before their next decision.
    Now,
    /// Now if the last append is old, else with the next one.
    Soon,
    /// With the next append.
    Later,
}

// === impl Router ===

impl<S: SharedMap> Router<S> {
    /// Applies an event of this VM and publishes it to the siblings.
    pub(super) fn publish(
        &mut self,
        kinds: impl IntoIterator<Item = Kind>,
        when: When,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        for kind in kinds {
            let event = Event::from(kind);
            self.view.apply(&event, now);
            self.queue(event, now, out);
        }
        let is_due = match when {
            When::Now => true,
            When::Soon => now.ms_apart(self.flushed_at) >= FLUSH_INTERVAL_MS,
            When::Later => false,
        };
        if when == When::Now {
            self.busy_at = now;
        }
        if is_due {
            self.flush(now, out);
        }
    }

    fn queue(&mut self, event: Event, now: Timestamp, out: &mut Vec<Output>) {
        // Reports of in-flight work are absolute: a newer one replaces the older.
        if let Some(Kind::InFlight(new)) = &event.kind {
            self.pending.retain(|old| {
                !matches!(&old.event.kind, Some(Kind::InFlight(old)) if old.endpoint == new.endpoint && old.origin == new.origin)
            });
        }
        if self.pending.len() < PENDING_EVENTS_MAX {
            self.pending.push(Record { source: Source::Local, at: now, event });
        } else {
            out.push(Output::Count(Counter::LogDropped, 1));
        }
    }

    /// Appends the pending events to the log.
    pub(super) fn flush(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        self.confirm_lease(now, out);
        if self.pending.is_empty() {
            return;
        }
        self.flushed_at = now;
        if self.append_pending(now, out).has_overrun {
            self.recover_log(now, out);
            self.append_pending(now, out);
        }
    }

    fn append_pending(&mut self, now: Timestamp, out: &mut Vec<Output>) -> ReadReport {
        let follows_controller = self.follows_controller();
        let Self { view, outbox, holds, log, shared, pending, .. } = self;
        let report = log.append(shared, pending, |record| {
            take_record((view, outbox, holds), record, follows_controller, now, out);
        });
        for record in self.pending.drain(..report.appended) {
            if record.source == Source::Local {
                self.outbox.push(record.event, out);
            }
        }
        note_append(report, out);
        report.read
    }

    /// Applies the siblings' new events.
    pub(super) fn read_log(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if self.read_on(now, out).has_overrun {
            self.recover_log(now, out);
            self.read_on(now, out);
        }
    }

    /// Takes over what the ring had before its oldest page, from where this VM reads on.
    fn recover_log(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        // Endpoints may have come and gone in what was lost; what is left is about those of today.
        self.load_endpoints(now, out);
        self.miss_log(now);
        self.load_checkpoint(now, out);
    }

    fn read_on(&mut self, now: Timestamp, out: &mut Vec<Output>) -> ReadReport {
        let follows_controller = self.follows_controller();
        let Self { view, outbox, holds, log, shared, .. } = self;
        let report = log.read(shared, |record| {
            take_record((view, outbox, holds), record, follows_controller, now, out);
        });
        note_read(report, out);
        report
    }

    /// The work of each second: repeats in-flight work, drops that of dead origins, and publishes sizes.
    pub(super) fn keep_house(&mut self, plugin: PluginId, now: Timestamp, out: &mut Vec<Output>) {
        if now.ms_apart(self.alive_at) < ALIVE_INTERVAL_MS {
            return;
        }
        self.alive_at = now;
        if self.ledger.requests() > 0 || self.holds_requests() {
            let mut kinds = vec![Kind::Alive(Alive { origin: self.ledger.origin().0 })];
            // Repeated in full, so that a sibling recovers lost events within the second.
            kinds.extend(self.ledger.loads());
            self.publish(kinds, When::Later, now, out);
        }
        self.view.expire(now);
        self.repeat_held(now, out);
        self.show_held(out);
        self.note_silence(plugin, now, out);
        // Of two VMs that name the process at the same time, one finds later that it has another name.
        let process = self.process();
        self.view.set_process(process);
        if self.view.pools().is_empty() && self.load_endpoints(now, out) {
            self.read_log(now, out);
        }
        out.push(Output::Show(Gauge::Endpoints, u64_len(self.view.endpoints().count())));
        out.push(Output::Show(Gauge::Cells, u64_len(self.view.prefixes().cells())));
    }

    /// Stores pools and the engines' statuses where a VM that starts finds them at once: its first request cannot wait.
    pub(super) fn store_endpoints(&mut self) {
        let down = Down { events: self.view.export_endpoints(), ..Down::default() };
        let _ = self.shared.set(&self.endpoints_key(), &down.encode_to_vec(), None);
    }

    /// Takes over what [`Self::store_endpoints`] has stored. `false`: no controller has named a pool yet.
    pub(super) fn load_endpoints(&mut self, now: Timestamp, out: &mut Vec<Output>) -> bool {
        if !self.follows_controller() {
            return false;
        }
        let stored = self.shared.get(&self.endpoints_key());
        if stored.value.is_empty() {
            return false;
        }
        // Not a message of the stream, so not within its bound: a large fleet has more statuses than fit in one.
        let Ok(down) = Down::decode(stored.value.as_slice()) else {
            out.push(Output::Count(Counter::Malformed, 1));
            return false;
        };
        for event in &down.events {
            self.view.apply(event, now);
        }
        !self.view.pools().is_empty()
    }

    /// The id of this process, the same in all its VMs.
    pub(super) fn process(&mut self) -> ProcessId {
        let stored = self.shared.get(PROCESS_KEY);
        let name = stored.value.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        if name != 0 {
            return ProcessId(name);
        }
        // Zero stands for the controller.
        let name = self.random() | 1;
        let _ = self.shared.set(PROCESS_KEY, &name.to_be_bytes(), stored.version);
        ProcessId(name)
    }

    fn endpoints_key(&self) -> String {
        format!("warmpath/1/{}/endpoints", self.view.cell_bytes())
    }
}

/// Applies a record of a sibling. `follows_controller`: whether what a controller says of pools holds here; a plugin that names
/// no controller has its pools from its configuration, whatever the log still holds.
fn take_record(
    (view, outbox, holds): (&mut View, &mut Outbox, &mut Holds),
    record: Record,
    follows_controller: bool,
    now: Timestamp,
    out: &mut Vec<Output>,
) {
    let is_controllers = matches!(
        record.event.kind,
        Some(
            Kind::Pools(_)
                | Kind::Pool(_)
                | Kind::Proxies(_)
                | Kind::EngineStatus(_)
                | Kind::Current(_)
                | Kind::Reported(_)
                | Kind::Reporting(_)
                | Kind::WakeTime(_)
        )
    );
    if follows_controller || !is_controllers {
        // What was published an hour ago is an hour old. A clock that was set back must not put it ahead.
        view.apply(&record.event, record.at.min(now));
    }
    if record.source == Source::Local {
        if let Some(Kind::Held(held)) = &record.event.kind {
            holds.note_sibling(OriginId(held.origin));
        }
        outbox.push(record.event, out);
    }
}

fn note_read(report: ReadReport, out: &mut Vec<Output>) {
    if report.has_overrun {
        out.push(Output::Count(Counter::LogOverrun, 1));
    }
    if report.is_malformed {
        out.push(Output::Count(Counter::Malformed, 1));
    }
}

fn note_append(report: AppendReport, out: &mut Vec<Output>) {
    if report.conflicts > 0 {
        out.push(Output::Count(Counter::LogConflict, u64::from(report.conflicts)));
    }
    note_read(report.read, out);
}
