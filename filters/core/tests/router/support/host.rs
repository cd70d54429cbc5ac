//! A shell as small as it can be: one process with its clock, its shared data and its VMs, and the streams of these.
//!
//! It does what filters/router does in Envoy, with values in place of hostcalls, so that what needs no host is tested
//! without one.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;
use warmpath_core::body::PIECE_BYTES;
use warmpath_core::config::Config;
use warmpath_core::ids::EndpointId;
use warmpath_core::router::{
    Call, CallId, Called, ExchangeId, Input, LocalMap, Output, PluginId, Reply, Router, SharedMap, UplinkId,
    Watch,
};
use warmpath_core::time::Timestamp;
use warmpath_core::view::{Endpoint, Pool, View};

/// One proxy process.
#[derive(Clone, Debug)]
pub(crate) struct Host(Rc<Process>);

#[derive(Debug)]
struct Process {
    now: Cell<Timestamp>,
    map: LocalMap,
    numbers: Cell<u32>,
    is_down: Cell<bool>,
    attempts: Cell<Option<u64>>,
    counters: RefCell<BTreeMap<&'static str, u64>>,
    in_pools: RefCell<BTreeMap<(Rc<str>, &'static str), u64>>,
    records: RefCell<BTreeMap<&'static str, Vec<u64>>>,
}

/// One VM of it.
#[derive(Debug)]
pub(crate) struct Vm(Rc<Worker>);

#[derive(Debug)]
struct Worker {
    host: Host,
    number: u32,
    router: RefCell<Router<LocalMap>>,
    plugins: RefCell<Vec<PluginId>>,
    tick_ms: Cell<u64>,
    uplinks: RefCell<Vec<Uplink>>,
    /// The bodies that it keeps.
    bodies: RefCell<BTreeMap<ExchangeId, Vec<u8>>>,
    /// What ticks have brought for requests.
    later: RefCell<Vec<(ExchangeId, Output)>>,
}

/// A stream to the controller.
#[derive(Clone, Debug)]
pub(crate) struct Uplink {
    pub(crate) id: UplinkId,
    pub(crate) state: UplinkState,
    pub(crate) sent: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UplinkState {
    Open,
    Cancelled,
    Closed,
}

/// A request on its way through a VM.
#[derive(Debug)]
pub(crate) struct Stream {
    vm: Rc<Worker>,
    id: ExchangeId,
    watch: Watch,
    /// The body as the proxy keeps it.
    pub(crate) body: Vec<u8>,
    /// The body that the router has put in place of the client's.
    pub(crate) edited: Option<Vec<u8>>,
    /// Request headers that the router has set.
    pub(crate) request_headers: BTreeMap<&'static str, String>,
    /// Response headers that the router has set.
    pub(crate) response_headers: BTreeMap<&'static str, String>,
    pub(crate) properties: BTreeMap<&'static str, String>,
    /// The router's own response.
    pub(crate) reply: Option<Reply>,
    /// The router's own requests for this one.
    pub(crate) calls: Vec<Call>,
    pub(crate) is_paused: bool,
    /// The cluster that Envoy's route leads to.
    pub(crate) cluster: Option<String>,
    /// Where Envoy says that the response comes from; `None`: from the endpoint that the router has chosen.
    pub(crate) served_by: Option<String>,
}

// === impl Host ===

impl Default for Host {
    fn default() -> Self {
        Self(Rc::new(Process {
            now: Cell::new(Timestamp::from_ms(1_700_000_000_000)),
            map: LocalMap::default(),
            numbers: Cell::new(0),
            is_down: Cell::new(false),
            attempts: Cell::new(Some(2)),
            counters: RefCell::default(),
            in_pools: RefCell::default(),
            records: RefCell::default(),
        }))
    }
}

impl Host {
    /// A VM with one configured plugin.
    pub(crate) fn vm(&self, config: &Config) -> Vm {
        let number = self.number();
        let seed = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let router = Router::new(self.0.map.clone(), config.cell_bytes, seed);
        let vm = Vm(Rc::new(Worker {
            host: self.clone(),
            number,
            router: RefCell::new(router),
            plugins: RefCell::default(),
            tick_ms: Cell::new(0),
            uplinks: RefCell::default(),
            bodies: RefCell::default(),
            later: RefCell::default(),
        }));
        vm.configure(config);
        vm
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.now.get()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.now.set(self.now().plus_ms(u64::try_from(by.as_millis()).unwrap()));
    }

