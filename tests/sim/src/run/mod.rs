//! One run: a workload, a fleet and a rule, from the first request to the last token.
//!
//! ```text
//!  agenda: arrival ─► rule.route ─► engine.submit; held: later, by rule.released; refused: it comes again
//!          join    ─► rule.joined
//!          step    ─► engine.advance ─► first token, end ─► rule; next turn of the session
//!          scrape  ─► rule.scraped
//!          wake    ─► rule.wake
//! ```

mod changes;
mod sessions;
mod split;

use crate::bound::EndlessCache;
use crate::fleet::Fleet;
use crate::measure::{Record, Samples};
use crate::mixture::chance;
use crate::rules::{Route, Rule};
use crate::workload::{Job, Workload};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;
use warmpath_engine::model::{Event, EventKind, Leg, Params, RequestId, Stats, SubmitError};

/// How often the engines' metrics are read, in seconds: the default of the shipped controller.
pub const SCRAPE_S_DEFAULT: f64 = 0.2;

/// How long an engine that fails takes for it, in seconds.
const FAILING_S: f64 = 0.003;

/// What a run needs beside the workload and the rule.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The engines: first those that are there from the beginning, then those that join, in the order in which they
    /// do, and at the end those that only decode.
    pub engines: Vec<Params>,
    /// When each of those is started, in seconds. It joins [`Params::startup_s`] later; until then no rule knows it.
    pub starts_s: Vec<f64>,
    /// How many only decode what the others prefill, and take whole requests; 0: each engine does both.
    pub decoders: usize,
    /// Whether engines fetch what others have prefilled.
    pub has_transfer: bool,
    /// How often each engine's metrics are read, in seconds.
    pub scrape_s: f64,
    /// Whether the first engine responds 500 to every request at once.
    pub is_first_failing: bool,
    /// How late the metrics that were read arrive, in seconds.
    pub scrape_late_s: f64,
    /// Share of the times that metrics are asked for and do not come.
    pub failed_scrapes: f64,
    /// Whether every engine holds whatever was sent to any of them: the bound, see [`crate::bound`].
    pub is_endless: bool,
}

/// What happened.
#[derive(Clone, Debug)]
pub struct Played {
    /// Every request that ended, in the order in which they came.
    pub records: Vec<Record>,
    /// Requests that no engine took or that did not end.
    pub lost: usize,
    /// Where the workload is cut off: those that were under way or waited then.
    pub open: Vec<Record>,
    /// When it was cut off, or the last answer ended.
    pub end_s: f64,
    /// Those among them whose prompt and answer are more than the engine's cache holds.
    pub too_long: usize,
    /// The engines' loads over time.
    pub samples: Samples,
    /// Requests that lost their blocks and were computed again.
    pub preemptions: u64,
}

/// What happens next, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// An engine joins.
    Join { engine: usize },
    /// A turn of a session is sent.
    Arrival { session: usize, turn: usize },
    /// A request that was refused comes again.
    Retry { number: usize },
    /// All engines' metrics are read, one after the other over the interval.
    Scrape { engine: usize },
    /// The metrics that were read first, of those that are late, arrive.
    LateScrape,
    /// An engine that fails responds.
    Failed { number: usize },
    /// The rule wants to do something.
    Wake,
    /// A step of an engine begins or ends. Last, so that requests of the same moment share it.
    Step { engine: usize },
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
struct Flight {
    session: usize,
    turn: usize,
    engine: usize,
    new_tokens: usize,
    /// Where prefill and decode are apart.
    split: Option<split::Progress>,
}

/// See the module.
struct Run<'a> {
    workload: &'a Workload,
    spec: &'a Spec,
    rule: &'a mut dyn Rule,
    fleet: Fleet,
    agenda: BinaryHeap<Reverse<(u64, Due)>>,
    /// The step for which each engine is on the agenda.
    steps: Vec<Option<f64>>,
    wake_s: Option<f64>,
    flights: Vec<Flight>,
    /// Places of the sessions that begin next, by group.
    next: Vec<usize>,
    /// Who plays each session: in a closed loop, the same one after the other.
    agents: Vec<Option<usize>>,
    agents_count: usize,
    /// Metrics that were read and have not arrived, in order.
    late_scrapes: VecDeque<(usize, Stats)>,
    scrapes: u64,
    records: Vec<Record>,
    bound: EndlessCache,
    samples: Samples,
    /// When the workload's second 0 is.
    origin_s: f64,
    under_way: usize,
    too_long: usize,
    preemptions: u64,
}

