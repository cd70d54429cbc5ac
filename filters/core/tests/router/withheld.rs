//! Requests whose bodies the proxy withholds while they are paused: none hangs, and where bodies are shown none is routed
//! without its own.

use crate::support::{Contended, PLUGIN, SoloVm, chat, endpoints, fixed, static_config, text};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use warmpath_core::config::Config;
use warmpath_core::router::{
    Counter, DESTINATION_HEADER, ExchangeId, Input, MODEL_HEADER, Notice, Output, PluginId, Unread,
};
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{Pool, PoolEndpoint};

/// Time between two ticks of a VM with a request that may be paused in vain.
const TICK_MS: u64 = 25;
/// Longest time for which the first requests may be paused: until a tick finds them, 50 ms, and a tick.
const PAUSE_MS_MAX: u64 = 50 + 2 * TICK_MS;

/// What one request's body does in the proxy.
#[derive(Debug, Default)]
struct Request {
    is_paused: bool,
    is_withheld: bool,
    held: Vec<u8>,
    has_ended: bool,
    headers: BTreeMap<&'static str, String>,
    paused_at: Timestamp,
    pause_ms: u64,
}

/// Envoy around one VM: it shows the bodies of paused requests or not, or another filter in front delays them.
struct Proxy {
    vm: SoloVm,
    now: Timestamp,
    /// `allow_on_headers_stop_iteration`.
    shows_bodies: bool,
    requests: BTreeMap<ExchangeId, Request>,
    entered: Option<ExchangeId>,
    notices: Vec<Notice>,
    counts: BTreeMap<&'static str, u64>,
    tick_ms: u64,
}

// === impl Proxy ===

impl Proxy {
    fn new(config: Config, shows_bodies: bool) -> Self {
        let now = Timestamp::from_ms(1_700_000_000_000);
        Self {
            vm: SoloVm::new(&Contended::default(), config, 7, now),
            now,
            shows_bodies,
            requests: BTreeMap::new(),
            entered: None,
            notices: Vec::new(),
            counts: BTreeMap::new(),
            tick_ms: 100,
        }
    }

    /// Gives the VM an input of this request, or of none, and performs what comes out.
    fn handle(&mut self, of: Option<ExchangeId>, input: Input<'_>) {
        let mut out: Vec<Output> = self.vm.handle(self.now, input).iter().map(copy).collect();
        let mut resumed = Vec::new();
        let mut is_paused = false;
        self.entered = of;
        while !out.is_empty() {
            for output in std::mem::take(&mut out) {
                match output {
                    Output::Enter { exchange } => self.entered = Some(exchange),
                    Output::Leave { plugin } => {
                        assert_eq!(plugin, PLUGIN);
                        self.entered = None;
                    }
                    Output::Probe { exchange } => {
                        assert_eq!(self.entered, Some(exchange));
                        let received_bytes = self.requests[&exchange].held.len() as u64;
                        let input = Input::Probed { exchange, received_bytes };
                        out.extend(self.vm.handle(self.now, input).iter().map(copy));
                    }
                    Output::Resume => resumed.push(self.entered.expect("a request is entered")),
                    Output::Pause => is_paused = true,
                    Output::SetRequestHeader(name, value) => {
                        let id = self.entered.expect("a request is entered");
                        self.requests.get_mut(&id).unwrap().headers.insert(name, value);
                    }
                    Output::ReadBody => {
                        let id = of.unwrap();
                        let body = self.requests[&id].held.clone();
                        let input = Input::RequestBody { exchange: id, body: &body };
                        out.extend(self.vm.handle(self.now, input).iter().map(copy));
                    }
                    Output::WakeIn(ms) => {
                        assert_eq!(self.entered, of, "a tick's period is its plugin's");
                        self.tick_ms = ms;
                    }
                    Output::Notice(notice) => self.notices.push(notice),
                    Output::Count(counter, by) => *self.counts.entry(counter.name()).or_default() += by,
                    _ => {}
                }
            }
        }
        if let Some(id) = of
            && let Some(request) = self.requests.get_mut(&id)
        {
            request.is_paused = is_paused;
        }
        // Once the callback has ended, as in Envoy.
        for id in resumed {
            let request = self.requests.get_mut(&id).unwrap();
            request.is_paused = false;
            request.pause_ms = self.now.ms_apart(request.paused_at);
            if std::mem::take(&mut request.is_withheld) && !request.held.is_empty() {
                self.show(id);
            }
        }
    }

