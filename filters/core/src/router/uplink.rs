//! The uplink: the stream to the controller, held by the one VM of a process that has the lease.
//!
//! ```text
//!   NoLease ── claimed ──► Waiting ── due ──► Opening ── opened ──► Open ── closed ──► Waiting, longer each time
//!      ▲                                         └── refused ──► Waiting
//!      └───────── lost, released, or the plugin is gone ── from any state
//! ```
//!
//! A stream belongs to the plugin in whose context it was opened, and only there can it be written to or cancelled. So
//! the uplink follows the newest plugin that names a controller, and a stream of an older one is cancelled at that
//! plugin's next input.

use super::io::{Notice, Output, PluginId, UplinkId};
use super::lease::{self, Lease, StoredLease, Verdict};
use super::metrics::{Counter, Gauge};
use super::pace::Link;
use super::shared::SharedMap;
use super::{LEASE_KEY, RESUME_KEY, Router};
use crate::ids::{Generation, InstanceId};
use crate::time::Timestamp;
use crate::wire::{Event, Hello, Kind, Phase, PrefixDecoder, Record, Snapshotter, Source, Up, decode_down};
use prost::Message;

/// Wait before the stream is opened again, in milliseconds; doubles up to the maximum.
const RETRY_MS_MIN: u64 = 50;
/// See [`RETRY_MS_MIN`].
const RETRY_MS_MAX: u64 = 2_000;
/// How often the stored endpoints are brought up to date for VMs that start, in milliseconds.
const STORE_MS: u64 = 1_000;
/// Events of the controller that may wait for a place in the log before the stream is closed, to be resumed later: one
/// full message and the one behind it.
const PENDING_EVENTS_MAX: usize = 2 * crate::limits::EVENTS_PER_MESSAGE_MAX;

/// See the module.
#[derive(Debug)]
pub(super) struct Uplink {
    pub(super) lease: Lease,
    state: State,
    /// The plugin that opens streams.
    plugin: Option<PluginId>,
    /// Streams that are to be cancelled in the context of their plugin.
    superseded: Vec<(PluginId, UplinkId)>,
    retry_ms: u64,
    /// The controller instance and its generation that this VM has applied, unless a snapshot is incomplete.
    followed: Option<Followed>,
    /// The same, while records up to it still wait for a place in the log.
    pending_follow: Option<Followed>,
    stored_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Followed {
    instance: InstanceId,
    generation: Generation,
}

#[derive(Debug)]
enum State {
    NoLease,
    Waiting { since: Timestamp, wait_ms: u64 },
    Opening,
    Open(Open),
}

#[derive(Debug)]
struct Open {
    id: UplinkId,
    /// The cursor of the stream's prefixes.
    prefixes: PrefixDecoder,
    /// `Some` inside a snapshot: whether it is of another instance than the one followed before, which knows nothing of
    /// what was learned here.
    snapshot_is_new: Option<bool>,
}

// === impl Uplink ===

impl Uplink {
    pub(super) fn new(lease: Lease) -> Self {
        Self {
            lease,
            state: State::NoLease,
            plugin: None,
            superseded: Vec::new(),
            retry_ms: RETRY_MS_MIN,
            followed: None,
            pending_follow: None,
            stored_at: Timestamp::default(),
        }
    }

    /// What the pace depends on.
    pub(super) fn link(&self, has_peers: bool) -> Link {
        match self.state {
            State::NoLease => Link::Elsewhere,
            State::Waiting { .. } | State::Opening => Link::Closed,
            State::Open(_) if has_peers => Link::WithPeers,
            State::Open(_) => Link::Alone,
        }
    }

    /// The plugin that opens streams.
    pub(super) fn plugin(&self) -> Option<PluginId> {
        self.plugin
    }

    fn open_mut(&mut self, id: UplinkId) -> Option<&mut Open> {
        match &mut self.state {
            State::Open(open) if open.id == id => Some(open),
            _ => None,
        }
    }