/// Plays a workload to its end, on cold engines.
pub fn play(spec: &Spec, workload: &Workload, rule: &mut dyn Rule) -> Played {
    play_stages(spec, [workload], 0.0, rule).pop().expect("one stage was played")
}

/// Plays workloads one after the other on the same engines: each begins `pause_s` after the last answer to the
/// one before.
pub fn play_stages<'a>(
    spec: &'a Spec,
    stages: impl IntoIterator<Item = &'a Workload>,
    pause_s: f64,
    rule: &'a mut dyn Rule,
) -> Vec<Played> {
    let nothing = &Workload::default();
    let mut run = Run::new(spec, nothing, rule);
    let mut played = Vec::new();
    let mut now_s = 0.0;
    for (number, stage) in stages.into_iter().enumerate() {
        now_s = run.stage(if number == 0 { now_s } else { now_s + pause_s }, stage);
        played.push(run.take_stage(now_s));
    }
    played
}

// === impl Spec ===

impl Spec {
    /// Engines that are there from the beginning, each with its own cache, looked at as often as by default.
    pub fn new(engines: Vec<Params>) -> Self {
        Self {
            engines,
            starts_s: Vec::new(),
            decoders: 0,
            has_transfer: false,
            scrape_s: SCRAPE_S_DEFAULT,
            is_first_failing: false,
            scrape_late_s: 0.0,
            failed_scrapes: 0.0,
            is_endless: false,
        }
    }

    /// How many engines may be chosen from the beginning.
    pub fn first(&self) -> usize {
        self.engines.len() - self.starts_s.len() - self.decoders
    }

    /// The engines that only decode.
    pub fn decoding(&self) -> Range<usize> {
        self.engines.len() - self.decoders..self.engines.len()
    }

    /// The engines that join, each with the second in which it does.
    pub fn joins(&self) -> impl Iterator<Item = (usize, f64)> {
        let joins = self.engines.iter().enumerate().skip(self.first()).zip(&self.starts_s);
        joins.map(|((engine, params), start_s)| (engine, start_s + params.startup_s))
    }
}

// === impl Run ===

impl<'a> Run<'a> {
    fn new(spec: &'a Spec, workload: &'a Workload, rule: &'a mut dyn Rule) -> Self {
        let block_tokens = spec.engines.first().map_or(1, |params| params.block_tokens);
        let mut run = Self {
            workload,
            spec,
            rule,
            fleet: Fleet::of(spec),
            agenda: BinaryHeap::new(),
            steps: vec![None; spec.engines.len()],
            wake_s: None,
            flights: Vec::new(),
            next: Vec::new(),
            agents: Vec::new(),
            agents_count: 0,
            late_scrapes: VecDeque::new(),
            scrapes: 0,
            records: Vec::new(),
            bound: EndlessCache::new(block_tokens),
            samples: Samples::new(spec.engines.len()),
            origin_s: 0.0,
            under_way: 0,
            too_long: 0,
            preemptions: 0,
        };
        if run.rule.follows_caches() {
            for engine in 0..spec.engines.len() {
                run.fleet.node_mut(engine).engine.record_changes();
            }
        }
        for engine in (0..spec.first()).chain(spec.decoding()) {
            run.put(run.scrape_offset_s(engine), Due::Scrape { engine });
        }
        for (engine, at_s) in spec.joins() {
            run.put(at_s, Due::Join { engine });
        }
        run.plan_wake();
        run
    }

    /// Plays one workload from `origin_s` on; returns when its last answer ended, or when it is cut off.
    fn stage(&mut self, origin_s: f64, workload: &'a Workload) -> f64 {
        (self.workload, self.origin_s) = (workload, origin_s);
        (self.next, self.agents) = (vec![0; workload.groups.len()], vec![None; workload.sessions.len()]);
        for (number, group) in workload.groups.iter().enumerate() {
            let open = group.slots.unwrap_or(workload.sessions.len());
            for slot in 0..open {
                let agent = group.slots.map(|_| self.agents_count + slot);
                let ramp_s = group.ramp_s * slot as f64 / open.max(1) as f64;
                if !self.begin_session(origin_s + ramp_s, number, agent) {
                    break;
                }
            }
            self.agents_count += group.slots.unwrap_or(0);
        }
        let end_s = workload.ends_s.map_or(f64::INFINITY, |ends_s| origin_s + ends_s);
        let mut now_s = origin_s;
        while self.under_way > 0 {
            let Some(Reverse((at, due))) = self.agenda.pop() else { break };
            if f64::from_bits(at) > end_s {
                return end_s;
            }
            now_s = f64::from_bits(at);
            self.handle(now_s, due);
        }
        now_s
    }