    fn head(&mut self, number: u32, headers: &[(&str, &str)]) -> ExchangeId {
        let id = ExchangeId(number);
        let mut all = vec![(":method", "POST"), (":path", "/v1/chat/completions")];
        all.extend(headers);
        let headers: Vec<_> =
            all.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        self.requests.insert(id, Request { paused_at: self.now, ..Request::default() });
        self.handle(Some(id), begun(id, PLUGIN, &headers));
        let shows_bodies = self.shows_bodies;
        let request = self.requests.get_mut(&id).unwrap();
        request.is_withheld = request.is_paused && !shows_bodies;
        id
    }

    /// A piece of the body comes from the client.
    fn piece(&mut self, id: ExchangeId, piece: &[u8], ends: bool) {
        self.keep(id, piece, ends);
        if !self.requests[&id].is_withheld {
            self.show(id);
        }
    }

    /// A piece of the body that another filter keeps for now.
    fn keep(&mut self, id: ExchangeId, piece: &[u8], ends: bool) {
        let request = self.requests.get_mut(&id).unwrap();
        request.held.extend_from_slice(piece);
        request.has_ended = ends;
    }

    fn show(&mut self, id: ExchangeId) {
        let request = &self.requests[&id];
        let (buffered_bytes, ends) = (request.held.len(), request.has_ended);
        self.handle(Some(id), Input::RequestData { exchange: id, buffered_bytes, ends });
    }

    fn tick(&mut self) {
        self.handle(None, Input::Tick { plugin: PLUGIN });
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / TICK_MS {
            self.now = self.now.plus_ms(TICK_MS);
            self.tick();
        }
    }

    fn end(&mut self, id: ExchangeId) -> Request {
        self.handle(Some(id), Input::Ended { exchange: id });
        self.requests.remove(&id).unwrap()
    }

    /// A chat that comes at once and is served after a while.
    fn chat(&mut self, number: u32, headers: &[(&str, &str)], body: &[u8]) -> Request {
        let length = body.len().to_string();
        let headers: Vec<_> = headers.iter().copied().chain([("content-length", length.as_str())]).collect();
        let id = self.head(number, &headers);
        self.piece(id, body, true);
        self.pass(200);
        let sent_to = self.requests[&id].headers.get(DESTINATION_HEADER).cloned();
        let served_by = sent_to.as_ref().and_then(|list| list.split(',').next());
        let (status, ends) = (Some(200), false);
        let head = Input::ResponseHead { exchange: id, status, headers: &[], served_by, ends };
        self.handle(Some(id), head);
        let chunk = Input::ResponseChunk { exchange: id, bytes: 2, tail: b"{}", ends: true };
        self.handle(Some(id), chunk);
        self.end(id)
    }

    fn counted(&self, counter: Counter) -> u64 {
        self.counts.get(counter.name()).copied().unwrap_or(0)
    }

    fn unread(&self) -> u64 {
        self.counted(Counter::Unread(Unread::Withheld))
    }
}

/// The head of a request whose body follows.
fn begun(exchange: ExchangeId, plugin: PluginId, headers: &[(String, Vec<u8>)]) -> Input<'_> {
    Input::RequestHead { exchange, plugin, headers, cluster: None, ends: false }
}

/// Outputs are borrowed from the VM, and performing one may need it again.
fn copy(output: &Output) -> Output {
    match output {
        Output::Pause => Output::Pause,
        Output::ReadBody => Output::ReadBody,
        Output::Enter { exchange } => Output::Enter { exchange: *exchange },
        Output::Leave { plugin } => Output::Leave { plugin: *plugin },
        Output::Probe { exchange } => Output::Probe { exchange: *exchange },
        Output::Resume => Output::Resume,
        Output::SetRequestHeader(name, value) => Output::SetRequestHeader(name, value.clone()),
        Output::WakeIn(ms) => Output::WakeIn(*ms),
        Output::Count(counter, by) => Output::Count(*counter, *by),
        Output::Notice(Notice::BodiesWithheld) => Output::Notice(Notice::BodiesWithheld),
        Output::Notice(Notice::BodiesShown) => Output::Notice(Notice::BodiesShown),
        _ => Output::RemoveRequestHeader(""),
    }
}