    /// The stream is gone, or was not to be had: the next attempt comes later each time.
    fn wait(&mut self, now: Timestamp) {
        self.state = State::Waiting { since: now, wait_ms: self.retry_ms };
        self.retry_ms = (self.retry_ms * 2).min(RETRY_MS_MAX);
    }
}

// === impl Router ===

impl<S: SharedMap> Router<S> {
    /// Gives the uplink to the newest plugin that names a controller.
    pub(super) fn assign_uplink(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let newest = self.plugins.iter().rev().find(|plugin| plugin.config.controller_cluster.is_some());
        let newest = newest.map(|plugin| plugin.id);
        let old = std::mem::replace(&mut self.uplink.plugin, newest);
        if newest == old {
            return;
        }
        if let (State::Open(open), Some(old)) = (&self.uplink.state, old) {
            self.uplink.superseded.push((old, open.id));
            closed(out);
            out.push(Output::Show(Gauge::UplinkConnected, 0));
        }
        if newest.is_none() {
            self.release_lease();
        } else if self.uplink.lease.is_held() {
            // The controller may be another one: no reason to wait.
            self.uplink.state = State::Waiting { since: now, wait_ms: 0 };
            self.uplink.retry_ms = RETRY_MS_MIN;
        }
    }

    /// Cancels streams that are left of an earlier assignment, in the context of their plugin.
    pub(super) fn cancel_superseded(&mut self, plugin: PluginId, out: &mut Vec<Output>) {
        let theirs = self.uplink.superseded.extract_if(.., |(of, _)| *of == plugin);
        out.extend(theirs.map(|(_, uplink)| Output::CancelUplink { uplink }));
    }

    /// Looks after the lease and the stream, and sends what is pending.
    pub(super) fn tend_uplink(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if self.uplink.lease.is_due(now) {
            self.check_lease(now, out);
        }
        match &self.uplink.state {
            // A wait that began later than now began before the clock was set back.
            State::Waiting { since, wait_ms } if now.ms_apart(*since) >= *wait_ms => self.open_uplink(out),
            State::NoLease | State::Opening | State::Waiting { .. } => {}
            State::Open(_) => {
                self.send_pending(now, out);
                // Not before the controller has sent its state: what the view has until then is the configuration's.
                if self.uplink.followed.is_some() && now.ms_apart(self.uplink.stored_at) >= STORE_MS {
                    self.uplink.stored_at = now;
                    self.store_endpoints();
                }
            }
        }
    }

    fn check_lease(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let random = self.random();
        let stored = self.shared.get(LEASE_KEY);
        let is_held = match self.uplink.lease.verdict(StoredLease::decode(&stored.value), now) {
            // A first store cannot be conditional: it counts only once it was read back.
            Verdict::Claim(claim) => {
                self.shared.set(LEASE_KEY, &claim.encode(), stored.version).is_ok()
                    && stored.version.is_some()
            }
            Verdict::Leave => false,
        };
        if !self.uplink.lease.note(is_held, now, random) {
            return;
        }
        self.outbox.set_open(is_held);
        if is_held {
            // The gauge is the process's, so the holder of the lease sets it and nobody else.
            out.push(Output::Show(Gauge::UplinkConnected, 0));
            self.uplink.followed = self.stored_resume_point();
            self.uplink.state = State::Waiting { since: now, wait_ms: 0 };
        } else if let State::Open(open) = self.leave_uplink() {
            out.push(Output::CancelUplink { uplink: open.id });
            closed(out);
        }
    }

    /// Leaves the lease to others at once, so that none of them need wait for its end.
    pub(super) fn release_lease(&mut self) {
        let stored = self.shared.get(LEASE_KEY);
        if let Some(free) = self.uplink.lease.release(StoredLease::decode(&stored.value)) {
            let _ = self.shared.set(LEASE_KEY, &free.encode(), stored.version);
        }
        self.outbox.set_open(false);
        self.leave_uplink();
    }

    /// Without the lease nothing of the uplink is left. What waits for a place in the log is dropped: the next holder
    /// asks for it again, and it must not come behind what that one appends.
    fn leave_uplink(&mut self) -> State {
        self.pending.retain(|record| record.source != Source::Feed);
        self.uplink.pending_follow = None;
        std::mem::replace(&mut self.uplink.state, State::NoLease)
    }

    fn open_uplink(&mut self, out: &mut Vec<Output>) {
        let plugin = self.uplink.plugin.and_then(|id| self.plugins.iter().find(|plugin| plugin.id == id));
        let Some(controller) = plugin.and_then(|plugin| plugin.config.controller_cluster.as_ref()) else {
            return;
        };
        out.push(Output::OpenUplink { cluster: controller.clone() });
        self.uplink.state = State::Opening;
    }

