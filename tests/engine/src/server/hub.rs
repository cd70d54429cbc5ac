//! The model under one lock, driven by the wall clock.

use super::{
    config::ServerConfig,
    flight::{Flight, Ticket},
    metrics::Latencies,
};
use crate::{
    api::ApiError,
    model::{Engine, Event, EventKind, Params, Request, RequestId, Stats},
};
use fnv::FnvHashMap;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::Notify, time::Instant};

/// One engine's model with its clock and its listeners.
#[derive(Debug)]
pub(super) struct Hub {
    core: Mutex<Core>,
    /// Notified when an idle engine gets work.
    work: Notify,
    started: Instant,
    /// Seconds of model time in a second.
    scale: f64,
    queued_requests_max: Option<usize>,
    pub(super) params: Params,
}

#[derive(Debug)]
struct Core {
    engine: Engine,
    in_flight: FnvHashMap<RequestId, InFlight>,
    next_id: u64,
    rejected: u64,
    latencies: Latencies,
    /// The counters when the process began: it counts from zero.
    at_start: Stats,
    rejected_at_start: u64,
    /// Seconds since 1970 when the process began.
    started_unix_s: f64,
}

#[derive(Debug)]
struct InFlight {
    flight: Arc<Flight>,
    slot: usize,
    /// Tokens between wake-ups of the reader after the first token.
    wake_every: usize,
    produced: usize,
    output_tokens: usize,
    submitted_at_s: f64,
    last_token_at_s: f64,
}

/// What the server shows of its model.
pub(super) struct Readings<'a> {
    pub(super) stats: Stats,
    pub(super) rejected: u64,
    pub(super) latencies: &'a Latencies,
    at_start: Stats,
    rejected_at_start: u64,
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
}

// === impl Hub ===

impl Hub {
    pub(super) fn new(config: &ServerConfig) -> Self {
        let (params, scale) = config.timing();
        Self {
            core: Mutex::new(Core {
                engine: Engine::new(params.clone()),
                in_flight: FnvHashMap::default(),
                next_id: 0,
                rejected: 0,
                latencies: Latencies::default(),
                at_start: Stats::default(),
                rejected_at_start: 0,
                started_unix_s: unix_now_s(),
            }),
            work: Notify::new(),
            started: Instant::now(),
            scale,
            queued_requests_max: config.queued_requests_max,
            params,
        }
    }

    /// Hands the prompts of one HTTP request to the model, all or none. The ids in `requests` are overwritten.
    /// The reader is woken at first tokens, at ends, and every `wake_every` tokens between.
    pub(super) fn submit(
        self: &Arc<Self>,
        requests: Vec<Request>,
        wake_every: usize,
    ) -> Result<Ticket, ApiError> {
        let flight = Arc::new(Flight::new(requests.len()));
        let mut ticket = Ticket {
            hub: Arc::clone(self),
            ids: Vec::with_capacity(requests.len()),
            flight: Arc::clone(&flight),
        };
        let mut core = self.lock();
        let now_s = self.now_s();
        core.advance(now_s, self.scale);
        if self.queued_requests_max.is_some_and(|max| core.engine.stats().waiting >= max) {
            core.rejected += 1;
            return Err(self.refuse(core, ticket, ApiError::Busy));
        }
        let was_idle = core.engine.next_step_at().is_none();
        for (slot, mut request) in requests.into_iter().enumerate() {
            request.id = RequestId(core.next_id);
            core.next_id += 1;
            let in_flight = InFlight {
                flight: Arc::clone(&flight),
                slot,
                wake_every: wake_every.max(1),
                produced: 0,
                output_tokens: request.output_tokens,
                submitted_at_s: now_s,
                last_token_at_s: now_s,
            };
            let id = request.id;
            if let Err(error) = core.engine.submit(now_s, request) {
                return Err(self.refuse(core, ticket, error.into()));
            }
            core.in_flight.insert(id, in_flight);
            ticket.ids.push(id);
        }
        core.advance(now_s, self.scale);
        drop(core);
        if was_idle {
            self.work.notify_one();
        }
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
        let mut core = self.lock();
        let left: Vec<_> = ids.iter().filter(|id| core.in_flight.remove(id).is_some()).collect();
        if left.is_empty() {
            return;
        }
        let now_s = self.now_s();
        for id in left {
            core.engine.abort(now_s, *id);
        }
        core.advance(now_s, self.scale);
    }

    /// Empties the cache.
    pub(super) fn forget(&self) {
        self.lock().engine.forget();
    }

    /// The process is another one: its cache is empty, its counters begin at zero.
    pub(super) fn restart(&self) {
        let mut core = self.lock();
        core.engine.forget();
        core.latencies = Latencies::default();
        core.at_start = core.engine.stats();
        core.rejected_at_start = core.rejected;
        core.started_unix_s = unix_now_s();
    }

    /// Shows the numbers of this moment to `read`.
    pub(super) fn read<T>(&self, read: impl FnOnce(Readings<'_>) -> T) -> T {
        let mut core = self.lock();
        core.advance(self.now_s(), self.scale);
        let stats = core.engine.stats();
        read(Readings {
            stats,
            rejected: core.rejected,
            latencies: &core.latencies,
            at_start: core.at_start,
            rejected_at_start: core.rejected_at_start,
            started_unix_s: core.started_unix_s,
        })
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
                Some(at_s) => tokio::time::sleep_until(self.instant_at(at_s)).await,
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
    /// Runs the model up to `now_s` and delivers its events to the flights.
    fn advance(&mut self, now_s: f64, scale: f64) {
        for event in self.engine.advance(now_s) {
            self.deliver(event, scale);
        }
    }

    fn deliver(&mut self, Event { at_s, id, kind }: Event, scale: f64) {
        let Some(request) = self.in_flight.get_mut(&id) else { return };
        match kind {
            EventKind::Admitted { cached_tokens } if request.produced == 0 => {
                request.flight.admitted(request.slot, cached_tokens);
            }
            // The server's engines have no tiers and do whole requests.
            EventKind::Admitted { .. }
            | EventKind::Loading { .. }
            | EventKind::Transferring { .. }
            | EventKind::Loaded
            | EventKind::Preempted
            | EventKind::HoldExpired => {}
            EventKind::FirstToken | EventKind::Token => {
                let since_s =
                    if request.produced == 0 { request.submitted_at_s } else { request.last_token_at_s };
                self.latencies.token(kind, (at_s - since_s) / scale);
                request.last_token_at_s = at_s;
                request.produced += 1;
                let wake = (request.produced - 1).is_multiple_of(request.wake_every)
                    || request.produced == request.output_tokens;
                request.flight.produced(request.slot, request.produced, wake);
            }
            EventKind::Finished(_) => {
                self.latencies.request((at_s - request.submitted_at_s) / scale);
                self.in_flight.remove(&id);
            }
        }
    }
}
