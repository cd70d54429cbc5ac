//! What one VM knows and has promised: the view, the ledger, its place in the log, and what waits to be told.
//!
//! Shared by all contexts of the VM: a plugin that is configured anew goes on with what its VM has learned.

use crate::host;
use crate::metrics::{Count, Level, Metrics};
use crate::outbox::Outbox;
use crate::shared::{AppendReport, ReadReport, SharedLog};
use prost::Message;
use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;
use warmpath_core::config::Config;
use warmpath_core::ids::{OriginId, ProcessId};
use warmpath_core::limits::ALIVE_INTERVAL_MS;
use warmpath_core::num::u64_len;
use warmpath_core::request::Ledger;
use warmpath_core::time::Timestamp;
use warmpath_core::view::{Applied, View};
use warmpath_core::wire::{Alive, Down, Event, Kind, Pools, Record, Source};

/// How old the last append must be for the next one not to wait, in milliseconds. Under load what waits goes with the
/// next request's booking; a VM with little to do tells at once.
const FLUSH_INTERVAL_MS: u64 = 5;
/// For how long a VM counts as busy that has booked, or has told the controller what siblings did, in milliseconds.
const BUSY_MS: u64 = 1_000;
/// Streams of a VM whose usage is read, from its first: what a pool's text and caches are like is learned from these.
const USAGE_STREAMS_FIRST: u64 = 64;
/// After those, one stream in so many is read. The usage may be in any piece, so each piece of such a stream is
/// copied into the VM, which costs three times what it costs to let it pass.
const USAGE_STREAMS_EACH: u64 = 8;
/// Events that may wait for the next append, when this one met too many conflicts.
const PENDING_EVENTS_MAX: usize = 4096;

const PROCESS_KEY: &str = "warmpath/1/process";

thread_local! {
    static VM: RefCell<Option<Rc<RefCell<Proxy>>>> = const { RefCell::new(None) };
}

/// See the module.
pub(crate) struct Proxy {
    pub(crate) view: View,
    pub(crate) ledger: Ledger,
    pub(crate) metrics: Metrics,
    log: SharedLog,
    cell_bytes: usize,
    /// Said and not yet in the log.
    pending: Vec<Event>,
    /// Said by VMs of this process and not yet sent to the controller; `None` where another VM sends.
    outbox: Outbox,
    /// When something was last appended to the log.
    flushed: Timestamp,
    alive: Timestamp,
    /// When this VM was last busy, see [`BUSY_MS`].
    busy: Timestamp,
    /// Streams so far that were to tell their usage.
    usage_streams: u64,
    random: u64,
}

// === impl Proxy ===

impl Proxy {
    /// The VM's proxy, opened at its first use; opened anew only if the cells have another size.
    pub(crate) fn of_vm(config: &Config) -> Rc<RefCell<Self>> {
        VM.with_borrow_mut(|vm| {
            if let Some(proxy) = vm.as_ref()
                && proxy.borrow().cell_bytes == config.cell_bytes
            {
                return Rc::clone(proxy);
            }
            let proxy = Rc::new(RefCell::new(Self::open(config.cell_bytes)));
            *vm = Some(Rc::clone(&proxy));
            proxy
        })
    }

    fn open(cell_bytes: usize) -> Self {
        let random = random_bits();
        Self {
            view: View::new(cell_bytes),
            ledger: Ledger::new(OriginId(random)),
            metrics: Metrics::default(),
            log: SharedLog::open(cell_bytes),
            cell_bytes,
            pending: Vec::new(),
            outbox: Outbox::default(),
            flushed: Timestamp::ZERO,
            alive: Timestamp::ZERO,
            busy: Timestamp::ZERO,
            usage_streams: 0,
            random,
        }
    }

    /// Takes over a configuration: its pools, unless a controller has named others already.
    pub(crate) fn configure(&mut self, config: &Config, now: Timestamp) {
        if config.controller_cluster.is_none() || !self.load_endpoints(now) {
            let pools: Pools = config.pools.clone();
            self.view.apply(&Kind::Pools(pools).into(), now);
        }
        // The log may hold what siblings learned of these very endpoints.
        self.read_log(now);
    }

