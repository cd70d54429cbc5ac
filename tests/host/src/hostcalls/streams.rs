//! Continue, close, local response. Each takes effect when the callback has returned.

use crate::abi::{Direction, Status};
use crate::guest::{Guest, Reply};
use crate::headers::Headers;
use crate::stream::LocalReply;
use crate::vm::Deferred;

/// The gRPC codes that Envoy knows; the SDK sends -1 for "none".
const GRPC_STATUS_MAX: u32 = 16;

/// `WasmStreamType`: request, response, downstream, upstream.
const STREAM_DOWNSTREAM: u32 = 2;
const STREAM_UPSTREAM: u32 = 3;

/// Whichever direction goes on, the request's maps and body are out of reach from here on: Envoy clears
/// them in both cases.
pub(super) fn continue_stream(guest: &mut Guest<'_>, kind: u32) -> Reply {
    let Some(direction) = Direction::from_abi(kind) else {
        return match kind {
            STREAM_DOWNSTREAM => Ok(()),
            STREAM_UPSTREAM => Err(Status::Unimplemented.into()),
            _ => Err(Status::BadArgument.into()),
        };
    };
    let state = guest.state();
    let id = state.acting();
    if let Some(stream) = state.stream(id) {
        stream.request.headers_open = false;
        stream.request.trailers_open = false;
        state.deferred.push_back(Deferred::Continue(id, direction));
    }
    Ok(())
}

pub(super) fn close_stream(guest: &mut Guest<'_>, kind: u32) -> Reply {
    if kind > STREAM_UPSTREAM {
        return Err(Status::BadArgument.into());
    }
    let state = guest.state();
    let id = state.acting();
    if state.stream(id).is_some() && Direction::from_abi(kind).is_some() {
        state.deferred.push_back(Deferred::Reset(id));
    }
    Ok(())
}

/// Whatever the callback returns after this, nothing goes on. Without a stream it is Ok, and nothing.
#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
pub(super) fn send_local_response(
    guest: &mut Guest<'_>,
    code: u32,
    details: u32,
    details_len: u32,
    body: u32,
    body_len: u32,
    headers: u32,
    headers_len: u32,
    grpc_status: u32,
) -> Reply {
    let reply = LocalReply {
        status: code,
        details: guest.read_text(details, details_len)?,
        headers: Headers::from_abi(&guest.read(headers, headers_len)?),
        body: guest.read(body, body_len)?,
        grpc_status: (grpc_status <= GRPC_STATUS_MAX).then_some(grpc_status),
    };
    let state = guest.state();
    let id = state.acting();
    if state.stream(id).is_some() {
        state.deferred.push_back(Deferred::LocalReply(id, reply));
    }
    state.stop_iteration = true;
    Ok(())
}