fn body(topic: &str) -> Vec<u8> {
    chat(&text(topic, 4000)).to_string().into_bytes()
}

/// A proxy that withholds bodies and is known to.
fn withholding(config: Config) -> Proxy {
    let mut proxy = Proxy::new(config, false);
    for number in 0..2 {
        proxy.chat(number, &[], &body("first"));
    }
    assert_eq!(proxy.notices, [Notice::BodiesWithheld]);
    proxy
}

#[test]
fn the_first_requests_wait_for_a_moment_and_the_others_not_at_all() {
    let mut proxy = Proxy::new(fixed(3), false);
    for number in 0..20 {
        let request = proxy.chat(number, &[], &body("whales"));
        assert!(!request.is_paused && request.headers.contains_key(DESTINATION_HEADER), "{request:?}");
        let is_first = number < 2;
        assert!(request.pause_ms <= if is_first { PAUSE_MS_MAX } else { 0 }, "{number}: {request:?}");
    }
    assert_eq!((proxy.unread(), proxy.counted(Counter::Resumed)), (20, 2));
    assert_eq!(proxy.notices, [Notice::BodiesWithheld], "said once");
}

#[test]
fn an_idle_vm_looks_after_a_paused_request_in_time() {
    let mut proxy = Proxy::new(fixed(3), false);
    proxy.now = proxy.now.plus_ms(5_000);
    proxy.tick();
    assert_eq!(proxy.tick_ms, 100);
    let id = proxy.head(1, &[]);
    assert_eq!(proxy.tick_ms, TICK_MS);
    proxy.pass(TICK_MS);
    assert_eq!(proxy.tick_ms, TICK_MS, "as long as it is paused");
    proxy.end(id);
    proxy.pass(TICK_MS);
    assert_eq!(proxy.tick_ms, 100);
}

#[test]
fn a_client_that_sends_its_body_late_is_waited_for_where_bodies_are_shown() {
    let mut proxy = Proxy::new(fixed(3), true);
    proxy.chat(1, &[], &body("whales"));
    let id = proxy.head(2, &[]);
    proxy.pass(60_000);
    assert!(proxy.requests[&id].is_paused);
    for piece in body("whales").chunks(100) {
        proxy.piece(id, piece, false);
        proxy.pass(1_000);
        assert!(proxy.requests[&id].is_paused);
    }
    proxy.piece(id, b"", true);
    assert!(!proxy.end(id).is_paused);
    assert_eq!((proxy.unread(), proxy.counted(Counter::Resumed), proxy.notices.len()), (0, 0, 0));
}

#[test]
fn a_late_body_of_the_very_first_request_costs_its_prompt_and_nothing_more() {
    let mut proxy = Proxy::new(fixed(3), true);
    let id = proxy.head(1, &[]);
    proxy.pass(10_000);
    assert!(!proxy.requests[&id].is_paused, "nobody knows yet that bodies come");
    proxy.piece(id, &body("whales"), true);
    assert!(!proxy.requests[&id].is_paused, "it passes");
    proxy.end(id);
    for number in 2..9 {
        proxy.chat(number, &[], &body("whales"));
    }
    assert_eq!((proxy.unread(), proxy.notices.len()), (1, 0));
}

#[test]
fn bodies_that_another_filter_works_on_are_not_withheld() {
    let mut proxy = Proxy::new(fixed(3), true);
    for number in 0..9 {
        let id = proxy.head(number, &[]);
        // All of it has come, and a filter in front lets it go three seconds later.
        proxy.keep(id, &body("whales"), true);
        proxy.pass(3_000);
        proxy.show(id);
        assert!(!proxy.end(id).is_paused);
    }
    assert_eq!((proxy.unread(), proxy.notices.len()), (1, 0), "the first, when nothing was known");
}