    pub(crate) fn set_back(&self, by: Duration) {
        let ms = self.now().ms() - u64::try_from(by.as_millis()).unwrap();
        self.0.now.set(Timestamp::from_ms(ms));
    }

    /// How many endpoints Envoy says that it has tried, where another one than the chosen one responds.
    pub(crate) fn set_attempts(&self, attempts: Option<u64>) {
        self.0.attempts.set(attempts);
    }

    /// Whether the host refuses to open streams to the controller.
    pub(crate) fn set_cluster_down(&self, is_down: bool) {
        self.0.is_down.set(is_down);
    }

    /// Each counter in each pool, with its value.
    pub(crate) fn metrics_in_pools(&self) -> Vec<String> {
        let counted = self.0.in_pools.borrow();
        counted.iter().map(|((pool, name), count)| format!("{pool} {name} {count}")).collect()
    }

    /// A counter or gauge of the process.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.0.counters.borrow().get(name).copied().unwrap_or(0)
    }

    /// What was recorded into a histogram.
    pub(crate) fn recorded(&self, name: &str) -> Vec<u64> {
        self.0.records.borrow().get(name).cloned().unwrap_or_default()
    }

    /// Shared data, key by key.
    pub(crate) fn shared(&self) -> Vec<(String, Vec<u8>)> {
        self.0.map.entries()
    }

    pub(crate) fn set_shared(&self, key: &str, value: &[u8]) {
        self.0.map.clone().set(key, value, None).unwrap();
    }

    fn number(&self) -> u32 {
        self.0.numbers.set(self.0.numbers.get() + 1);
        self.0.numbers.get()
    }
}

// === impl Vm ===

impl Vm {
    /// Configures a further plugin.
    pub(crate) fn configure(&self, config: &Config) -> PluginId {
        let plugin = PluginId(self.0.host.number());
        self.0.plugins.borrow_mut().push(plugin);
        self.0.handle(Input::Configure { plugin, config: config.clone(), node: "gateway-1".to_owned() });
        plugin
    }

    pub(crate) fn plugins(&self) -> Vec<PluginId> {
        self.0.plugins.borrow().clone()
    }

    pub(crate) fn retire(&self, plugin: PluginId) {
        self.0.handle(Input::Retire { plugin });
        self.0.plugins.borrow_mut().retain(|other| *other != plugin);
    }

    /// Every plugin has its tick.
    pub(crate) fn tick(&self) {
        self.tick_with_calls();
    }

    /// The same; returns the calls that it makes, with the requests that they are for.
    pub(crate) fn tick_with_calls(&self) -> Vec<(ExchangeId, Call)> {
        let (mut entered, mut calls) = (None, Vec::new());
        for plugin in self.plugins() {
            let mut outputs: VecDeque<Output> = self.0.handle(Input::Tick { plugin }).into();
            while let Some(output) = outputs.pop_front() {
                match output {
                    Output::Enter { exchange } => entered = Some(exchange),
                    Output::Leave { .. } => entered = None,
                    Output::Call(call) => calls.push((entered.expect("a tick has no request"), call)),
                    Output::Recall { exchange } => {
                        assert_eq!(entered, Some(exchange));
                        let body = self.0.bodies.borrow().get(&exchange).cloned().unwrap_or_default();
                        outputs.extend(self.0.handle(Input::RequestBody { exchange, body: &body }));
                    }
                    output => {
                        let id = entered.expect("a tick has no request");
                        self.0.later.borrow_mut().push((id, output));
                    }
                }
            }
        }
        calls
    }

    /// Whether it is the one that talks to the controller.
    pub(crate) fn holds_lease(&self) -> bool {
        self.0.router.borrow().holds_lease()
    }

    pub(crate) fn endpoint(&self, address: &str) -> Endpoint {
        let found = |view: &View| view.endpoint(view.slot(EndpointId::of(address))?).cloned();
        self.with_view(found).expect("it is in a pool")
    }

    pub(crate) fn with_view<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(self.0.router.borrow().view())
    }

    pub(crate) fn cells(&self) -> usize {
        self.with_view(|view| view.prefixes().cells())
    }

    pub(crate) fn tick_ms(&self) -> u64 {
        self.0.tick_ms.get()
    }

    pub(crate) fn number(&self) -> u32 {
        self.0.number
    }

    /// The held requests of a view, in all proxies.
    pub(crate) fn held(&self) -> usize {
        let of = |view: &View, pool: &Pool| view.admission(pool.name()).map_or(0, |gate| gate.queue().len());
        self.with_view(|view| view.pools().iter().map(|pool| of(view, pool)).sum())
    }