    /// Random bits, never the same twice in a row.
    pub(crate) fn nonce(&mut self) -> u64 {
        // Xorshift64 (Marsaglia 2003): the core mixes it further.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Whether the usage of the next stream that tells it is to be read.
    pub(crate) fn takes_usage(&mut self) -> bool {
        let number = self.usage_streams;
        self.usage_streams += 1;
        number < USAGE_STREAMS_FIRST || number.is_multiple_of(USAGE_STREAMS_EACH)
    }

    /// Applies all that siblings have said since.
    pub(crate) fn read_log(&mut self, now: Timestamp) {
        if self.read_on(now).has_overrun {
            // Endpoints may have come and gone in what was lost; what is left is about those of today.
            self.load_endpoints(now);
            self.read_on(now);
        }
    }

    fn read_on(&mut self, now: Timestamp) -> ReadReport {
        let Self { view, outbox, metrics, log, .. } = self;
        let report = log.read(&mut |record| take_record(view, outbox, metrics, record, now));
        self.note_read(report);
        report
    }

    /// Applies what this VM did, and tells it when the log was last appended to a while ago; else it waits.
    pub(crate) fn say_soon(&mut self, kinds: impl IntoIterator<Item = Kind>, now: Timestamp) {
        self.say_later(kinds, now);
        if now.ms_apart(self.flushed) >= FLUSH_INTERVAL_MS {
            self.flush(now);
        }
    }

    /// Applies what this VM did, and leaves it for the next append.
    fn say_later(&mut self, kinds: impl IntoIterator<Item = Kind>, now: Timestamp) {
        for kind in kinds {
            let event = Event::from(kind);
            self.view.apply(&event, now);
            // Loads are absolute: the newer one makes the older one worthless.
            if let Some(Kind::Load(new)) = &event.kind {
                self.pending.retain(|old| {
                    !matches!(&old.kind, Some(Kind::Load(old)) if old.endpoint == new.endpoint && old.origin == new.origin)
                });
            }
            self.pending.push(event);
        }
    }

    /// Applies what this VM did, and tells it to the siblings at once, with all that waited.
    pub(crate) fn say(&mut self, kinds: impl IntoIterator<Item = Kind>, now: Timestamp) {
        self.note_busy(now);
        self.say_later(kinds, now);
        self.flush(now);
    }

    /// Appends what waits to the log.
    fn flush(&mut self, now: Timestamp) {
        if self.pending.is_empty() {
            return;
        }
        self.flushed = now;
        let events = std::mem::take(&mut self.pending);
        let Self { view, outbox, metrics, log, .. } = self;
        let report = log.append(Source::Local, &events, &mut |record| {
            take_record(view, outbox, metrics, record, now);
        });
        if report.is_done {
            for event in events {
                self.outbox.push(event, &mut self.metrics);
            }
        } else {
            self.pending = events;
            self.pending.truncate(PENDING_EVENTS_MAX);
        }
        self.note_append(report);
    }

    /// Hears what siblings said, and tells what waits.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        self.tick_slowly(now);
        self.read_log(now);
        self.flush(now);
    }

    /// Applies events of the controller and passes them on to the siblings.
    pub(crate) fn take_from_feed(&mut self, events: &[Event], now: Timestamp) {
        self.read_log(now);
        let mut has_pools = false;
        for event in events {
            has_pools |= matches!(event.kind, Some(Kind::Pools(_)));
            match self.view.apply(event, now) {
                Applied::Changed | Applied::Unknown | Applied::Unsupported => {}
                Applied::Cut => self.metrics.count(Count::Malformed),
            }
        }
        if has_pools {
            self.store_endpoints();
        }
        let Self { view, outbox, metrics, log, .. } = self;
        let report = log.append(Source::Feed, events, &mut |record| {
            take_record(view, outbox, metrics, record, now);
        });
        self.note_append(report);
    }

