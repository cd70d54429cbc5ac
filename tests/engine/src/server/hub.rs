//! The model under one lock, driven by the wall clock.

use super::{
    config::ServerConfig,
    events::{Content, Contents, Publishing},
    flight::{Flight, Ticket},
    legs::{KeptPrompts, Legs},
    metrics::Latencies,
    sources::PromptSources,
};
use crate::{
    api::ApiError,
    model::{Engine, Event, EventKind, Params, Request, RequestId, Stats},
};
use fnv::FnvHashMap;
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

/// One engine's model with its clock and its listeners.
#[derive(Debug)]
pub(super) struct Hub {
    core: Mutex<Core>,
    /// Notified when there is something to do before the driver wakes by itself.
    work: Notify,
    started: Instant,
    /// Seconds of model time in a second.
    scale: f64,
    queued_requests_max: Option<usize>,
    pub(super) params: Params,
    /// Wakes those who wait for the other leg of a request.
    pub(super) met: Notify,
    /// How often the process was replaced. Later than its death, which requests outlive by a moment.
    pub(super) restarts: AtomicU64,
}

/// What the lock protects.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) engine: Engine,
    pub(super) kept: KeptPrompts,
    pub(super) legs: Legs,
    sources: PromptSources,
    in_flight: FnvHashMap<RequestId, InFlight>,
    next_id: u64,
    rejected: u64,
    latencies: Latencies,
    /// Where KV events go.
    reports: Option<Reports>,
    /// The counters when the process began: it counts from zero.
    at_start: Stats,
    rejected_at_start: u64,
    legs_at_start: Legs,
    /// Why the last fetch failed.
    pub(super) fetch_error: Option<String>,
    /// Seconds since 1970 when the process began.
    started_unix_s: f64,
}

/// Who publishes the cache's changes, and what the blocks in them hold.
#[derive(Debug)]
struct Reports {
    contents: Contents,
    publisher: mpsc::UnboundedSender<Publishing>,
}

#[derive(Debug)]
struct InFlight {
    flight: Arc<Flight>,
    slot: usize,
    /// Tokens between wake-ups of the reader after the first token.
    wake_every: usize,
    produced: usize,
    output_tokens: usize,
    prompt: PromptSources,
    transfer_at_s: f64,
    submitted_at_s: f64,
    first_token_at_s: f64,
    last_token_at_s: f64,
}

/// What the server shows of its model.
pub(super) struct Readings<'a> {
    pub(super) stats: Stats,
    pub(super) rejected: u64,
    pub(super) latencies: &'a Latencies,
    pub(super) sources: PromptSources,
    pub(super) legs: Legs,
    pub(super) fetch_error: &'a Option<String>,
    at_start: Stats,
    rejected_at_start: u64,
    legs_at_start: Legs,
    pub(super) started_unix_s: f64,
}

// === impl Readings ===

impl Readings<'_> {
    /// The numbers as the process has counted them, which began later than the server if there was a restart.
    pub(super) fn of_process(&self) -> (Stats, u64) {
        let (now, then) = (self.stats, self.at_start);
        let stats = Stats {
            prefix_cache_queries: now.prefix_cache_queries - then.prefix_cache_queries,
            prefix_cache_hits: now.prefix_cache_hits - then.prefix_cache_hits,
            preemptions: now.preemptions - then.preemptions,
            prompt_tokens: now.prompt_tokens - then.prompt_tokens,
            generation_tokens: now.generation_tokens - then.generation_tokens,
            finished: now.finished - then.finished,
            aborted: now.aborted - then.aborted,
            ..now
        };
        (stats, self.rejected - self.rejected_at_start)
    }

    /// The counts of legs as the process has counted them, of those that its page shows.
    pub(super) fn legs_of_process(&self) -> Legs {
        let (now, then) = (self.legs, self.legs_at_start);
        Legs {
            fetches_failed: now.fetches_failed - then.fetches_failed,
            prompts_expired: now.prompts_expired - then.prompts_expired,
            fetches_unexpected: now.fetches_unexpected - then.fetches_unexpected,
            ..now
        }
    }
}

// === impl Hub ===

impl Hub {
    /// With a publisher, the cache's changes go there.
    pub(super) fn new(config: &ServerConfig, publisher: Option<mpsc::UnboundedSender<Publishing>>) -> Self {
        let (params, scale) = config.timing();
        let mut engine = Engine::new(params.clone());
        let reports = publisher.map(|publisher| {
            engine.record_changes();
            Reports { contents: Contents::new(params.tiers.iter().map(|tier| tier.tier)), publisher }
        });
        Self {
            core: Mutex::new(Core {
                engine,
                reports,
                kept: KeptPrompts::default(),
                legs: Legs::default(),
                sources: PromptSources::default(),
                in_flight: FnvHashMap::default(),
                next_id: 0,
                rejected: 0,
                latencies: Latencies::default(),
                at_start: Stats::default(),
                rejected_at_start: 0,
                legs_at_start: Legs::default(),
                fetch_error: None,
                started_unix_s: unix_now_s(),
            }),
            work: Notify::new(),
            started: Instant::now(),
            scale,
            queued_requests_max: config.queued_requests_max,
            params,
            met: Notify::new(),
            restarts: AtomicU64::new(0),
        }
    }

