//! A stream's context as the hostcalls see it.

use crate::abi::Direction;
use crate::headers::Headers;
use crate::process::PropertyPath;
use crate::stream::flow::Flow;
use std::collections::BTreeMap;

/// A response that did not come from the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalResponse {
    /// HTTP status.
    pub status: u32,
    /// Response headers, after the filter's own response callbacks.
    pub headers: Headers,
    /// Response body, after the filter's own response callbacks.
    pub body: Vec<u8>,
    /// The response code details: the guest's, or Envoy's own for a response of the host.
    pub details: String,
    /// The gRPC status, where the guest gave one.
    pub grpc_status: Option<u32>,
}

/// A local response as the guest requested it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalReply {
    pub(crate) status: u32,
    pub(crate) details: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    pub(crate) grpc_status: Option<u32>,
}

#[derive(Default)]
pub(crate) struct StreamState {
    pub(crate) root: u32,
    pub(crate) request: Flow,
    pub(crate) response: Flow,
    pub(crate) properties: BTreeMap<PropertyPath, Vec<u8>>,
    pub(crate) local_response: Option<LocalResponse>,
    pub(crate) reset: bool,
    /// While `on_log` runs, every header map is readable and none can be changed.
    pub(crate) log_phase: bool,
}

// === impl StreamState ===

impl StreamState {
    pub(crate) fn flow(&mut self, direction: Direction) -> &mut Flow {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }

    /// Nothing that arrives reaches the filter any more.
    pub(crate) fn is_over(&self) -> bool {
        self.reset || self.local_response.is_some()
    }
}
