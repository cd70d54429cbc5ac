//! The feed: the gRPC stream to the controller, held by the one VM of this process that has the lease.
//!
//! ```text
//!   no lease ──acquired──► closed ──open──► open ──(close)──► closed, later each time
//!      ▲                                      │
//!      └────────── lost, or let go ───────────┘
//! ```
//!
//! The lease is a value in shared data with an owner and an end. Its owner renews it; when its VM traps or
//! its plugin is replaced, the first VM to tick after the end takes over. A stream in every VM would
//! multiply the controller's work by the number of workers.

use crate::host;
use crate::metrics::{Count, Level};
use crate::proxy::{Proxy, process, random_bits};
use log::{info, warn};
use prost::Message;
use warmpath_core::num::u64_len;
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{
    Event, Hello, Kind, Phase, STREAM_METHOD, STREAM_SERVICE, Snapshotter, Up, decode_down,
};

/// How long a lease holds without being renewed, in milliseconds: the longest gap in the feed when its
/// holder dies.
const LEASE_MS: u64 = 1_000;
/// How often it is renewed, and looked at by those who do not have it at the longest, in milliseconds. These look after
/// a time between half of it and all of it, by chance: VMs are configured at once, and where all look at the same
/// moment, nobody does for the whole time between.
const LEASE_CHECK_MS: u64 = 250;
/// Wait before the stream is opened again, in milliseconds; doubles up to the maximum.
const RETRY_MS_MIN: u64 = 50;
/// See [`RETRY_MS_MIN`].
const RETRY_MS_MAX: u64 = 2_000;
/// How often the stored endpoints are brought up to date for VMs that start, in milliseconds.
const STORE_MS: u64 = 1_000;

const LEASE_KEY: &str = "warmpath/1/lease";
const RESUME_KEY: &str = "warmpath/1/resume";

/// One plugin's part in the feed.
pub(crate) struct Feed {
    cluster: String,
    owner: u64,
    has_lease: bool,
    checked: Timestamp,
    check_after_ms: u64,
    stored: Timestamp,
    stream: Option<u32>,
    retry_at: Timestamp,
    retry_ms: u64,
    /// The controller instance that the stream follows, and the generation reached.
    followed: Option<(u64, u64)>,
    /// A snapshot of another instance than last time is under way: it knows nothing of what we learned.
    is_new_instance: bool,
}

// === impl Feed ===

impl Feed {
    /// A feed from the controller behind `cluster`.
    pub(crate) fn new(cluster: String) -> Self {
        Self {
            cluster,
            owner: random_bits(),
            has_lease: false,
            checked: Timestamp::ZERO,
            check_after_ms: LEASE_CHECK_MS,
            stored: Timestamp::ZERO,
            stream: None,
            retry_at: Timestamp::ZERO,
            retry_ms: RETRY_MS_MIN,
            followed: None,
            is_new_instance: false,
        }
    }

    /// Looks after the lease and the stream, and sends what has gathered.
    pub(crate) fn tick(&mut self, proxy: &mut Proxy, now: Timestamp) {
        if now.ms_apart(self.checked) >= self.check_after_ms {
            self.checked = now;
            self.check_lease(proxy, now);
            let sooner_ms = if self.has_lease { 0 } else { proxy.nonce() % (LEASE_CHECK_MS / 2) };
            self.check_after_ms = LEASE_CHECK_MS - sooner_ms;
        }
        if !self.has_lease {
            return;
        }
        // A wait longer than any is one that began before the clock was set back.
        let may_open = now >= self.retry_at || self.retry_at.ms_since(now) > RETRY_MS_MAX;
        if self.stream.is_none() && may_open {
            self.open(proxy, now);
        }
        self.send(proxy, now);
        // Not before the controller has spoken: what the view has until then is the configuration's.
        if self.stream.is_some() && self.followed.is_some() && now.ms_apart(self.stored) >= STORE_MS {
            self.stored = now;
            proxy.store_endpoints();
        }
    }

    /// Whether this VM is the one that talks to the controller.
    pub(crate) fn has_lease(&self) -> bool {
        self.has_lease
    }

    /// Whether there is no stream, so that one is to be opened.
    pub(crate) fn is_closed(&self) -> bool {
        self.stream.is_none()
    }

    /// Takes a message of the stream.
    pub(crate) fn message(&mut self, proxy: &mut Proxy, stream: u32, bytes: &[u8], now: Timestamp) {
        if self.stream != Some(stream) {
            return;
        }
        let down = match decode_down(bytes) {
            Ok(down) => down,
            Err(error) => {
                warn!("controller: {error}; closing the stream");
                proxy.metrics.count(Count::Malformed);
                host::cancel_stream(stream);
                self.closed(proxy, now);
                return;
            }
        };
        self.retry_ms = RETRY_MS_MIN;
        if down.phase() == Phase::Begin {
            self.is_new_instance = self.followed.is_none_or(|(instance, _)| instance != down.instance);
            self.followed = None;
        }
        proxy.take_from_feed(&down.events, now);
        match down.phase() {
            Phase::Begin | Phase::Item => {}
            // Not before the siblings have the events: who takes over goes on behind this generation.
            Phase::Delta | Phase::Resumed | Phase::Done => self.follow(down.instance, down.generation),
        }
        if down.phase() == Phase::Done {
            proxy.metrics.count(Count::FeedSnapshot);
            proxy.store_endpoints();
            if std::mem::take(&mut self.is_new_instance) {
                self.send_learned(proxy, now);
            }
        }
    }

