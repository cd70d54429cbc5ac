//! `proxy_get_buffer_bytes`, `proxy_set_buffer_bytes`.

use crate::abi::{BufferKind, Status};
use crate::guest::{Guest, Reply};
use crate::stream::edit;
use crate::vm::{Violation, VmState};

/// Copies `max` bytes from `start`, or as many as there are. No bytes at all is Ok, and nothing written.
pub(super) fn get(guest: &mut Guest<'_>, kind: u32, start: u32, max: u32, out: u32, out_len: u32) -> Reply {
    let kind = BufferKind::from_abi(kind).ok_or(Status::BadArgument)?;
    let state = guest.state();
    check_reach(state, kind)?;
    let Some(buffer) = find(state, kind) else {
        return Err(Status::NotFound.into());
    };
    let start = start as usize;
    let end = start.saturating_add(max as usize).min(buffer.len());
    let Some(bytes) = buffer.get(start..end) else {
        return Err(state.refuse(Violation::BufferStartBeyondEnd, Status::BadArgument).into());
    };
    if bytes.is_empty() { Ok(()) } else { guest.give(bytes, out, out_len) }
}

/// Prepends to a body, replaces all of it, or appends to it. Only bodies that go through can be changed.
pub(super) fn set(guest: &mut Guest<'_>, kind: u32, start: u32, len: u32, at: u32, at_len: u32) -> Reply {
    let kind = BufferKind::from_abi(kind).ok_or(Status::BadArgument)?;
    let bytes = guest.read(at, at_len)?;
    let state = guest.state();
    check_reach(state, kind)?;
    let Some(stream) = state.acting_stream() else {
        return Err(Status::BadArgument.into());
    };
    let window = match kind {
        BufferKind::RequestBody => stream.request.window(),
        BufferKind::ResponseBody => stream.response.window(),
        _ => return Err(Status::BadArgument.into()),
    };
    let Some(window) = window else {
        return Err(state.refuse(Violation::BodyEditOutsideBody, Status::BadArgument).into());
    };
    if edit(window, start as usize, len as usize, &bytes) { Ok(()) } else { Err(Status::BadArgument.into()) }
}

/// Refuses the body of a direction that was resumed.
fn check_reach(state: &mut VmState, kind: BufferKind) -> Result<(), Status> {
    let out_of_reach = state.acting_stream().is_some_and(|stream| match kind {
        BufferKind::RequestBody => stream.request.is_out_of_reach(),
        BufferKind::ResponseBody => stream.response.is_out_of_reach(),
        _ => false,
    });
    if out_of_reach { Err(state.refuse(Violation::BodyAfterResume, Status::BadArgument)) } else { Ok(()) }
}

/// `None` is a buffer that does not exist now; a body outside its callbacks is an empty one.
fn find(state: &mut VmState, kind: BufferKind) -> Option<Vec<u8>> {
    match kind {
        BufferKind::RequestBody => Some(body(state, |stream| stream.request.window().cloned())),
        BufferKind::ResponseBody => Some(body(state, |stream| stream.response.window().cloned())),
        BufferKind::HttpCallBody => state.delivery.http_body.clone(),
        BufferKind::GrpcMessage => Some(state.delivery.grpc_message.clone().unwrap_or_default()),
        BufferKind::VmConfiguration => Some(state.process.borrow().options.vm_configuration.clone()),
        BufferKind::PluginConfiguration => state.delivery.plugin_configuration.clone(),
    }
}

fn body(
    state: &mut VmState,
    window: impl FnOnce(&mut crate::stream::StreamState) -> Option<Vec<u8>>,
) -> Vec<u8> {
    state.acting_stream().and_then(window).unwrap_or_default()
}