    /// Notes that something was booked, or told to the controller.
    pub(crate) fn note_busy(&mut self, now: Timestamp) {
        self.busy = now;
    }

    /// Whether that was lately.
    pub(crate) fn is_busy(&self, now: Timestamp) -> bool {
        now.ms_apart(self.busy) < BUSY_MS
    }

    /// Starts or stops collecting what the controller is to be told.
    pub(crate) fn set_collecting(&mut self, is_collecting: bool) {
        self.outbox.set_open(is_collecting);
    }

    /// Takes what the controller is to be told.
    pub(crate) fn take_outbox(&mut self) -> Vec<Event> {
        self.outbox.take()
    }

    /// The rounds of a second: says that promises still stand, drops those of the dead, shows sizes.
    fn tick_slowly(&mut self, now: Timestamp) {
        if now.ms_apart(self.alive) < ALIVE_INTERVAL_MS {
            return;
        }
        self.alive = now;
        if self.ledger.requests() > 0 {
            let mut kinds = vec![Kind::Alive(Alive { origin: self.ledger.origin().0 })];
            // Told again in full, so that what a sibling lost is healed within the second.
            kinds.extend(self.ledger.loads());
            self.say_later(kinds, now);
        }
        self.view.expire(now);
        // Of two VMs that name the process at the same time, one finds later that it has another name.
        self.view.set_process(ProcessId(process()));
        if self.view.pools().is_empty() && self.load_endpoints(now) {
            self.read_log(now);
        }
        self.metrics.set(Level::Endpoints, u64_len(self.view.endpoints().count()));
        self.metrics.set(Level::Cells, u64_len(self.view.prefixes().cells()));
    }

    /// Stores pools and facts where a VM that starts finds them at once: its first request cannot wait.
    pub(crate) fn store_endpoints(&self) {
        let events = self.view.export_endpoints();
        let down = Down { events, ..Down::default() };
        let _ = host::set_shared(&self.endpoints_key(), &down.encode_to_vec(), None);
    }

    /// Takes over what [`Self::store_endpoints`] has stored. `false`: no controller has named a pool yet.
    fn load_endpoints(&mut self, now: Timestamp) -> bool {
        let stored = host::shared(&self.endpoints_key());
        if stored.value.is_empty() {
            return false;
        }
        // Not a message of the stream, so not within its bound: a large fleet has more facts than fit in one.
        let Ok(down) = Down::decode(stored.value.as_slice()) else {
            self.metrics.count(Count::Malformed);
            return false;
        };
        for event in &down.events {
            self.view.apply(event, now);
        }
        !self.view.pools().is_empty()
    }

    fn endpoints_key(&self) -> String {
        format!("warmpath/1/{}/endpoints", self.cell_bytes)
    }

    fn note_read(&mut self, report: ReadReport) {
        if report.has_overrun {
            self.metrics.count(Count::LogOverrun);
        }
        if report.is_malformed {
            self.metrics.count(Count::Malformed);
        }
    }

    fn note_append(&mut self, report: AppendReport) {
        if report.conflicts > 0 {
            self.metrics.add(Count::LogConflict, u64::from(report.conflicts));
        }
        self.note_read(report.read);
    }
}

fn take_record(view: &mut View, outbox: &mut Outbox, metrics: &mut Metrics, record: Record, now: Timestamp) {
    view.apply(&record.event, now);
    if record.source == Source::Local {
        outbox.push(record.event, metrics);
    }
}

/// The name of this process, the same in all its VMs.
pub(crate) fn process() -> u64 {
    let stored = host::shared(PROCESS_KEY);
    let name = stored.value.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    if name != 0 {
        return name;
    }
    let name = random_bits();
    let _ = host::set_shared(PROCESS_KEY, &name.to_be_bytes(), stored.mark);
    name
}

/// Random bits of the host, through the standard library's hasher keys.
pub(crate) fn random_bits() -> u64 {
    RandomState::new().build_hasher().finish() | 1
}