    /// Notes that the stream ended.
    pub(crate) fn ended(&mut self, proxy: &mut Proxy, stream: u32, now: Timestamp) {
        if self.stream == Some(stream) {
            self.closed(proxy, now);
        }
    }

    /// Lets go of the lease and the stream, so that another VM need not wait for the lease's end.
    pub(crate) fn release(&mut self, proxy: &mut Proxy) {
        if let Some(stream) = self.stream.take() {
            host::cancel_stream(stream);
            proxy.metrics.set(Level::FeedConnected, 0);
        }
        if std::mem::take(&mut self.has_lease) {
            proxy.set_collecting(false);
            let _ = host::set_shared(LEASE_KEY, &lease(self.owner, 0), host::shared(LEASE_KEY).mark);
        }
    }

    fn check_lease(&mut self, proxy: &mut Proxy, now: Timestamp) {
        let stored = host::shared(LEASE_KEY);
        let (owner, end_ms) = pair(&stored.value);
        // An end further off than any is one from before the clock was set back.
        let is_free = stored.mark.is_none() || now.ms() >= end_ms || end_ms - now.ms() > LEASE_MS;
        let had_lease = self.has_lease;
        // A first store cannot be conditional: it counts only once it was read back.
        self.has_lease = (owner == self.owner || is_free)
            && host::set_shared(LEASE_KEY, &lease(self.owner, now.ms() + LEASE_MS), stored.mark).is_ok()
            && stored.mark.is_some();
        if self.has_lease != had_lease {
            proxy.set_collecting(self.has_lease);
            if self.has_lease {
                let resume = pair(&host::shared(RESUME_KEY).value);
                self.followed = (resume.0 != 0).then_some(resume);
            } else if let Some(stream) = self.stream.take() {
                host::cancel_stream(stream);
            }
        }
    }

    fn open(&mut self, proxy: &mut Proxy, now: Timestamp) {
        let Some(stream) = host::open_stream(&self.cluster, STREAM_SERVICE, STREAM_METHOD) else {
            self.later(now);
            return;
        };
        proxy.metrics.count(Count::FeedOpened);
        self.stream = Some(stream);
        let (instance, generation) = self.followed.unwrap_or_default();
        let hello = Hello {
            process: process(),
            node: host::text_property(vec!["xds", "node", "id"]).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance,
            generation,
        };
        let up =
            Up { hello: Some(hello), events: proxy.ledger.loads().into_iter().map(Event::from).collect() };
        if host::send_on_stream(stream, &up.encode_to_vec()) {
            proxy.metrics.set(Level::FeedConnected, 1);
        } else {
            self.closed(proxy, now);
        }
    }

    fn send(&mut self, proxy: &mut Proxy, now: Timestamp) {
        let Some(stream) = self.stream else { return };
        let mut messages = Snapshotter::default();
        let events = proxy.take_outbox();
        // With a round of the second comes little else that is new.
        let is_round = events.iter().any(|event| matches!(event.kind, Some(Kind::Alive(_))));
        if !events.is_empty() && !is_round {
            proxy.note_busy(now);
        }
        for event in events {
            messages.push(event);
        }
        for events in messages.finish() {
            if !host::send_on_stream(stream, &Up { hello: None, events }.encode_to_vec()) {
                self.closed(proxy, now);
                return;
            }
        }
    }

    /// Tells a controller that has just started what this process has learned.
    fn send_learned(&mut self, proxy: &mut Proxy, now: Timestamp) {
        let Some(stream) = self.stream else { return };
        let mut messages = Snapshotter::default();
        let learned = proxy.view.export();
        let cells = proxy.view.prefixes().cells();
        for event in learned {
            // Pools and facts are the controller's own; loads each VM tells again within the second.
            if matches!(event.kind, Some(Kind::Prefix(_))) {
                messages.push(event);
            }
        }
        info!("controller is new: sending it {} learned cells", u64_len(cells));
        for events in messages.finish() {
            if !host::send_on_stream(stream, &Up { hello: None, events }.encode_to_vec()) {
                self.closed(proxy, now);
                return;
            }
        }
    }

    fn follow(&mut self, instance: u64, generation: u64) {
        self.followed = Some((instance, generation));
        // Stored for the VM that takes over.
        let _ = host::set_shared(RESUME_KEY, &lease(instance, generation), None);
    }

    fn closed(&mut self, proxy: &mut Proxy, now: Timestamp) {
        self.stream = None;
        proxy.metrics.count(Count::FeedClosed);
        proxy.metrics.set(Level::FeedConnected, 0);
        self.later(now);
    }

    fn later(&mut self, now: Timestamp) {
        self.retry_at = now.plus_ms(self.retry_ms);
        self.retry_ms = (self.retry_ms * 2).min(RETRY_MS_MAX);
    }
}

/// Two numbers as one value.
fn lease(first: u64, second: u64) -> [u8; 16] {
    (u128::from(first) << 64 | u128::from(second)).to_be_bytes()
}

/// The two numbers of such a value; zeros when there is none.
fn pair(value: &[u8]) -> (u64, u64) {
    let (first, second) = value.split_at_checked(8).unwrap_or_default();
    let number = |bytes: &[u8]| bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    (number(first), number(second))
}