    /// What happened since the last time this was asked, until `end_s`.
    fn take_stage(&mut self, end_s: f64) -> Played {
        self.flights.clear();
        let counts_from_s = self.counts_from_s();
        let counted = std::mem::take(&mut self.records).into_iter().filter(|one| one.sent_s >= counts_from_s);
        let (ended, others): (Vec<_>, Vec<_>) = counted.partition(Record::has_ended);
        let is_cut = self.workload.ends_s.is_some();
        let (open, lost): (Vec<_>, Vec<_>) = others.into_iter().partition(|one| is_cut && !one.is_lost);
        let preemptions: u64 = self.fleet.all().iter().map(|node| node.stats().preemptions).sum();
        Played {
            records: ended,
            lost: lost.len(),
            open,
            end_s,
            too_long: std::mem::take(&mut self.too_long),
            samples: std::mem::replace(&mut self.samples, Samples::new(self.spec.engines.len())),
            preemptions: preemptions - std::mem::replace(&mut self.preemptions, preemptions),
        }
    }

    /// From when on what happens counts.
    fn counts_from_s(&self) -> f64 {
        self.origin_s + self.workload.counts_from_s
    }

    fn put(&mut self, at_s: f64, due: Due) {
        // Times are never negative, so their bits are in their order.
        self.agenda.push(Reverse((at_s.max(0.0).to_bits(), due)));
    }

    /// By how much an engine is looked at later than the first.
    fn scrape_offset_s(&self, engine: usize) -> f64 {
        self.spec.scrape_s * engine as f64 / self.spec.engines.len() as f64
    }

    fn handle(&mut self, now_s: f64, due: Due) {
        match due {
            Due::Join { engine } => {
                self.fleet.open();
                self.rule.joined(now_s, self.fleet.len());
                self.put(now_s + self.scrape_offset_s(engine), Due::Scrape { engine });
            }
            Due::Arrival { session, turn } => self.arrive(now_s, session, turn),
            Due::Retry { number } => self.ask(now_s, number),
            Due::Step { engine } => {
                if self.steps[engine] == Some(now_s) {
                    self.steps[engine] = None;
                    for event in self.fleet.node_mut(engine).engine.advance(now_s) {
                        self.take(engine, &event);
                    }
                    self.report_changes(now_s, engine);
                    self.plan_step(engine);
                }
            }
            Due::Scrape { engine } => {
                self.scrape(now_s, engine);
                if now_s >= self.counts_from_s() {
                    self.samples.add(now_s, engine, self.fleet.all()[engine].load);
                }
                self.put(now_s + self.spec.scrape_s, Due::Scrape { engine });
            }
            Due::LateScrape => {
                if let Some((engine, stats)) = self.late_scrapes.pop_front() {
                    self.rule.scraped(now_s, engine, &stats);
                }
            }
            Due::Failed { number } => {
                self.rule.failed(now_s, number as u64);
                self.end_session(now_s, self.flights[number].session);
            }
            Due::Wake => {
                if self.wake_s == Some(now_s) {
                    self.wake_s = None;
                    self.rule.wake(now_s);
                }
            }
        }
        self.release_held(now_s);
        self.plan_wake();
    }

    fn scrape(&mut self, now_s: f64, engine: usize) {
        self.scrapes += 1;
        if chance(self.scrapes, 0) < self.spec.failed_scrapes {
            return;
        }
        let stats = self.fleet.all()[engine].stats();
        if self.spec.scrape_late_s > 0.0 {
            self.late_scrapes.push_back((engine, stats));
            self.put(now_s + self.spec.scrape_late_s, Due::LateScrape);
        } else {
            self.rule.scraped(now_s, engine, &stats);
        }
    }

    /// A request comes to the rule.
    fn arrive(&mut self, now_s: f64, session: usize, turn: usize) {
        let number = self.records.len();
        let workload = self.workload;
        let job = &workload.sessions[session].turns[turn].job;
        let bound_tokens = self.bound.ask(job.prompt_tokens, &job.blocks);
        let mut record = Record::new(now_s, job, bound_tokens);
        (record.group, record.agent) = (workload.sessions[session].group, self.agents[session]);
        self.records.push(record);
        self.flights.push(Flight { session, turn, engine: 0, new_tokens: 0, split: None });
        self.ask(now_s, number);
    }