    /// What became of [`Output::OpenUplink`].
    pub(super) fn uplink_opened(&mut self, uplink: Option<UplinkId>, now: Timestamp, out: &mut Vec<Output>) {
        if !matches!(self.uplink.state, State::Opening) {
            out.extend(uplink.map(|uplink| Output::CancelUplink { uplink }));
            return;
        }
        let Some(id) = uplink else {
            self.uplink.wait(now);
            return;
        };
        out.push(Output::Count(Counter::UplinkOpened, 1));
        out.push(Output::Show(Gauge::UplinkConnected, 1));
        let hello = self.hello();
        send(id, &Up { hello: Some(hello), events: Vec::new() }, out);
        let reports = self.ledger.loads().into_iter().map(Event::from);
        send_all(id, reports, out);
        self.uplink.state =
            State::Open(Open { id, prefixes: PrefixDecoder::default(), snapshot_is_new: None });
        self.send_pending(now, out);
    }

    fn hello(&mut self) -> Hello {
        let (instance, generation) =
            self.uplink.followed.map_or((0, 0), |followed| (followed.instance.0, followed.generation.0));
        let plugin = self.plugins.iter().find(|plugin| Some(plugin.id) == self.uplink.plugin);
        let node = plugin.map(|plugin| plugin.node.clone()).unwrap_or_default();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Hello { process: self.process().0, node, version, instance, generation }
    }

    /// A message of the controller: applied here, and passed on to the siblings.
    pub(super) fn uplink_message(
        &mut self,
        id: UplinkId,
        message: &[u8],
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
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
                self.teach(id, out);
            }
        }
        if self.pending_feed() > PENDING_EVENTS_MAX {
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
            has_pools |= matches!(event.kind, Some(Kind::Pools(_)));
            if self.view.apply(&event, now) == crate::view::Applied::Cut {
                out.push(Output::Count(Counter::Malformed, 1));
            }
            self.pending.push(Record { source: Source::Feed, event });
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
    pub(super) fn store_resume_point(&mut self) {
        if self.uplink.pending_follow.is_some()
            && self.pending_feed() == 0
            && let Some(Followed { instance, generation }) = self.uplink.pending_follow.take()
        {
            let value = lease::from_two_numbers(instance.0, generation.0);
            let _ = self.shared.set(RESUME_KEY, &value, None);
        }
    }

    fn stored_resume_point(&mut self) -> Option<Followed> {
        let (instance, generation) = lease::two_numbers(&self.shared.get(RESUME_KEY).value)?;
        let followed = Followed { instance: InstanceId(instance), generation: Generation(generation) };
        (instance != 0).then_some(followed)
    }

    fn pending_feed(&self) -> usize {
        self.pending.iter().filter(|record| record.source == Source::Feed).count()
    }

    /// Sends the controller what this process did.
    fn send_pending(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let State::Open(open) = &self.uplink.state else { return };
        let events = self.outbox.take();
        // With the round of a second comes little else that is new.
        let is_round = events.iter().any(|event| matches!(event.kind, Some(Kind::Alive(_))));
        if !events.is_empty() && !is_round {
            self.busy_at = now;
        }
        send_all(open.id, events, out);
    }

    /// Sends a controller that has just started what this process has learned.
    fn teach(&mut self, id: UplinkId, out: &mut Vec<Output>) {
        out.push(Output::Notice(Notice::TeachingController { cells: self.view.prefixes().cells() }));
        // Pools and statuses are the controller's own; what is in flight each VM reports within the second.
        let learned = self.view.export();
        send_all(id, learned.into_iter().filter(|event| matches!(event.kind, Some(Kind::Prefix(_)))), out);
    }

    /// A stream has ended.
    pub(super) fn uplink_closed(&mut self, id: UplinkId, now: Timestamp, out: &mut Vec<Output>) {
        if self.uplink.open_mut(id).is_some() {
            closed(out);
            out.push(Output::Show(Gauge::UplinkConnected, 0));
            self.uplink.wait(now);
        }
        self.uplink.superseded.retain(|(_, uplink)| *uplink != id);
    }
}

/// Counts the end of a stream.
fn closed(out: &mut Vec<Output>) {
    out.push(Output::Count(Counter::UplinkClosed, 1));
}

fn send(uplink: UplinkId, up: &Up, out: &mut Vec<Output>) {
    out.push(Output::SendUplink { uplink, message: up.encode_to_vec() });
}

fn send_all(uplink: UplinkId, events: impl IntoIterator<Item = Event>, out: &mut Vec<Output>) {
    let mut messages = Snapshotter::default();
    for event in events {
        messages.push(event);
    }
    for events in messages.finish() {
        send(uplink, &Up { hello: None, events }, out);
    }
}
