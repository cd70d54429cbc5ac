//! `proxy_get_property`, `proxy_set_property`. The test sets the properties; `request.total_size` is counted as Envoy counts
//! it.

use crate::abi::Status;
use crate::guest::{Guest, Reply};
use crate::headers::Headers;
use crate::process::PropertyPath;
use crate::stream::Flow;

/// The stream's property, or else the process's.
pub(super) fn get(guest: &mut Guest<'_>, path: u32, path_len: u32, out: u32, out_len: u32) -> Reply {
    let path = split(&guest.read(path, path_len)?);
    let of_stream = guest.state().acting_stream().and_then(|stream| {
        let is_total = path == [b"request".to_vec(), b"total_size".to_vec()];
        stream.properties.get(&path).cloned().or_else(|| is_total.then(|| total_size(&stream.request)))
    });
    let value = of_stream.or_else(|| guest.process().borrow().properties.get(&path).cloned());
    guest.give(&value.ok_or(Status::NotFound)?, out, out_len)
}

/// Sets filter state, which only a stream has.
pub(super) fn set(guest: &mut Guest<'_>, path: u32, path_len: u32, at: u32, len: u32) -> Reply {
    let (path, value) = (split(&guest.read(path, path_len)?), guest.read(at, len)?);
    let stream = guest.state().acting_stream().ok_or(Status::NotFound)?;
    stream.properties.insert(path, value);
    Ok(())
}

/// Headers, and what has come of the body: `RequestWrapper` in Envoy's `context.cc`.
fn total_size(request: &Flow) -> Vec<u8> {
    let headers = request.headers.iter().flat_map(Headers::iter);
    let bytes: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
    (bytes + request.received_bytes).to_le_bytes().to_vec()
}

fn split(path: &[u8]) -> PropertyPath {
    path.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}
