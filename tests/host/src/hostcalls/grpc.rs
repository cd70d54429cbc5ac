//! gRPC streams. They belong to the root context, whichever context opens them.

use crate::abi::Status;
use crate::callouts::{Callouts, GrpcState, GrpcStream, Owned};
use crate::guest::{Guest, Reply};
use crate::headers::Headers;
use crate::process::Cluster;
use crate::vm::Violation;

/// Unary calls are not supported: the project does not use them, and a guest that makes one gets an error.
#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
pub(super) fn call(
    _guest: &mut Guest<'_>,
    _upstream: u32,
    _upstream_len: u32,
    _service: u32,
    _service_len: u32,
    _method: u32,
    _method_len: u32,
    _metadata: u32,
    _metadata_len: u32,
    _message: u32,
    _message_len: u32,
    _timeout_ms: u32,
    _out: u32,
) -> Reply {
    Err(Status::InternalFailure.into())
}

/// Opens a stream. As for Envoy, the upstream is a serialized `GrpcService` or, where it cannot be parsed as one, a
/// cluster's name.
#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
pub(super) fn open(
    guest: &mut Guest<'_>,
    upstream: u32,
    upstream_len: u32,
    service: u32,
    service_len: u32,
    method: u32,
    method_len: u32,
    metadata: u32,
    metadata_len: u32,
    out: u32,
) -> Reply {
    let upstream = guest.read(upstream, upstream_len)?;
    let service = guest.read_text(service, service_len)?;
    let method = guest.read_text(method, method_len)?;
    let initial_metadata = Headers::from_abi(&guest.read(metadata, metadata_len)?);
    let cluster = named_in_service(&upstream).unwrap_or(&upstream);
    match guest.process().borrow().cluster(&String::from_utf8_lossy(cluster)) {
        Cluster::Up => {}
        Cluster::Down => return Err(Status::InternalFailure.into()),
        Cluster::Unknown => return Err(Status::ParseFailure.into()),
    }
    let state = guest.state();
    let (id, root) = (state.callouts.next_grpc_id(), state.acting_root());
    let record = GrpcStream {
        id,
        upstream,
        service,
        method,
        initial_metadata,
        sent: Vec::new(),
        local_end: false,
        state: GrpcState::Open,
    };
    state.callouts.grpc.insert(id, Owned { root, record });
    guest.write_u32(out, id)
}

/// `GrpcService{envoy_grpc{cluster_name}}`: field 1 of field 1, each shorter than 128 bytes.
fn named_in_service(upstream: &[u8]) -> Option<&[u8]> {
    fn first_field(message: &[u8]) -> Option<&[u8]> {
        let [0x0A, length @ ..0x80, rest @ ..] = message else { return None };
        rest.get(..usize::from(*length))
    }
    first_field(first_field(upstream)?)
}

pub(super) fn send(guest: &mut Guest<'_>, id: u32, at: u32, len: u32, end: u32) -> Reply {
    let message = guest.read(at, len)?;
    let stream = find(guest, id)?;
    let refused = match stream.state {
        GrpcState::Closed(_) => Some(Violation::SendOnClosedStream),
        _ if stream.local_end => Some(Violation::SendAfterEnd),
        _ => None,
    };
    if let Some(violation) = refused {
        return Err(guest.state().refuse(violation, Status::NotFound).into());
    }
    stream.sent.push(message);
    stream.local_end = end != 0;
    Ok(())
}

/// Resets the stream: nothing comes from it any more, no close either.
pub(super) fn cancel(guest: &mut Guest<'_>, id: u32) -> Reply {
    let stream = find(guest, id)?;
    if stream.state == GrpcState::Open {
        stream.state = GrpcState::Cancelled;
    }
    Ok(())
}

/// Closes the guest's side. Messages of the upstream still arrive.
pub(super) fn close(guest: &mut Guest<'_>, id: u32) -> Reply {
    find(guest, id)?.local_end = true;
    Ok(())
}

/// A stream that the guest may still name: one that is reset is forgotten at once.
fn find<'a>(guest: &'a mut Guest<'_>, id: u32) -> Result<&'a mut GrpcStream, Status> {
    if !Callouts::is_grpc_stream(id) {
        return Err(Status::BadArgument);
    }
    let stream = guest.state().callouts.grpc.get_mut(&id).ok_or(Status::NotFound)?;
    if stream.record.state == GrpcState::Cancelled { Err(Status::NotFound) } else { Ok(&mut stream.record) }
}
