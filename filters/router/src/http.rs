//! One HTTP stream: Envoy's callbacks as the router's inputs.
//!
//! The filter must stop at the headers (`allow_on_headers_stop_iteration`), or Envoy would pick a host before the body
//! has arrived.

use crate::host;
use crate::vm::{Dispatched, Flow, Held, Vm};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use std::rc::Rc;
use warmpath_core::body::PIECE_BYTES;
use warmpath_core::router::{CallId, Called, ExchangeId, Input, PluginId, Watch};

/// One HTTP stream.
pub(crate) struct Http {
    vm: Option<Rc<Vm>>,
    plugin: PluginId,
    id: ExchangeId,
    buffered_bytes: usize,
    watch: Watch,
    /// Calls for this stream, by the host's tokens.
    calls: Vec<(u32, CallId)>,
    /// Whether its response was paused. Where a call of a tick has let it go on, only the VM knows.
    was_held: bool,
}

// === impl Http ===

impl Http {
    /// A stream of a plugin; without a VM's state, one that is left alone.
    pub(crate) fn new(vm: Option<Rc<Vm>>, plugin: PluginId, id: ExchangeId) -> Self {
        let (buffered_bytes, watch, calls) = (0, Watch::default(), Vec::new());
        Self { vm, plugin, id, buffered_bytes, watch, calls, was_held: false }
    }

    /// Gives the router an input, and what it asks for then; `None`: the request does what it did before.
    fn handle(&mut self, input: Input<'_>) -> Option<Flow> {
        let done = self.vm.as_ref()?.handle(input);
        self.watch = done.watch.unwrap_or(self.watch);
        self.buffered_bytes = done.body_bytes.unwrap_or(self.buffered_bytes);
        let mut then = None;
        for Dispatched { id, token, .. } in done.calls {
            if let Some(token) = token {
                self.calls.push((token, id));
            } else {
                // A host that reaches nobody says so at once. The router then calls another endpoint, of which it has few, or none.
                let refused = Input::Called { exchange: self.id, call: id, response: None };
                then = self.handle(refused).or(then);
            }
        }
        let read = if done.reads_body {
            let body = host::request_body(0, self.buffered_bytes);
            self.handle(Input::RequestBody { exchange: self.id, body: &body })
        } else if done.reads_pieces {
            self.hand_over_pieces()
        } else {
            None
        };
        read.or(then).or(done.flow)
    }

    /// A large body is never copied whole: a wasm module keeps the memory that it once had.
    fn hand_over_pieces(&mut self) -> Option<Flow> {
        let mut start = 0;
        loop {
            let piece = host::request_body(start, PIECE_BYTES.min(self.buffered_bytes - start));
            start += piece.len();
            let ends = start >= self.buffered_bytes || piece.is_empty();
            let flow = self.handle(Input::RequestPiece { exchange: self.id, piece: &piece, ends });
            if ends {
                return flow;
            }
        }
    }

    /// The same in a callback whose result says where the stream goes.
    fn act(&mut self, input: Input<'_>) -> Action {
        if self.handle(input) == Some(Flow::Paused) { Action::Pause } else { Action::Continue }
    }

    fn resume_response(&mut self) {
        if let Some(vm) = &self.vm {
            let done = vm.resume_response(self.id);
            self.watch = done.watch.unwrap_or(self.watch);
        }
    }

    /// Takes note of more of a response that is paused. `false`: it is not.
    fn stays_held(&mut self, note: impl FnOnce(&mut Held)) -> bool {
        self.was_held = self.was_held && self.vm.as_ref().is_some_and(|vm| vm.note_held(self.id, note));
        self.was_held
    }

    fn request_data(&mut self, ends: bool) -> Action {
        self.act(Input::RequestData { exchange: self.id, buffered_bytes: self.buffered_bytes, ends })
    }
}

impl Context for Http {
    /// A call of this stream has ended; of one that is gone, the SDK drops it.
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _trailers: usize) {
        let Some(at) = self.calls.iter().position(|(other, _)| *other == token) else { return };
        let (_, call) = self.calls.swap_remove(at);
        let response = host::call_response(headers, body_size);
        let response = response.as_ref().map(|(status, body)| Called { status: *status, body });
        match self.handle(Input::Called { exchange: self.id, call, response }) {
            Some(Flow::Resumed) => host::resume_request(),
            Some(Flow::ResponseResumed) => self.resume_response(),
            Some(Flow::Paused) | None => {}
        }
    }
}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let headers = host::request_headers();
        #[cfg(feature = "fault-injection")]
        crate::fault::on_headers(&headers);
        let (exchange, plugin, ends) = (self.id, self.plugin, end_of_stream);
        let reads_cluster = self.vm.as_ref().is_some_and(|vm| vm.reads_cluster());
        let cluster = if reads_cluster { host::route_cluster() } else { None };
        self.act(Input::RequestHead {
            exchange,
            plugin,
            headers: &headers,
            cluster: cluster.as_deref(),
            ends,
        })
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.buffered_bytes = size;
        self.request_data(end_of_stream)
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        // Trailers end a body that has no end of its own.
        self.request_data(true)
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let Some(vm) = self.vm.clone() else { return Action::Continue };
        let (headers, served_by) = (host::response_headers(), host::upstream_address());
        let status = headers.iter().find(|(name, _)| name == ":status");
        let action = self.act(Input::ResponseHead {
            exchange: self.id,
            status: status.and_then(|(_, status)| std::str::from_utf8(status).ok()?.parse().ok()),
            headers: &headers,
            served_by: served_by.as_deref(),
            ends: end_of_stream,
        });
        // Envoy takes `Continue` of a later piece for that of the headers.
        self.was_held = action == Action::Pause;
        if self.was_held {
            vm.hold(self.id);
        }
        action
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if self.stays_held(|held| (held.bytes, held.ends) = (size, end_of_stream)) {
            return Action::Pause;
        }
        // Of a long stream nearly every call does no more than this: no hostcall, no memory.
        let tail_bytes = match self.watch {
            Watch::End if !end_of_stream => return Action::Continue,
            Watch::FirstByte if size == 0 && !end_of_stream => return Action::Continue,
            Watch::End | Watch::FirstByte => 0,
            Watch::Tail(bytes) => bytes.min(size),
            Watch::Whole => size,
        };
        let tail =
            if tail_bytes == 0 { Vec::new() } else { host::response_body(size - tail_bytes, tail_bytes) };
        self.act(Input::ResponseChunk { exchange: self.id, bytes: size, tail: &tail, ends: end_of_stream })
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        if self.stays_held(|held| held.ends = true) {
            return Action::Pause;
        }
        self.act(Input::ResponseChunk { exchange: self.id, bytes: 0, tail: &[], ends: true })
    }
}

impl Drop for Http {
    /// The end of the stream, however it came. The SDK drops what the host deletes, and the host deletes every stream;
    /// `on_log` comes a moment before and adds nothing.
    fn drop(&mut self) {
        if let Some(vm) = self.vm.as_ref().filter(|_| self.was_held) {
            vm.forget_held(self.id);
        }
        self.handle(Input::Ended { exchange: self.id });
    }
}