    /// Hands the prompts of one HTTP request to the model, all or none. The ids in `requests` are overwritten.
    /// The reader is woken at first tokens, at ends, and every `wake_every` tokens between. `contents` are those of the
    /// requests, or none.
    pub(super) fn submit(
        self: &Arc<Self>,
        requests: Vec<Request>,
        contents: &[Arc<Content>],
        wake_every: usize,
    ) -> Result<Ticket, ApiError> {
        let flight = Arc::new(Flight::new(requests.len()));
        let mut ticket = Ticket {
            hub: Arc::clone(self),
            ids: Vec::with_capacity(requests.len()),
            flight: Arc::clone(&flight),
            cached_elsewhere: Vec::new(),
        };
        let mut core = self.lock();
        let now_s = self.now_s();
        core.advance(now_s, self.scale);
        if self.queued_requests_max.is_some_and(|max| core.engine.stats().waiting >= max) {
            core.rejected += 1;
            return Err(self.refuse(core, ticket, ApiError::Busy));
        }
        let due_s = core.due_s();
        for (slot, mut request) in requests.into_iter().enumerate() {
            request.id = RequestId(core.next_id);
            core.next_id += 1;
            let in_flight = InFlight {
                flight: Arc::clone(&flight),
                slot,
                wake_every: wake_every.max(1),
                produced: 0,
                output_tokens: request.output_tokens,
                prompt: PromptSources::of_prompt(request.prompt_tokens),
                transfer_at_s: now_s,
                submitted_at_s: now_s,
                first_token_at_s: now_s,
                last_token_at_s: now_s,
            };
            let id = request.id;
            if let Err(error) = core.engine.submit(now_s, request) {
                return Err(self.refuse(core, ticket, error.into()));
            }
            core.in_flight.insert(id, in_flight);
            if let (Some(reports), Some(content)) = (&mut core.reports, contents.get(slot)) {
                reports.contents.enter(id, Arc::clone(content));
            }
            ticket.ids.push(id);
        }
        core.advance(now_s, self.scale);
        self.wake_driver(&core, due_s);
        Ok(ticket)
    }

    /// Unlocks before the ticket goes, which locks again to take back what was submitted of it.
    #[expect(clippy::unused_self, reason = "keeps the order of the two drops in one place")]
    fn refuse(&self, core: MutexGuard<'_, Core>, ticket: Ticket, error: ApiError) -> ApiError {
        drop(core);
        drop(ticket);
        error
    }

    /// Takes requests back from the model; finished ones are gone already.
    pub(super) fn take_back(&self, ids: &[RequestId]) {
        self.with(|Core { engine, in_flight, reports, .. }, now_s| {
            for id in ids.iter().filter(|id| in_flight.remove(id).is_some()) {
                engine.abort(now_s, *id);
                if let Some(reports) = reports {
                    reports.contents.leave(*id);
                }
            }
        });
    }

    /// The driver may sleep until later than what is due now.
    fn wake_driver(&self, core: &Core, slept_until_s: f64) {
        if core.due_s() < slept_until_s {
            self.work.notify_one();
        }
    }

    /// Empties the cache.
    pub(super) fn forget(&self) {
        self.lock().engine.forget();
    }

    /// Empties the cache unless a request uses a block of it; whether it did.
    pub(super) fn reset(&self) -> bool {
        self.with(|core, _| {
            let is_unused = core.engine.stats().blocks_in_use == 0;
            if is_unused {
                core.engine.forget();
            }
            is_unused
        })
    }

