//! What the controller sends: applied here, and passed on to the siblings through the log.
//!
//! The generation that is stored for the next holder of the lease is one whose events all siblings can read. A holder
//! that stored it earlier and trapped would leave a gap that nobody asks for.

use super::{Followed, RETRY_MS_MIN};
use crate::ids::{Generation, InstanceId};
use crate::router::io::{Notice, Output, UplinkId};
use crate::router::lease;
use crate::router::metrics::Counter;
use crate::router::shared::SharedMap;
use crate::router::{RESUME_KEY, Router};
use crate::time::Timestamp;
use crate::view::Applied;
use crate::wire::{Event, Kind, Phase, Record, Source, decode_down};

/// Events of the controller that may wait for a place in the log before the stream is closed, to be resumed later: one
/// full message and the one behind it.
const PENDING_EVENTS_MAX: usize = 2 * crate::limits::EVENTS_PER_MESSAGE_MAX;

// === impl Router ===

impl<S: SharedMap> Router<S> {
    /// A message of the controller: applied here, and passed on to the siblings.
    pub(in crate::router) fn uplink_message(
        &mut self,
        id: UplinkId,
        message: &[u8],
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        self.confirm_lease(now, out);
        let followed = self.uplink.followed;
        let Some(open) = self.uplink.open_mut(id) else { return };
        let down = match decode_down(message) {
            Ok(down) => down,
            Err(error) => {
                out.push(Output::Notice(Notice::MalformedMessage(error)));
                out.push(Output::Count(Counter::Malformed, 1));
                out.push(Output::CancelUplink { uplink: id });
                self.uplink_closed(id, now, out);
                return;
            }
        };
        if down.phase() == Phase::Begin {
            let is_new = followed.is_none_or(|followed| followed.instance.0 != down.instance);
            open.snapshot_is_new = Some(is_new);
            self.uplink.followed = None;
            self.uplink.pending_follow = None;
        }
        self.uplink.retry_ms = RETRY_MS_MIN;
        self.uplink.without_stream_since = None;
        let (phase, reached) = (
            down.phase(),
            Followed { instance: InstanceId(down.instance), generation: Generation(down.generation) },
        );
        self.take_events(id, down.events, now, out);
        match phase {
            Phase::Begin | Phase::Item => {}
            Phase::Delta | Phase::Resumed | Phase::Done => self.follow(reached),
        }
        if phase == Phase::Done {
            out.push(Output::Count(Counter::UplinkSnapshot, 1));
            self.store_endpoints();
            let ended = self.uplink.open_mut(id).and_then(|open| open.snapshot_is_new.take());
            if ended == Some(true) {
                self.uplink.has_lost_events = true;
            }
        }
        let is_complete = matches!(phase, Phase::Done | Phase::Resumed);
        if is_complete {
            // A controller that has just started knows nothing, and what the last holder of the lease had not sent is lost,
            // as is what the outbox had no room for. All of it is in the view.
            let has_dropped = self.outbox.take_dropped();
            if std::mem::take(&mut self.uplink.has_lost_events) || has_dropped {
                self.teach(id, now, out);
            }
        }
        if self.pending_from_controller() > PENDING_EVENTS_MAX {
            out.push(Output::Notice(Notice::LogCongested));
            out.push(Output::CancelUplink { uplink: id });
            self.uplink_closed(id, now, out);
        }
    }

    /// Applies events of the controller and publishes them to the siblings.
    fn take_events(&mut self, id: UplinkId, events: Vec<Event>, now: Timestamp, out: &mut Vec<Output>) {
        self.read_log(now, out);
        let mut has_pools = false;
        for mut event in events {
            if let Some(Kind::Prefix(prefix)) = &event.kind {
                let whole = self.uplink.open_mut(id).and_then(|open| open.prefixes.decode(prefix).ok());
                let Some(whole) = whole else {
                    out.push(Output::Count(Counter::Malformed, 1));
                    continue;
                };
                event.kind = Some(Kind::Prefix(whole));
            }
            has_pools |= matches!(event.kind, Some(Kind::Pools(_) | Kind::Pool(_)));
            if self.view.apply(&event, now) == Applied::Cut {
                out.push(Output::Count(Counter::Malformed, 1));
            }
            self.pending.push(Record { source: Source::Controller, at: now, event });
        }
        if has_pools {
            self.store_endpoints();
        }
        self.flush(now, out);
    }

    /// Notes how far the controller's stream was applied. Stored for the VM that takes over only when the siblings can
    /// read all of it: that VM asks for what comes behind.
    fn follow(&mut self, reached: Followed) {
        self.uplink.followed = Some(reached);
        self.uplink.pending_follow = Some(reached);
        self.store_resume_point();
    }

    /// Stores the resume point, if nothing of the uplink waits for a place in the log.
    pub(in crate::router) fn store_resume_point(&mut self) {
        if self.uplink.pending_follow.is_some()
            && self.pending_from_controller() == 0
            && let Some(Followed { instance, generation }) = self.uplink.pending_follow.take()
        {
            let value = lease::from_two_numbers(instance.0, generation.0);
            let _ = self.shared.set(RESUME_KEY, &value, None);
        }
    }

    pub(super) fn stored_resume_point(&mut self) -> Option<Followed> {
        let (instance, generation) = lease::two_numbers(&self.shared.get(RESUME_KEY).value)?;
        let followed = Followed { instance: InstanceId(instance), generation: Generation(generation) };
        (instance != 0).then_some(followed)
    }

    fn pending_from_controller(&self) -> usize {
        self.pending.iter().filter(|record| record.source == Source::Controller).count()
    }
}
