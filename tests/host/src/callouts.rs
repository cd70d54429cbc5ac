//! HTTP calls and gRPC streams that a VM has opened: the guest's requests and their states.
//!
//! The test is the other end: it reads these records and responds through the `Vm`.

use crate::headers::Headers;
use std::collections::BTreeMap;

/// The low two bits of an id encode its kind; ids of one kind are four apart
/// (`proxy-wasm-cpp-host`, `include/proxy-wasm/wasm.h`, `CalloutType`).
const KIND_MASK: u32 = 0b11;
const ID_STEP: u32 = 4;
const KIND_HTTP_CALL: u32 = 0;
const KIND_GRPC_STREAM: u32 = 2;

/// A gRPC stream, from the guest's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcStream {
    /// The id that the guest was given.
    pub id: u32,
    /// The upstream as the guest named it: a cluster's name, or a serialized `envoy.config.core.v3.GrpcService`.
    pub upstream: Vec<u8>,
    /// Fully qualified service.
    pub service: String,
    /// Method of the service.
    pub method: String,
    /// Initial metadata that the guest sent.
    pub initial_metadata: Headers,
    /// Messages that the guest sent, oldest first.
    pub sent: Vec<Vec<u8>>,
    /// The guest has closed its side.
    pub local_end: bool,
    /// The state of the stream.
    pub state: GrpcState,
}

/// The state of a gRPC stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcState {
    /// Messages may come.
    Open,
    /// The upstream ended it with this gRPC status.
    Closed(u32),
    /// The guest reset it, or the root context that owned it is gone. Nothing comes any more.
    Cancelled,
}

/// An HTTP call that the guest has dispatched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCall {
    /// The token that the guest was given.
    pub id: u32,
    /// The cluster.
    pub cluster: String,
    /// Request headers, with the `content-length` that Envoy adds.
    pub headers: Headers,
    /// Request body.
    pub body: Vec<u8>,
    /// Request trailers.
    pub trailers: Headers,
    /// The guest's time limit in milliseconds; 0 is none.
    pub timeout_ms: u32,
    /// The state of the call.
    pub state: HttpCallState,
}

/// The state of an HTTP call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpCallState {
    /// No response yet.
    Pending,
    /// The guest got a response or a failure.
    Done,
    /// The root context that owned it is gone.
    Cancelled,
}

/// A record and the root context that owns it.
pub(crate) struct Owned<T> {
    pub(crate) root: u32,
    pub(crate) record: T,
}

/// Every callout of one VM, finished ones too.
#[derive(Default)]
pub(crate) struct Callouts {
    pub(crate) grpc: BTreeMap<u32, Owned<GrpcStream>>,
    pub(crate) http: BTreeMap<u32, Owned<HttpCall>>,
    issued: u32,
}

// === impl Callouts ===

impl Callouts {
    pub(crate) fn next_grpc_id(&mut self) -> u32 {
        self.next_id(KIND_GRPC_STREAM)
    }

    pub(crate) fn next_http_id(&mut self) -> u32 {
        self.next_id(KIND_HTTP_CALL)
    }

    pub(crate) fn is_grpc_stream(id: u32) -> bool {
        id & KIND_MASK == KIND_GRPC_STREAM
    }

    pub(crate) fn cancel_all_of(&mut self, root: u32) {
        for stream in self.grpc.values_mut().filter(|stream| stream.root == root) {
            if stream.record.state == GrpcState::Open {
                stream.record.state = GrpcState::Cancelled;
            }
        }
        for call in self.http.values_mut().filter(|call| call.root == root) {
            if call.record.state == HttpCallState::Pending {
                call.record.state = HttpCallState::Cancelled;
            }
        }
    }

    fn next_id(&mut self, kind: u32) -> u32 {
        self.issued += ID_STEP;
        self.issued | kind
    }
}
