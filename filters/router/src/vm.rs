//! The state that all contexts of a VM share: its router, and the code that performs the router's outputs.
//!
//! There is one for each cell size: a reconfigured plugin keeps the state of its VM unless its cell size changes, because
//! cells of different sizes cannot be compared.

use crate::host::{self, HostClock, HostMap};
use crate::metrics::Metrics;
use log::{info, warn};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use warmpath_core::router::{CallId, ExchangeId, Input, Output, PluginId, Router, UplinkId, Watch};
use warmpath_core::wire::{STREAM_METHOD, STREAM_SERVICE};

thread_local! {
    static VM: RefCell<Option<Rc<Vm>>> = const { RefCell::new(None) };
}

/// See the module.
pub(crate) struct Vm {
    cell_bytes: usize,
    state: RefCell<State>,
    /// Responses that are paused. Both their own streams and the root, to which a tick's calls return, let them go on.
    held: RefCell<BTreeMap<ExchangeId, Held>>,
}

/// What has come of the body of a response that is paused.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    pub(crate) bytes: usize,
    pub(crate) ends: bool,
}

struct State {
    router: Router<HostMap>,
    metrics: Metrics,
    /// Both empty between two inputs; kept for their memory.
    out: Vec<Output>,
    performed: Vec<Output>,
}

/// The outputs of an input that only the calling context can perform.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// What becomes of the request or its response, if that changed.
    pub(crate) flow: Option<Flow>,
    /// The calls that the router wanted.
    pub(crate) calls: Vec<Dispatched>,
    /// The length of the body that was put in place of the request's.
    pub(crate) body_bytes: Option<usize>,
    /// The router wants the whole body.
    pub(crate) reads_body: bool,
    /// The router wants the whole body in pieces.
    pub(crate) reads_pieces: bool,
    /// The parts of the response's body to report from now on, if that changed.
    pub(crate) watch: Option<Watch>,
}

/// What becomes of a request or its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It stays where it is.
    Paused,
    /// The request was paused, and goes on.
    Resumed,
    /// The response was paused, and goes on.
    ResponseResumed,
}

/// A call that the router wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dispatched {
    /// The router's name for it.
    pub(crate) id: CallId,
    /// The host's; `None`: it has refused the call.
    pub(crate) token: Option<u32>,
    /// The request that it is for, if that is another one than the input's.
    pub(crate) exchange: Option<ExchangeId>,
}

// === impl Vm ===

impl Vm {
    /// The VM's state for cells of this size, opened at its first use.
    pub(crate) fn of_cells(cell_bytes: usize) -> Rc<Self> {
        VM.with_borrow_mut(|vm| match vm {
            Some(vm) if vm.cell_bytes == cell_bytes => Rc::clone(vm),
            _ => Rc::clone(vm.insert(Rc::new(Self::open(cell_bytes)))),
        })
    }

    fn open(cell_bytes: usize) -> Self {
        let router = Router::new(HostMap, cell_bytes, host::random_bits());
        let state = State { router, metrics: Metrics::new(), out: Vec::new(), performed: Vec::new() };
        Self { cell_bytes, state: RefCell::new(state), held: RefCell::default() }
    }

    /// Gives the router an input and performs what comes out.
    pub(crate) fn handle(&self, input: Input<'_>) -> Done {
        let mut done = Done::default();
        let State { router, metrics, out, performed } = &mut *self.state.borrow_mut();
        let clock = HostClock::default();
        router.handle(&clock, input, out);
        // The request for which the outputs are, if it is another one than the input's.
        let mut entered = None;
        // Opening a stream and sending on it have results, which are inputs again.
        while !out.is_empty() {
            std::mem::swap(out, performed);
            for output in performed.drain(..) {
                if let Output::Recall { exchange } = output {
                    let body = host::whole_request_body();
                    router.handle(&clock, Input::RequestBody { exchange, body: &body }, out);
                    continue;
                }
                if let Some(input) = perform(output, metrics, &mut entered, &mut done) {
                    router.handle(&clock, input, out);
                }
            }
        }
        done
    }

    /// A response is paused.
    pub(crate) fn hold(&self, exchange: ExchangeId) {
        self.held.borrow_mut().insert(exchange, Held::default());
    }