    pub(crate) fn uplinks(&self) -> Vec<Uplink> {
        self.0.uplinks.borrow().clone()
    }

    pub(crate) fn uplink_message(&self, uplink: UplinkId, message: &[u8]) {
        self.0.handle(Input::UplinkMessage { uplink, message });
    }

    pub(crate) fn close_uplink(&self, uplink: UplinkId) {
        self.0.set_uplink(uplink, UplinkState::Closed);
        self.0.handle(Input::UplinkClosed { uplink });
    }

    pub(crate) fn request(&self) -> Stream {
        let id = self.0.host.number();
        Stream {
            vm: Rc::clone(&self.0),
            id: ExchangeId(id),
            watch: Watch::default(),
            body: Vec::new(),
            edited: None,
            request_headers: BTreeMap::new(),
            response_headers: BTreeMap::new(),
            properties: BTreeMap::new(),
            reply: None,
            calls: Vec::new(),
            is_paused: false,
            cluster: None,
            served_by: None,
        }
    }
}

impl Worker {
    /// Gives the router an input and performs all that is not a stream's own; returns the rest.
    fn handle(&self, input: Input<'_>) -> Vec<Output> {
        let now = self.host.now();
        let mut rest = Vec::new();
        let mut out = Vec::new();
        let mut router = self.router.borrow_mut();
        router.handle(&now, input, &mut out);
        while !out.is_empty() {
            for output in std::mem::take(&mut out) {
                if let Some(input) = self.perform(output, &mut rest) {
                    router.handle(&now, input, &mut out);
                }
            }
        }
        rest
    }

    fn perform(&self, output: Output, rest: &mut Vec<Output>) -> Option<Input<'static>> {
        let process = &self.host.0;
        match output {
            Output::OpenUplink { .. } if process.is_down.get() => {
                return Some(Input::UplinkOpened { uplink: None });
            }
            Output::OpenUplink { .. } => {
                let id = UplinkId(self.host.number());
                let uplink = Uplink { id, state: UplinkState::Open, sent: Vec::new() };
                self.uplinks.borrow_mut().push(uplink);
                return Some(Input::UplinkOpened { uplink: Some(id) });
            }
            Output::SendUplink { uplink: id, message } => {
                let mut uplinks = self.uplinks.borrow_mut();
                let uplink = uplinks.iter_mut().find(|uplink| uplink.id == id).expect("it was opened");
                if uplink.state != UplinkState::Open {
                    return Some(Input::UplinkClosed { uplink: id });
                }
                uplink.sent.push(message);
            }
            Output::CountAttempts { failed } => {
                return Some(Input::Attempts { attempts: process.attempts.get(), failed });
            }
            Output::CancelUplink { uplink } => self.set_uplink(uplink, UplinkState::Cancelled),
            Output::WakeIn(ms) => self.tick_ms.set(ms),
            Output::Count(counter, by) => {
                *process.counters.borrow_mut().entry(counter.name()).or_default() += by;
            }
            Output::CountInPool(pool, counter) => {
                *process.in_pools.borrow_mut().entry((pool, counter.name())).or_default() += 1;
            }
            Output::Show(gauge, value) => {
                process.counters.borrow_mut().insert(gauge.name(), value);
            }
            Output::Record(histogram, value) => {
                process.records.borrow_mut().entry(histogram.name()).or_default().push(value);
            }
            Output::Notice(_) => {}
            other => rest.push(other),
        }
        None
    }

    fn set_uplink(&self, id: UplinkId, state: UplinkState) {
        self.uplinks.borrow_mut().iter_mut().filter(|uplink| uplink.id == id).for_each(|uplink| {
            uplink.state = state;
        });
    }
}

// === impl Stream ===

impl Stream {
    fn handle(&mut self, input: Input<'_>) {
        let outputs = Rc::clone(&self.vm).handle(input);
        self.perform(outputs);
    }

    /// Performs what ticks have brought for it.
    pub(crate) fn catch_up(&mut self) {
        let of_this = |(id, _): &mut (ExchangeId, Output)| *id == self.id;
        let outputs = self.vm.later.borrow_mut().extract_if(.., of_this).map(|(_, output)| output).collect();
        self.perform(outputs);
    }