#[test]
fn a_response_at_once_says_nothing_of_the_body() {
    let mut proxy = Proxy::new(fixed(3), false);
    for number in 0..9 {
        let id = proxy.head(number, &[]);
        proxy.keep(id, &body("whales"), true);
        proxy.requests.get_mut(&id).unwrap().is_withheld = false;
        proxy.pass(PAUSE_MS_MAX);
        // Envoy has no endpoint: it responds while it resumes the request, and the body goes nowhere.
        let head = Input::ResponseHead {
            exchange: id,
            status: Some(503),
            headers: &[],
            served_by: None,
            ends: true,
        };
        proxy.handle(Some(id), head);
        let request = proxy.end(id);
        assert!(request.pause_ms <= PAUSE_MS_MAX, "{number}: {request:?}");
    }
}

#[test]
fn an_explanation_says_nothing_of_the_body() {
    let mut proxy = Proxy::new(static_config(3), false);
    for number in 0..9 {
        let id = proxy.head(number, &[("x-warmpath-explain", "1")]);
        proxy.piece(id, &body("whales"), true);
        proxy.pass(PAUSE_MS_MAX);
        assert_eq!(proxy.counted(Counter::Resumed), u64::from(number) + 1);
        proxy.end(id);
    }
}

#[test]
fn a_plugin_that_gets_the_flag_back_notices() {
    let mut proxy = withholding(fixed(3));
    proxy.shows_bodies = true;
    proxy.now = proxy.now.plus_ms(61_000);
    for number in 2..9 {
        proxy.chat(number, &[], &body("whales"));
    }
    assert_eq!(proxy.notices, [Notice::BodiesWithheld, Notice::BodiesShown]);
    assert_eq!(proxy.unread(), 2, "from the first that is paused again");
}

#[test]
fn a_request_that_is_paused_again_to_see_does_not_hang() {
    let mut proxy = withholding(fixed(3));
    let mut paused = Vec::new();
    for number in 2..500 {
        proxy.now = proxy.now.plus_ms(30_000);
        if proxy.chat(number, &[], &body("whales")).pause_ms > 0 {
            paused.push(number);
        }
    }
    // Each time after twice the time, at most after an hour.
    assert!((5..=10).contains(&paused.len()), "{paused:?}");
    assert_eq!(proxy.notices, [Notice::BodiesWithheld]);
}

#[test]
fn an_empty_body_does_not_hang() {
    let mut proxy = Proxy::new(fixed(3), false);
    let id = proxy.head(1, &[]);
    proxy.piece(id, b"", true);
    proxy.pass(1_200);
    assert!(!proxy.end(id).is_paused);
}

#[test]
fn a_session_stays_at_its_endpoint() {
    let config = Config { affinity_headers: vec!["x-session-id".to_owned()], ..fixed(8) };
    let mut proxy = withholding(config);
    let mut homes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for number in 2..202 {
        let session = format!("session {}", number % 20);
        let text = text(&session, 500 * (1 + number as usize / 20));
        let body = chat(&text).to_string().into_bytes();
        let request = proxy.chat(number, &[("x-session-id", &session)], &body);
        let destination = request.headers[DESTINATION_HEADER].split(',').next().unwrap().to_owned();
        homes.entry(session).or_default().push(destination);
    }
    assert!(homes.values().all(|each| each.iter().all(|one| *one == each[0])), "{homes:#?}");
    let used: BTreeSet<_> = homes.values().map(|each| &each[0]).collect();
    assert!(used.len() >= 6, "20 sessions at {} of 8 endpoints", used.len());
}

#[test]
fn a_session_leaves_an_endpoint_that_is_too_busy() {
    let config = Config { affinity_headers: vec!["x-session-id".to_owned()], ..fixed(4) };
    let mut proxy = withholding(config);
    let home = proxy.chat(2, &[("x-session-id", "s")], &body("s")).headers[DESTINATION_HEADER].clone();
    let mut elsewhere = 0;
    for number in 3..103 {
        // None of them ends.
        let id = proxy.head(number, &[("x-session-id", "s"), ("content-length", "4000")]);
        elsewhere += u32::from(
            proxy.requests[&id].headers[DESTINATION_HEADER].split(',').next() != home.split(',').next(),
        );
    }
    assert!(elsewhere > 20, "{elsewhere}");
}

