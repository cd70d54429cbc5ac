//! What hostcalls see of their VM: it lives inside the wasmtime store, because an import gets nothing else.

use crate::abi::{Direction, Status};
use crate::callouts::Callouts;
use crate::guest::Counts;
use crate::headers::Headers;
use crate::metrics::MetricKey;
use crate::process::Process;
use crate::stream::{LocalReply, StreamState};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use wasmtime::{Memory, TypedFunc};

/// A call of the guest whose behaviour in Envoy is undefined. The host refuses it instead; a test
/// that ends with any of these has found a bug that Envoy may or may not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// `proxy_get_buffer_bytes` with a start beyond the end: Envoy computes a negative length.
    BufferStartBeyondEnd,
    /// `proxy_get_buffer_bytes` or `proxy_set_buffer_bytes` on the body of a request that was paused and has been resumed:
    /// Envoy looks into a buffer that it has given away.
    BodyAfterResume,
    /// `proxy_set_buffer_bytes` on a body that does not exist: Envoy returns Ok and drops it.
    BodyEditOutsideBody,
    /// `proxy_grpc_send` on a stream that the upstream has closed: Envoy uses a freed stream.
    SendOnClosedStream,
    /// `proxy_grpc_send` after the guest closed its side: Envoy asserts.
    SendAfterEnd,
}

/// What the guest asked for that Envoy does when the callback has returned.
pub(crate) enum Deferred {
    Continue(u32, Direction),
    LocalReply(u32, LocalReply),
    Reset(u32),
    Delete(u32),
}

/// A root context: one plugin configuration in this VM.
#[derive(Default)]
pub(crate) struct RootState {
    pub(crate) configuration: Vec<u8>,
    /// 0: no ticks.
    pub(crate) tick_period_ms: u32,
    /// Its configuration is gone; it may call `proxy_done` when it is ready.
    pub(crate) retiring: bool,
}

pub(crate) enum Context {
    Root(RootState),
    Stream(Box<StreamState>),
}

/// The callout event that is being delivered.
#[derive(Default)]
pub(crate) struct Delivery {
    pub(crate) grpc_message: Option<Vec<u8>>,
    pub(crate) grpc_initial_metadata: Option<Headers>,
    pub(crate) grpc_trailing_metadata: Option<Headers>,
    pub(crate) http_headers: Option<Headers>,
    pub(crate) http_body: Option<Vec<u8>>,
    pub(crate) http_trailers: Option<Headers>,
    pub(crate) status: (u32, Vec<u8>),
    /// Readable while a root context is created and configured, at no other time.
    pub(crate) plugin_configuration: Option<Vec<u8>>,
}

pub(crate) struct VmState {
    pub(crate) process: Rc<RefCell<Process>>,
    pub(crate) worker: u32,
    pub(crate) memory: Option<Memory>,
    pub(crate) allocate: Option<TypedFunc<u32, u32>>,
    pub(crate) counts: Counts,
    pub(crate) contexts: BTreeMap<u32, Context>,
    /// The context whose callback runs.
    pub(crate) current: u32,
    /// The context that hostcalls act for, where the guest chose another one. 0: none.
    pub(crate) effective: u32,
    pub(crate) deferred: VecDeque<Deferred>,
    /// A local response was asked for: whatever the callback returns, nothing goes on.
    pub(crate) stop_iteration: bool,
    pub(crate) callouts: Callouts,
    pub(crate) delivery: Delivery,
    pub(crate) metric_ids: BTreeMap<u32, MetricKey>,
    pub(crate) violations: Vec<Violation>,
    next_context: u32,
}

// === impl VmState ===

impl VmState {
    pub(crate) fn new(process: Rc<RefCell<Process>>, worker: u32) -> Self {
        Self {
            process,
            worker,
            memory: None,
            allocate: None,
            counts: Counts::default(),
            contexts: BTreeMap::new(),
            current: 0,
            effective: 0,
            deferred: VecDeque::new(),
            stop_iteration: false,
            callouts: Callouts::default(),
            delivery: Delivery::default(),
            metric_ids: BTreeMap::new(),
            violations: Vec::new(),
            next_context: 1,
        }
    }

    pub(crate) fn add_context(&mut self, context: Context) -> u32 {
        let id = self.next_context;
        self.next_context += 1;
        self.contexts.insert(id, context);
        id
    }

    /// The context that a hostcall acts for.
    pub(crate) fn acting(&self) -> u32 {
        if self.contexts.contains_key(&self.effective) { self.effective } else { self.current }
    }

    /// The root of the context that a hostcall acts for.
    pub(crate) fn acting_root(&self) -> u32 {
        match self.contexts.get(&self.acting()) {
            Some(Context::Stream(stream)) => stream.root,
            _ => self.acting(),
        }
    }

    pub(crate) fn acting_stream(&mut self) -> Option<&mut StreamState> {
        let id = self.acting();
        self.stream(id)
    }

    pub(crate) fn stream(&mut self, id: u32) -> Option<&mut StreamState> {
        match self.contexts.get_mut(&id) {
            Some(Context::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    pub(crate) fn root(&mut self, id: u32) -> Option<&mut RootState> {
        match self.contexts.get_mut(&id) {
            Some(Context::Root(root)) => Some(root),
            _ => None,
        }
    }

    pub(crate) fn roots(&self) -> impl DoubleEndedIterator<Item = (u32, &RootState)> {
        self.contexts.iter().filter_map(|(id, context)| match context {
            Context::Root(root) => Some((*id, root)),
            Context::Stream(_) => None,
        })
    }

    pub(crate) fn refuse(&mut self, violation: Violation, status: Status) -> Status {
        self.violations.push(violation);
        status
    }
}
