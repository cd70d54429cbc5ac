//! The other end of the guest's callouts: the test plays the gRPC server and the HTTP upstream.
//!
//! Each of these returns false, and calls nothing, where Envoy would have nothing to call: the stream was cancelled, or
//! the call has its response.

use crate::callouts::{GrpcState, GrpcStream, HttpCall, HttpCallState};
use crate::error::Outcome;
use crate::headers::Headers;
use crate::vm::{Core, Vm};

/// `WasmResult::BrokenConnection`, which `proxy_get_status` gives after a failed HTTP call.
const STATUS_BROKEN_CONNECTION: u32 = 11;

// === impl Vm ===

impl Vm {
    /// Every gRPC stream that the guest has opened, oldest first, finished ones too.
    pub fn grpc_streams(&self) -> Vec<GrpcStream> {
        let mut core = self.core.borrow_mut();
        core.state().callouts.grpc.values().map(|stream| stream.record.clone()).collect()
    }

    /// The server's initial metadata arrives.
    pub fn grpc_initial_metadata(&self, id: u32, metadata: &[(&str, &str)]) -> Outcome<bool> {
        let mut core = self.core.borrow_mut();
        let Some(root) = core.open_grpc_root(id) else { return Ok(false) };
        core.state().delivery.grpc_initial_metadata = Some(Headers::from(metadata));
        let count = metadata.len() as u32;
        let delivered = core.notify(root, "proxy_on_grpc_receive_initial_metadata", (root, id, count));
        core.state().delivery.grpc_initial_metadata = None;
        delivered.map(|()| true)
    }

    /// A message arrives.
    pub fn grpc_message(&self, id: u32, message: &[u8]) -> Outcome<bool> {
        let mut core = self.core.borrow_mut();
        let Some(root) = core.open_grpc_root(id) else { return Ok(false) };
        core.state().delivery.grpc_message = Some(message.to_vec());
        let delivered = core.notify(root, "proxy_on_grpc_receive", (root, id, message.len() as u32));
        core.state().delivery.grpc_message = None;
        delivered.map(|()| true)
    }

    /// The server's trailing metadata arrives.
    pub fn grpc_trailing_metadata(&self, id: u32, metadata: &[(&str, &str)]) -> Outcome<bool> {
        let mut core = self.core.borrow_mut();
        let Some(root) = core.open_grpc_root(id) else { return Ok(false) };
        core.state().delivery.grpc_trailing_metadata = Some(Headers::from(metadata));
        let count = metadata.len() as u32;
        let delivered = core.notify(root, "proxy_on_grpc_receive_trailing_metadata", (root, id, count));
        core.state().delivery.grpc_trailing_metadata = None;
        delivered.map(|()| true)
    }

    /// The stream ends, with a gRPC status code and its message.
    pub fn grpc_close(&self, id: u32, status: u32, message: &str) -> Outcome<bool> {
        let mut core = self.core.borrow_mut();
        let Some(root) = core.open_grpc_root(id) else { return Ok(false) };
        let state = core.state();
        if let Some(stream) = state.callouts.grpc.get_mut(&id) {
            stream.record.state = GrpcState::Closed(status);
        }
        state.delivery.status = (status, message.as_bytes().to_vec());
        let delivered = core.notify(root, "proxy_on_grpc_close", (root, id, status));
        core.state().delivery.status.1.clear();
        delivered.map(|()| true)
    }

    /// Every HTTP call that the guest has dispatched, oldest first, finished ones too.
    pub fn http_calls(&self) -> Vec<HttpCall> {
        let mut core = self.core.borrow_mut();
        core.state().callouts.http.values().map(|call| call.record.clone()).collect()
    }

    /// The upstream's whole response arrives.
    pub fn http_respond(
        &self,
        id: u32,
        headers: &[(&str, &str)],
        body: &[u8],
        trailers: &[(&str, &str)],
    ) -> Outcome<bool> {
        let mut core = self.core.borrow_mut();
        let Some(root) = core.pending_http_root(id) else { return Ok(false) };
        let delivery = &mut core.state().delivery;
        delivery.http_headers = Some(Headers::from(headers));
        delivery.http_body = Some(body.to_vec());
        delivery.http_trailers = (!trailers.is_empty()).then(|| Headers::from(trailers));
        let sizes = (headers.len() as u32, body.len() as u32, trailers.len() as u32);
        core.finish_http(root, id, sizes).map(|()| true)
    }

    /// The call fails: a reset, a time-out, a response beyond the buffer. The guest sees no headers.
    pub fn http_fail(&self, id: u32) -> Outcome<bool> {
        let mut core = self.core.borrow_mut();
        let Some(root) = core.pending_http_root(id) else { return Ok(false) };
        core.state().delivery.status = (STATUS_BROKEN_CONNECTION, b"reset".to_vec());
        core.finish_http(root, id, (0, 0, 0)).map(|()| true)
    }
}

// === impl Core ===

impl Core {
    fn open_grpc_root(&mut self, id: u32) -> Option<u32> {
        let stream = self.state().callouts.grpc.get(&id)?;
        (stream.record.state == GrpcState::Open).then_some(stream.root)
    }

    fn pending_http_root(&mut self, id: u32) -> Option<u32> {
        let call = self.state().callouts.http.get(&id)?;
        (call.record.state == HttpCallState::Pending).then_some(call.root)
    }

    fn finish_http(&mut self, root: u32, id: u32, sizes: (u32, u32, u32)) -> Outcome<()> {
        if let Some(call) = self.state().callouts.http.get_mut(&id) {
            call.record.state = HttpCallState::Done;
        }
        let delivered =
            self.notify(root, "proxy_on_http_call_response", (root, id, sizes.0, sizes.1, sizes.2));
        let delivery = &mut self.state().delivery;
        delivery.http_headers = None;
        delivery.http_body = None;
        delivery.http_trailers = None;
        delivery.status.1.clear();
        delivered
    }
}