    /// The process is another one: its cache is empty, nothing is kept, its counters begin at zero.
    pub(super) fn restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
        self.with(|core, now_s| {
            core.engine.forget();
            core.engine.drop_held(now_s);
            core.engine.discard_changes();
            if let Some(reports) = &core.reports {
                // It ends with the engine.
                let _ = reports.publisher.send(Publishing::Restarted);
            }
            core.kept = KeptPrompts::default();
            core.sources = PromptSources::default();
            core.latencies = Latencies::default();
            core.at_start = core.engine.stats();
            core.rejected_at_start = core.rejected;
            core.legs_at_start = core.legs;
            core.started_unix_s = unix_now_s();
        });
    }

    /// Shows the numbers of this moment to `read`.
    pub(super) fn read<T>(&self, read: impl FnOnce(Readings<'_>) -> T) -> T {
        let mut core = self.lock();
        core.advance(self.now_s(), self.scale);
        let stats = core.engine.stats();
        let legs = Legs { prompts_held: stats.held, prompts_awaited: core.kept.awaited(), ..core.legs };
        read(Readings {
            stats,
            legs,
            sources: core.sources,
            rejected: core.rejected,
            latencies: &core.latencies,
            at_start: core.at_start,
            rejected_at_start: core.rejected_at_start,
            legs_at_start: core.legs_at_start,
            fetch_error: &core.fetch_error,
            started_unix_s: core.started_unix_s,
        })
    }

    /// Does something with the model of this moment; `now_s` is its clock.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Core, f64) -> T) -> T {
        let mut core = self.lock();
        let now_s = self.now_s();
        core.advance(now_s, self.scale);
        let due_s = core.due_s();
        let result = act(&mut core, now_s);
        core.advance(now_s, self.scale);
        self.wake_driver(&core, due_s);
        result
    }

    /// Counts something that legs do.
    pub(super) fn count_leg(&self, count: impl FnOnce(&mut Legs) -> &mut u64) {
        *count(&mut self.lock().legs) += 1;
    }

    /// Seconds of the wall that a kept prompt waits for the engine that fetches it.
    pub(super) fn lease(&self) -> Duration {
        Duration::from_secs_f64(self.params.held_s_max / self.scale)
    }

    /// Runs the model for ever: sleeps until the next step ends, then hands out its events.
    pub(super) async fn drive(&self) {
        loop {
            let next_s = {
                let mut core = self.lock();
                core.advance(self.now_s(), self.scale);
                core.engine.next_step_at()
            };
            match next_s {
                Some(at_s) => tokio::select! {
                    () = tokio::time::sleep_until(self.instant_at(at_s)) => {}
                    () = self.work.notified() => {}
                },
                None => self.work.notified().await,
            }
        }
    }

    fn now_s(&self) -> f64 {
        self.started.elapsed().as_secs_f64() * self.scale
    }

    fn instant_at(&self, at_s: f64) -> Instant {
        self.started + Duration::from_secs_f64(at_s / self.scale)
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unix_now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

// === impl Core ===

impl Core {
    /// When the model has something to do next; infinite while it is idle.
    fn due_s(&self) -> f64 {
        self.engine.next_step_at().unwrap_or(f64::INFINITY)
    }

    /// Runs the model up to `now_s` and delivers its events to the flights.
    fn advance(&mut self, now_s: f64, scale: f64) {
        let events = self.engine.advance(now_s);
        self.report();
        for event in events {
            self.deliver(event, scale);
        }
    }

    /// Publishes what changed in the cache.
    fn report(&mut self) {
        let Some(reports) = &mut self.reports else { return };
        for events in reports.contents.events(self.engine.take_changes()) {
            let _ = reports.publisher.send(Publishing::Batch(events));
        }
    }

    fn deliver(&mut self, Event { at_s, id, kind }: Event, scale: f64) {
        if kind == EventKind::HoldExpired {
            self.kept.expired(id);
            self.legs.prompts_expired += 1;
        }
        let Some(request) = self.in_flight.get_mut(&id) else { return };
        match kind {
            EventKind::Admitted { cached_tokens } if request.produced == 0 => {
                request.prompt.found(cached_tokens);
                request.flight.admitted(request.slot, cached_tokens);
            }
            EventKind::Transferring { tokens } => {
                request.prompt.transferred(tokens);
                request.transfer_at_s = at_s;
            }
            EventKind::Loaded => {
                let bytes = request.prompt.transferred as f64 * self.engine.params().kv_token_bytes;
                self.latencies.transfer((at_s - request.transfer_at_s) / scale, bytes);
                request.flight.arrived(request.slot);
            }
            // The server's engines have no tiers.
            EventKind::Admitted { .. }
            | EventKind::Loading { .. }
            | EventKind::Preempted
            | EventKind::HoldExpired => {}
            EventKind::FirstToken | EventKind::Token => {
                let since_s =
                    if request.produced == 0 { request.submitted_at_s } else { request.last_token_at_s };
                self.latencies.token(kind, (at_s - since_s) / scale);
                if request.produced == 0 {
                    self.sources.add(request.prompt);
                    request.first_token_at_s = at_s;
                }
                request.last_token_at_s = at_s;
                request.produced += 1;
                let wake = (request.produced - 1).is_multiple_of(request.wake_every)
                    || request.produced == request.output_tokens;
                request.flight.produced(request.slot, request.produced, wake);
            }
            EventKind::Finished(_) => {
                let generated_s = (request.last_token_at_s - request.first_token_at_s) / scale;
                self.latencies.response(generated_s, request.produced);
                self.latencies.request((at_s - request.submitted_at_s) / scale);
                self.in_flight.remove(&id);
                if let Some(reports) = &mut self.reports {
                    reports.contents.leave(id);
                }
            }
        }
    }
}
