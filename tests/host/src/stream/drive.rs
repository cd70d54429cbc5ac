//! Drives a stream through the filter: each arrival, the callback that it causes, and the effect of the action.

use crate::abi::{Action, Direction};
use crate::error::Outcome;
use crate::headers::Headers;
use crate::stream::flow::Hold;
use crate::vm::Core;

/// Any result but 0 pauses: the SDK knows only 0 and 1.
fn action(result: Option<u32>) -> Action {
    if result.unwrap_or(0) == 0 { Action::Continue } else { Action::Pause }
}

// === impl Core ===

impl Core {
    pub(crate) fn headers(
        &mut self,
        id: u32,
        direction: Direction,
        headers: Headers,
        end: bool,
    ) -> Outcome<Action> {
        let export = Self::export(direction, "proxy_on_request_headers", "proxy_on_response_headers");
        let count = headers.len() as u32;
        let Some(stream) = self.state().stream(id).filter(|stream| !stream.is_over()) else {
            return Ok(Action::Pause);
        };
        let flow = stream.flow(direction);
        flow.headers = Some(headers);
        flow.headers_open = true;
        flow.ended = end;
        let action = self.ask(id, export, (id, count, u32::from(end)))?;
        let stop_iteration_allowed = self.state().process.borrow().options.allow_on_headers_stop_iteration;
        if let Some(stream) = self.state().stream(id) {
            let flow = stream.flow(direction);
            match action {
                Action::Continue => flow.release(),
                Action::Pause if stop_iteration_allowed => flow.hold = Hold::Here,
                Action::Pause => flow.hold = Hold::Before,
            }
        }
        self.settle()?;
        Ok(action)
    }

    /// A piece of a body comes from the peer.
    pub(crate) fn body(
        &mut self,
        id: u32,
        direction: Direction,
        piece: Vec<u8>,
        end: bool,
    ) -> Outcome<Action> {
        if let Some(stream) = self.state().stream(id) {
            stream.flow(direction).received_bytes += piece.len();
        }
        self.reach(id, direction, piece, end)
    }

    /// It reaches the filter, unless that is paused before it.
    fn reach(&mut self, id: u32, direction: Direction, piece: Vec<u8>, end: bool) -> Outcome<Action> {
        let Some(stream) = self.state().stream(id).filter(|stream| !stream.is_over()) else {
            return Ok(Action::Pause);
        };
        let flow = stream.flow(direction);
        flow.ended = end;
        if flow.hold == Hold::Before {
            // Back-pressure instead of a limit: Envoy stops reading from the peer.
            flow.held.extend(piece);
            return Ok(Action::Pause);
        }
        if flow.buffering {
            flow.held.extend(piece);
            flow.piece = Some(Vec::new());
            if self.enforce_limit(id, direction)? {
                return Ok(Action::Pause);
            }
        } else {
            flow.piece = Some(piece);
        }
        self.body_callback(id, direction, end)
    }

    fn body_callback(&mut self, id: u32, direction: Direction, end: bool) -> Outcome<Action> {
        let export = Self::export(direction, "proxy_on_request_body", "proxy_on_response_body");
        let len = self
            .state()
            .stream(id)
            .and_then(|stream| stream.flow(direction).window())
            .map_or(0, |window| window.len() as u32);
        let action = self.ask(id, export, (id, len, u32::from(end)))?;
        let replying = self.state().stop_iteration;
        if let Some(stream) = self.state().stream(id) {
            let flow = stream.flow(direction);
            match action {
                Action::Continue => flow.release(),
                // StopIterationNoBuffer: the local reply makes the piece worthless.
                Action::Pause if replying => flow.piece = None,
                Action::Pause => flow.keep_piece(),
            }
        }
        self.enforce_limit(id, direction)?;
        self.settle()?;
        Ok(action)
    }

    pub(crate) fn trailers(&mut self, id: u32, direction: Direction, trailers: Headers) -> Outcome<Action> {
        let export = Self::export(direction, "proxy_on_request_trailers", "proxy_on_response_trailers");
        let count = trailers.len() as u32;
        let Some(stream) = self.state().stream(id).filter(|stream| !stream.is_over()) else {
            return Ok(Action::Pause);
        };
        let flow = stream.flow(direction);
        flow.trailers = Some(trailers);
        flow.ended = true;
        if flow.hold == Hold::Before {
            return Ok(Action::Pause);
        }
        flow.trailers_open = true;
        let action = self.ask(id, export, (id, count))?;
        if let Some(stream) = self.state().stream(id) {
            match action {
                Action::Continue => stream.flow(direction).release(),
                Action::Pause => stream.flow(direction).hold = Hold::Here,
            }
        }
        self.settle()?;
        Ok(action)
    }

    /// Runs a callback that returns an action. A trap fails the stream as `FAIL_CLOSED` and
    /// `FAIL_RELOAD` do: an empty 503 which the filter does not see.
    fn ask<A: wasmtime::WasmParams>(
        &mut self,
        id: u32,
        export: &'static str,
        arguments: A,
    ) -> Outcome<Action> {
        match self.call(id, export, arguments) {
            Ok(_) if self.state().stop_iteration => Ok(Action::Pause),
            Ok(result) => Ok(action(result)),
            Err(trap) => {
                self.fail_stream(id);
                Err(trap)
            }
        }
    }

    /// `proxy_continue_stream`, once the callback that asked for it has returned.
    pub(crate) fn resume(&mut self, id: u32, direction: Direction) -> Outcome<()> {
        let Some(stream) = self.state().stream(id).filter(|stream| !stream.is_over()) else {
            return Ok(());
        };
        let flow = stream.flow(direction);
        flow.resumed |= flow.buffering;
        if flow.hold != Hold::Before {
            flow.release();
            return Ok(());
        }
        // The body and the trailers have not been seen yet: they arrive now.
        let (held, ended, trailers) = (std::mem::take(&mut flow.held), flow.ended, flow.trailers.take());
        flow.release();
        if !held.is_empty() {
            self.reach(id, direction, held, ended && trailers.is_none())?;
        }
        if let Some(trailers) = trailers {
            self.trailers(id, direction, trailers)?;
        }
        Ok(())
    }
}
