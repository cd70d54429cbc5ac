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
//! plugin's next input. What is read from the stream is in `down`, what is written to it in `up`.

mod down;
mod up;

use crate::config::ControllerConfig;
use crate::ids::{Generation, InstanceId};
use crate::router::io::{Output, PluginId, UplinkId};
use crate::router::lease::{Lease, StoredLease, Verdict};
use crate::router::metrics::{Counter, Gauge};
use crate::router::pace::Link;
use crate::router::shared::SharedMap;
use crate::router::{LEASE_KEY, Router};
use crate::time::Timestamp;
use crate::wire::{PrefixDecoder, Source};

/// Longest wait before the stream is opened again, in milliseconds; doubles up to the maximum.
const RETRY_MS_MIN: u64 = 50;
/// See [`RETRY_MS_MIN`].
const RETRY_MS_MAX: u64 = 2_000;
/// How long a VM keeps the lease without a stream that brings messages, in milliseconds. Its cluster may be gone, or its
/// plugin drained; another VM may do better.
const WITHOUT_STREAM_MS_MAX: u64 = 3_000;
/// How often the stored endpoints are brought up to date for VMs that start, in milliseconds.
const STORE_MS: u64 = 1_000;

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
    /// Since when the lease has been held without a message of the controller, while no stream is open.
    without_stream_since: Option<Timestamp>,
    /// Whether the VM that held the lease before may have had events that the controller never received.
    has_lost_events: bool,
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
            without_stream_since: None,
            has_lost_events: false,
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

    /// The stream is gone, or was not to be had: the next attempt comes later each time, and not at the same time in all
    /// proxies that have lost the same controller.
    fn wait(&mut self, now: Timestamp, random: u64) {
        let jitter_ms = random % (self.retry_ms / 2);
        self.state = State::Waiting { since: now, wait_ms: self.retry_ms - jitter_ms };
        self.retry_ms = (self.retry_ms * 2).min(RETRY_MS_MAX);
        self.without_stream_since.get_or_insert(now);
    }

    /// Whether another VM may do better with the lease.
    fn is_useless(&self, now: Timestamp) -> bool {
        matches!(self.state, State::Waiting { .. })
            && self.without_stream_since.is_some_and(|since| now.ms_since(since) >= WITHOUT_STREAM_MS_MAX)
    }
}

// === impl Router ===

impl<S: SharedMap> Router<S> {
    /// Gives the uplink to the newest plugin that names a controller.
    pub(super) fn assign_uplink(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let newest = self.plugins.iter().rev().find(|plugin| plugin.config.controller.is_some());
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
        if let Some(plugin) = self.uplink.plugin {
            self.cancel_superseded(plugin, out);
        }
        if self.uplink.is_useless(now) {
            let random = self.random();
            self.release_lease();
            self.uplink.lease.stand_back(now, random);
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

    /// Looks at the lease if it has lapsed, in any plugin's context. A VM that was stopped may have messages, and records for the log, that
    /// are older than what the next holder has appended since: behind that, they would count as the newest.
    pub(super) fn confirm_lease(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if self.uplink.lease.has_lapsed(now) {
            self.check_lease(now, out);
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
            self.uplink.has_lost_events = self.uplink.followed.is_some();
            self.uplink.without_stream_since = Some(now);
            self.uplink.state = State::Waiting { since: now, wait_ms: 0 };
        } else if let (State::Open(open), Some(plugin)) = (self.leave_uplink(), self.uplink.plugin) {
            self.uplink.superseded.push((plugin, open.id));
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
        self.pending.retain(|record| record.source != Source::Controller);
        self.uplink.pending_follow = None;
        self.uplink.without_stream_since = None;
        std::mem::replace(&mut self.uplink.state, State::NoLease)
    }

    fn open_uplink(&mut self, out: &mut Vec<Output>) {
        let plugin = self.uplink.plugin.and_then(|id| self.plugins.iter().find(|plugin| plugin.id == id));
        let Some(controller) = plugin.and_then(|plugin| plugin.config.controller.as_ref()) else {
            return;
        };
        let ControllerConfig { cluster, token } = controller.clone();
        out.push(Output::OpenUplink { cluster, token });
        self.uplink.state = State::Opening;
    }

    /// Has the controller send all that it knows, if this VM is the one that it sends to: the stream begins anew.
    pub(super) fn request_snapshot(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let State::Open(open) = &self.uplink.state else { return };
        let id = open.id;
        self.uplink.followed = None;
        self.uplink.pending_follow = None;
        out.push(Output::CancelUplink { uplink: id });
        self.uplink_closed(id, now, out);
    }

    /// What became of [`Output::OpenUplink`].
    pub(super) fn uplink_opened(&mut self, uplink: Option<UplinkId>, now: Timestamp, out: &mut Vec<Output>) {
        if !matches!(self.uplink.state, State::Opening) {
            out.extend(uplink.map(|uplink| Output::CancelUplink { uplink }));
            return;
        }
        let Some(id) = uplink else {
            let random = self.random();
            self.uplink.wait(now, random);
            return;
        };
        out.push(Output::Count(Counter::UplinkOpened, 1));
        out.push(Output::Show(Gauge::UplinkConnected, 1));
        self.uplink.state =
            State::Open(Open { id, prefixes: PrefixDecoder::default(), snapshot_is_new: None });
        self.introduce(id, now, out);
        self.send_pending(now, out);
    }

    /// A stream has ended.
    pub(super) fn uplink_closed(&mut self, id: UplinkId, now: Timestamp, out: &mut Vec<Output>) {
        if self.uplink.open_mut(id).is_some() {
            closed(out);
            out.push(Output::Show(Gauge::UplinkConnected, 0));
            let random = self.random();
            self.uplink.wait(now, random);
        }
        self.uplink.superseded.retain(|(_, uplink)| *uplink != id);
    }
}

/// Counts the end of a stream.
fn closed(out: &mut Vec<Output>) {
    out.push(Output::Count(Counter::UplinkClosed, 1));
}
