//! `proxy_http_call`.

use crate::abi::Status;
use crate::callouts::{HttpCall, HttpCallState, Owned};
use crate::guest::{Guest, Reply};
use crate::headers::Headers;
use crate::process::Cluster;

/// Without these Envoy refuses the call.
const REQUIRED: [&str; 3] = [":path", ":method", ":authority"];

/// The call belongs to the root context: it outlives the stream that made it.
#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
pub(super) fn dispatch(
    guest: &mut Guest<'_>,
    cluster: u32,
    cluster_len: u32,
    headers: u32,
    headers_len: u32,
    body: u32,
    body_len: u32,
    trailers: u32,
    trailers_len: u32,
    timeout_ms: u32,
    out: u32,
) -> Reply {
    let cluster = guest.read_text(cluster, cluster_len)?;
    let mut headers = Headers::from_abi(&guest.read(headers, headers_len)?);
    let body = guest.read(body, body_len)?;
    let trailers = Headers::from_abi(&guest.read(trailers, trailers_len)?);
    guest.write_u32(out, 0)?;
    let standing = guest.process().borrow().cluster(&cluster);
    if standing == Cluster::Unknown || REQUIRED.iter().any(|name| headers.get(name).is_none()) {
        return Err(Status::BadArgument.into());
    }
    if standing == Cluster::Down {
        return Err(Status::InternalFailure.into());
    }
    if !body.is_empty() {
        headers.set("content-length", body.len().to_string().as_bytes());
    }
    let state = guest.state();
    let (id, root) = (state.callouts.next_http_id(), state.acting_root());
    let state_of_call = HttpCallState::Pending;
    let record = HttpCall { id, cluster, headers, body, trailers, timeout_ms, state: state_of_call };
    state.callouts.http.insert(id, Owned { root, record });
    guest.write_u32(out, id)
}
