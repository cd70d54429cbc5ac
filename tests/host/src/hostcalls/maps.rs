//! Header maps. A map exists while its callback holds it: from the callback's start until the filter lets
//! the headers go on. Outside of that reading one value gives BadArgument, on which the SDK panics.

use crate::abi::{MapKind, Status};
use crate::guest::{Guest, Reply};
use crate::headers::Headers;
use crate::vm::VmState;

/// All lines; a map that does not exist reads as empty.
pub(super) fn get_pairs(guest: &mut Guest<'_>, kind: u32, out: u32, out_len: u32) -> Reply {
    let kind = MapKind::from_abi(kind).ok_or(Status::BadArgument)?;
    let bytes = readable(guest.state(), kind).map(Headers::to_abi).unwrap_or_default();
    guest.give(&bytes, out, out_len)
}

/// The first value of a name. In the log phase a map that does not exist is NotFound.
pub(super) fn get_value(
    guest: &mut Guest<'_>,
    kind: u32,
    key: u32,
    key_len: u32,
    out: u32,
    out_len: u32,
) -> Reply {
    let kind = MapKind::from_abi(kind).ok_or(Status::BadArgument)?;
    let key = guest.read_text(key, key_len)?;
    let state = guest.state();
    let logging = state.acting_stream().is_some_and(|stream| stream.log_phase);
    let missing = if logging { Status::NotFound } else { Status::BadArgument };
    let headers = readable(state, kind).ok_or(missing)?;
    let value = headers.get(&key).ok_or(Status::NotFound)?.to_vec();
    guest.give(&value, out, out_len)
}

/// Replaces the whole map.
pub(super) fn set_pairs(guest: &mut Guest<'_>, kind: u32, at: u32, len: u32) -> Reply {
    let pairs = Headers::from_abi(&guest.read(at, len)?);
    *writable(guest.state(), kind)? = pairs;
    Ok(())
}

/// Replaces every line of a name by one.
pub(super) fn replace_value(
    guest: &mut Guest<'_>,
    kind: u32,
    key: u32,
    key_len: u32,
    at: u32,
    len: u32,
) -> Reply {
    let (key, value) = (guest.read_text(key, key_len)?, guest.read(at, len)?);
    writable(guest.state(), kind)?.set(&key, &value);
    Ok(())
}

/// Adds a line.
pub(super) fn add_value(
    guest: &mut Guest<'_>,
    kind: u32,
    key: u32,
    key_len: u32,
    at: u32,
    len: u32,
) -> Reply {
    let (key, value) = (guest.read_text(key, key_len)?, guest.read(at, len)?);
    writable(guest.state(), kind)?.add(&key, &value);
    Ok(())
}

/// Removes every line of a name; none is fine.
pub(super) fn remove_value(guest: &mut Guest<'_>, kind: u32, key: u32, key_len: u32) -> Reply {
    let key = guest.read_text(key, key_len)?;
    writable(guest.state(), kind)?.remove(&key);
    Ok(())
}

fn readable(state: &mut VmState, kind: MapKind) -> Option<&Headers> {
    match kind {
        MapKind::GrpcInitialMetadata => state.delivery.grpc_initial_metadata.as_ref(),
        MapKind::GrpcTrailingMetadata => state.delivery.grpc_trailing_metadata.as_ref(),
        MapKind::HttpCallHeaders => state.delivery.http_headers.as_ref(),
        MapKind::HttpCallTrailers => state.delivery.http_trailers.as_ref(),
        _ => {
            let stream = state.acting_stream()?;
            let logging = stream.log_phase;
            let (headers, open) = match kind {
                MapKind::RequestHeaders => (&stream.request.headers, stream.request.headers_open),
                MapKind::ResponseHeaders => (&stream.response.headers, stream.response.headers_open),
                MapKind::ResponseTrailers => (&stream.response.trailers, stream.response.trailers_open),
                // The access log has no request trailers.
                _ => {
                    return stream
                        .request
                        .trailers_open
                        .then_some(stream.request.trailers.as_ref())
                        .flatten();
                }
            };
            headers.as_ref().filter(|_| open || logging)
        }
    }
}

/// A map that the filter may change now. What callouts received cannot be changed.
fn writable(state: &mut VmState, kind: u32) -> Result<&mut Headers, Status> {
    let kind = MapKind::from_abi(kind).ok_or(Status::BadArgument)?;
    let stream = state.acting_stream().ok_or(Status::BadArgument)?;
    let (headers, open) = match kind {
        MapKind::RequestHeaders => (&mut stream.request.headers, stream.request.headers_open),
        MapKind::RequestTrailers => (&mut stream.request.trailers, stream.request.trailers_open),
        MapKind::ResponseHeaders => (&mut stream.response.headers, stream.response.headers_open),
        MapKind::ResponseTrailers => (&mut stream.response.trailers, stream.response.trailers_open),
        _ => return Err(Status::BadArgument),
    };
    headers.as_mut().filter(|_| open).ok_or(Status::BadArgument)
}