    /// More of a response has come. `false`: it is not paused.
    pub(crate) fn note_held(&self, exchange: ExchangeId, note: impl FnOnce(&mut Held)) -> bool {
        self.held.borrow_mut().get_mut(&exchange).map(note).is_some()
    }

    /// Forgets a paused response. Returns what has come of it.
    pub(crate) fn forget_held(&self, exchange: ExchangeId) -> Option<Held> {
        self.held.borrow_mut().remove(&exchange)
    }

    /// Lets the response of the current context go on, and reports what has come of it meanwhile.
    pub(crate) fn resume_response(&self, exchange: ExchangeId) -> Done {
        host::resume_response();
        match self.forget_held(exchange) {
            Some(Held { bytes, ends }) if bytes > 0 || ends => {
                self.handle(Input::ResponseChunk { exchange, bytes, tail: &[], ends })
            }
            _ => Done::default(),
        }
    }

    /// Whether the router wants the cluster of a request's route.
    pub(crate) fn reads_cluster(&self) -> bool {
        self.state.borrow().router.reads_cluster()
    }

    /// Whether this VM talks to the controller.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn holds_lease(&self) -> bool {
        self.state.borrow().router.holds_lease()
    }

    /// Sends the counters to the host.
    pub(crate) fn flush_metrics(&self) {
        self.state.borrow_mut().metrics.flush();
    }
}

fn perform(
    output: Output,
    metrics: &mut Metrics,
    entered: &mut Option<ExchangeId>,
    done: &mut Done,
) -> Option<Input<'static>> {
    match output {
        // What an entered request consists of is handed over where there is a router to take it.
        Output::Recall { .. } => {}
        Output::Pause => done.flow = Some(Flow::Paused),
        Output::ReadBody => done.reads_body = true,
        Output::ReadPieces => done.reads_pieces = true,
        Output::Watch(watch) => done.watch = Some(watch),
        Output::Enter { exchange } => {
            *entered = Some(exchange);
            host::enter(exchange.0);
        }
        Output::Leave { plugin: PluginId(context) } => {
            *entered = None;
            host::enter(context);
        }
        Output::Probe { exchange } => {
            return Some(Input::Probed { exchange, received_bytes: host::received_bytes() });
        }
        Output::CountAttempts { failed } => {
            return Some(Input::Attempts { attempts: host::attempts(), failed });
        }
        Output::Resume if entered.is_some() => host::resume_request(),
        // How depends on the callback.
        Output::Resume => done.flow = Some(Flow::Resumed),
        Output::ResumeResponse => done.flow = Some(Flow::ResponseResumed),
        Output::Call(call) => {
            let (id, token) = (call.id, host::call(&call));
            done.calls.push(Dispatched { id, token, exchange: *entered });
        }
        Output::SetRequestHeader(name, value) => host::set_request_header(name, &value),
        Output::RemoveRequestHeader(name) => host::remove_request_header(name),
        Output::SetRequestBody { old_bytes, body } => {
            host::set_request_body(old_bytes, &body);
            done.body_bytes = Some(body.len());
        }
        Output::SetProperty(name, value) => host::set_property(name, &value),
        Output::SetResponseHeader(name, value) => host::set_response_header(name, &value),
        Output::Reply(reply) => {
            host::reply(&reply);
            done.flow = Some(Flow::Paused);
        }
        Output::OpenUplink { cluster, token } => {
            let uplink = host::open_stream(&cluster, (STREAM_SERVICE, STREAM_METHOD), token.as_ref());
            let uplink = uplink.map(UplinkId);
            if uplink.is_none() {
                warn!("controller: cluster `{cluster}` does not exist or has no endpoint");
            }
            return Some(Input::UplinkOpened { uplink });
        }
        Output::SendUplink { uplink, message } => {
            return (!host::send_on_stream(uplink.0, &message)).then_some(Input::UplinkClosed { uplink });
        }
        Output::CancelUplink { uplink } => host::cancel_stream(uplink.0),
        Output::WakeIn(ms) => host::set_tick_period(ms),
        Output::Count(counter, by) => metrics.add(counter, by),
        Output::CountInPool(pool, counter) => metrics.add_in_pool(&pool, counter),
        Output::Show(gauge, value) => metrics.show(gauge, value),
        Output::Record(histogram, value) => metrics.record(histogram, value),
        Output::Notice(notice) if notice.is_warning() => warn!("{notice}"),
        Output::Notice(notice) => info!("{notice}"),
    }
    None
}