#[test]
fn a_header_names_the_model_and_else_the_first_pool_serves() {
    let mut config = static_config(1);
    let endpoint = PoolEndpoint { address: "10.9.9.9:8000".to_owned(), ..PoolEndpoint::default() };
    let (name, models) = ("second".to_owned(), vec!["beta".to_owned()]);
    config.pools.pools.push(Pool { name, models, endpoints: vec![endpoint], ..Pool::default() });
    config.model_header = Some("x-model".to_owned());
    let mut proxy = withholding(config);
    let named = proxy.chat(2, &[("x-model", "beta")], &body("whales")).headers;
    assert_eq!((named[DESTINATION_HEADER].as_str(), named[MODEL_HEADER].as_str()), ("10.9.9.9:8000", "beta"));
    let unnamed = proxy.chat(3, &[], &body("whales")).headers;
    assert_eq!(unnamed[DESTINATION_HEADER], endpoints(1)[0]);
    assert!(!unnamed.contains_key(MODEL_HEADER));
}

#[test]
fn every_plugin_of_a_vm_finds_out_by_itself() {
    let mut proxy = withholding(fixed(3));
    let other = PluginId(2);
    proxy.vm.configure(other, fixed(3), proxy.now);
    let headers =
        [(":method".to_owned(), b"POST".to_vec()), (":path".to_owned(), b"/v1/completions".to_vec())];
    assert!(proxy.vm.handle(proxy.now, begun(ExchangeId(90), other, &headers)).contains(&Output::Pause));
}

/// What a client does next with one of its requests.
#[derive(Clone, Debug)]
enum Step {
    Head { is_sized: bool },
    Piece { of: usize, bytes: usize, ends: bool },
    Leave { of: usize },
    Pass { ticks: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<bool>().prop_map(|is_sized| Step::Head { is_sized }),
        6 => (any::<usize>(), 0_usize..3000, any::<bool>()).prop_map(|(of, bytes, ends)| Step::Piece { of, bytes, ends }),
        1 => any::<usize>().prop_map(|of| Step::Leave { of }),
        4 => (1_u64..60).prop_map(|ticks| Step::Pass { ticks }),
    ]
}

proptest! {
    #[test]
    fn no_request_hangs_and_no_shown_body_is_passed_over(steps in prop::collection::vec(step(), 1..80), shows in any::<bool>()) {
        let mut proxy = Proxy::new(fixed(3), shows);
        // A body that is shown, so that a proxy that shows them is known to.
        if shows {
            proxy.chat(1_000, &[], &body("first"));
        }
        let mut open: Vec<ExchangeId> = Vec::new();
        for (number, step) in (0..).zip(steps) {
            let at = |of: usize| of.checked_rem(open.len());
            match step {
                Step::Head { is_sized } => {
                    let length: &[(&str, &str)] = if is_sized { &[("content-length", "3000")] } else { &[] };
                    let id = proxy.head(number, length);
                    open.push(id);
                }
                Step::Piece { of, bytes, ends } => {
                    if let Some(id) = at(of).map(|at| open[at]).filter(|id| !proxy.requests[id].has_ended) {
                        proxy.piece(id, &vec![b'x'; bytes], ends);
                    }
                }
                Step::Leave { of } => {
                    if let Some(at) = at(of) {
                        proxy.end(open.swap_remove(at));
                    }
                }
                Step::Pass { ticks } => proxy.pass(ticks * TICK_MS),
            }
        }
        // Whatever has happened: what has come whole goes on.
        proxy.pass(2_000);
        for id in &open {
            let request = &proxy.requests[id];
            prop_assert!(!request.is_paused || (shows && !request.has_ended), "{request:?}");
            prop_assert!(!request.is_withheld);
        }
        prop_assert!(!shows || proxy.unread() == 0);
        for id in open {
            proxy.end(id);
        }
        prop_assert_eq!(proxy.vm.router.ledger().requests(), 0);
    }
}