    /// Asks the rule where a request goes.
    fn ask(&mut self, now_s: f64, number: usize) {
        let Flight { session, turn, .. } = self.flights[number];
        let job = &self.workload.sessions[session].turns[turn].job;
        let route = self.rule.route(now_s, number as u64, job, &self.fleet);
        self.go(now_s, number, route);
    }

    /// What the rule has decided of a request.
    fn go(&mut self, now_s: f64, number: usize, route: Route) {
        let workload = self.workload;
        let flight = self.flights[number];
        let job = &workload.sessions[flight.session].turns[flight.turn].job;
        let (engine, leg, asked) = match route {
            Route::Whole(engine) => (engine, Leg::Whole, job.clone()),
            Route::Apart(engine) => (engine, Leg::Prefill, split::prefill(job)),
            Route::Held => return,
            Route::Refused { retry_s } => {
                self.records[number].refusals += 1;
                self.put(now_s + retry_s, Due::Retry { number });
                return;
            }
        };
        self.records[number].engine = engine;
        self.flights[number].engine = engine;
        if self.spec.is_first_failing && engine == 0 {
            self.put(now_s + FAILING_S, Due::Failed { number });
            return;
        }
        let asked = self.as_engines_see(number, asked);
        let bound_tokens = self.records[number].bound_tokens;
        let node = self.fleet.node_mut(engine);
        if self.spec.is_endless {
            node.engine.preload(&asked.blocks[..bound_tokens / self.bound.block_tokens()]);
        }
        let new_tokens = node.uncached(&asked);
        if let Err(error) = node.send(now_s, RequestId(number as u64), &asked, leg) {
            self.refused(now_s, number, &error);
            return;
        }
        self.flights[number].new_tokens = new_tokens;
        self.flights[number].split = (leg == Leg::Prefill).then(split::Progress::default);
        self.records[number].is_split = leg == Leg::Prefill;
        self.plan_step(engine);
    }

    /// Sends what the rule held and holds no longer.
    fn release_held(&mut self, now_s: f64) {
        while let Some((id, route)) = self.rule.released(now_s, &self.fleet) {
            self.go(now_s, id as usize, route);
        }
    }

    /// An engine does not take a request, or its second leg.
    fn refused(&mut self, now_s: f64, number: usize, error: &SubmitError) {
        self.too_long += usize::from(matches!(error, SubmitError::TooLong { .. }));
        self.records[number].is_lost = true;
        self.rule.refused(now_s, number as u64);
        self.end_session(now_s, self.flights[number].session);
    }

    /// A job with the blocks that engines see: those of the bound find what was put there for it alone.
    fn as_engines_see(&self, number: usize, job: Job) -> Job {
        if self.spec.is_endless { job.alone(number as u64) } else { job }
    }

    fn take(&mut self, engine: usize, event: &Event) {
        let number = event.id.0 as usize;
        let flight = self.flights[number];
        if let Some(progress) = flight.split {
            self.take_split(engine, event, flight, progress);
            return;
        }
        let record = &mut self.records[number];
        match event.kind {
            EventKind::Admitted { cached_tokens } => record.admitted(cached_tokens),
            EventKind::FirstToken => {
                record.first_s = Some(event.at_s);
                let cached_tokens = record.cached_tokens;
                self.fleet.node_mut(engine).first_token(event.id, flight.new_tokens);
                self.rule.first_token(event.at_s, event.id.0, cached_tokens);
            }
            EventKind::Finished(_) => {
                record.end_s = Some(event.at_s);
                let job = &self.workload.sessions[flight.session].turns[flight.turn].job;
                self.fleet.node_mut(flight.engine).ended(job);
                self.rule.ended(event.at_s, event.id.0);
                self.follow(event.at_s, flight);
            }
            EventKind::Loading { tokens, .. } => record.loads(tokens),
            EventKind::Token
            | EventKind::Preempted
            | EventKind::Transferring { .. }
            | EventKind::Loaded
            | EventKind::HoldExpired => {}
        }
    }

    fn plan_step(&mut self, engine: usize) {
        let next = self.fleet.all()[engine].engine.next_step_at();
        if next != self.steps[engine] {
            self.steps[engine] = next;
            if let Some(at_s) = next {
                self.put(at_s, Due::Step { engine });
            }
        }
    }

    fn plan_wake(&mut self) {
        let next = self.rule.wake_s();
        if next != self.wake_s {
            self.wake_s = next;
            if let Some(at_s) = next {
                self.put(at_s, Due::Wake);
            }
        }
    }
}