    fn perform(&mut self, outputs: Vec<Output>) {
        let (mut reads_body, mut reads_pieces) = (false, false);
        for output in outputs {
            match output {
                Output::SetRequestHeader(name, value) => {
                    self.request_headers.insert(name, value);
                }
                Output::SetRequestBody { old_bytes, body } => {
                    assert_eq!(old_bytes, self.body.len(), "all of it");
                    self.body.clone_from(&body);
                    self.vm.bodies.borrow_mut().insert(self.id, body.clone());
                    self.edited = Some(body);
                }
                Output::SetProperty(name, value) => {
                    self.properties.insert(name, value);
                }
                Output::SetResponseHeader(name, value) => {
                    self.response_headers.insert(name, value);
                }
                Output::Reply(reply) => self.reply = Some(reply),
                Output::Watch(watch) => self.watch = watch,
                Output::ReadBody => reads_body = true,
                Output::ReadPieces => reads_pieces = true,
                Output::Call(call) => self.calls.push(call),
                Output::Pause => self.is_paused = true,
                Output::Resume => {
                    assert!(self.is_paused && self.reply.is_none(), "it goes on once");
                    self.is_paused = false;
                }
                Output::ResumeResponse => self.is_paused = false,
                Output::RemoveRequestHeader(_) => {}
                other => panic!("{other:?} belongs to no request"),
            }
        }
        if reads_body {
            let body = self.body.clone();
            self.handle(Input::RequestBody { exchange: self.id, body: &body });
        }
        if reads_pieces {
            let body = self.body.clone();
            let mut pieces = body.chunks(PIECE_BYTES).peekable();
            while let Some(piece) = pieces.next() {
                let ends = pieces.peek().is_none();
                self.handle(Input::RequestPiece { exchange: self.id, piece, ends });
            }
        }
    }

    pub(crate) fn headers(&mut self, headers: &[(&str, &str)], ends: bool) {
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        let plugin = *self.vm.plugins.borrow().last().expect("a plugin is configured");
        let cluster = self.cluster.clone();
        let cluster = cluster.as_deref();
        self.handle(Input::RequestHead { exchange: self.id, plugin, headers: &headers, cluster, ends });
    }

    pub(crate) fn body(&mut self, piece: &[u8], ends: bool) {
        self.body.extend_from_slice(piece);
        self.vm.bodies.borrow_mut().insert(self.id, self.body.clone());
        let buffered_bytes = self.body.len();
        self.is_paused = false;
        self.handle(Input::RequestData { exchange: self.id, buffered_bytes, ends });
    }

    /// The call that a tick makes for it.
    pub(crate) fn take_call(&mut self, calls: Vec<(ExchangeId, Call)>) {
        self.calls.extend(calls.into_iter().filter(|(id, _)| *id == self.id).map(|(_, call)| call));
    }

    /// The end of any of its calls.
    pub(crate) fn called_of(&mut self, call: CallId, response: Option<(u16, &str)>) {
        let response = response.map(|(status, body)| Called { status, body: body.as_bytes() });
        self.handle(Input::Called { exchange: self.id, call, response });
    }

    pub(crate) fn response_headers(&mut self, headers: &[(&str, &str)], ends: bool) {
        let destinations = self.request_headers.get("x-gateway-destination-endpoint");
        let chosen = destinations.and_then(|list| list.split(',').next()).map(str::to_owned);
        let served_by = self.served_by.clone().or(chosen);
        self.response_head(served_by.as_deref(), headers, ends);
    }

    /// A response of the proxy itself, or of a filter behind this one: it has no upstream host.
    pub(crate) fn local_response(&mut self, status: &str) {
        self.response_head(None, &[(":status", status)], false);
    }

    fn response_head(&mut self, served_by: Option<&str>, headers: &[(&str, &str)], ends: bool) {
        let status = headers.iter().find(|(name, _)| *name == ":status");
        let status = status.and_then(|(_, status)| status.parse().ok());
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        self.handle(Input::ResponseHead { exchange: self.id, status, headers: &headers, served_by, ends });
    }

    /// As a shell does that leaves out what the router does not want.
    pub(crate) fn response_body(&mut self, piece: &[u8], ends: bool) {
        let tail = match self.watch {
            Watch::End if !ends => return,
            Watch::FirstByte if piece.is_empty() && !ends => return,
            Watch::End | Watch::FirstByte => &[],
            Watch::Whole => piece,
            Watch::Tail(bytes) => &piece[piece.len().saturating_sub(bytes)..],
        };
        self.handle(Input::ResponseChunk { exchange: self.id, bytes: piece.len(), tail, ends });
    }

    /// The end, however it came.
    pub(crate) fn finish(mut self) {
        self.vm.bodies.borrow_mut().remove(&self.id);
        self.handle(Input::Ended { exchange: self.id });
    }
}
