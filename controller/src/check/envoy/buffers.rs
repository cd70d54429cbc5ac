//! The listener and its connection manager: how large a request may be, and whose headers are trusted.

use super::Wanted;
use super::walk::Gateway;
use crate::check::finding::{Check, Findings, Level};
use crate::check::json::number;
use warmpath_core::config::Config;
use warmpath_core::limits::{BODY_BYTES_KEPT_MAX, BODY_BYTES_MAX};
use warmpath_core::num::u64_len;

/// Envoy's own limit of a listener without one.
const BUFFER_BYTES_DEFAULT: u64 = 1024 * 1024;
/// Envoy's own window of a stream without one.
const WINDOW_BYTES_DEFAULT: u64 = 16 * 1024 * 1024;
const MIB: u64 = 1024 * 1024;
const KIB: u64 = 1024;

static BUFFER: Check = Check {
    id: "listener.buffer",
    worst: Level::Error,
    why: "Envoy rejects a larger body with 413, and cannot retry it. The filter reads prompts of up to 16 MiB and, with \
          several pools, the model of bodies of up to 64 MiB. Below 1 MiB, even a long conversation is too large",
    remedy: "set the listener's per_connection_buffer_limit_bytes (or the route's request_body_buffer_limit, or \
             ClientTrafficPolicy's connection.bufferLimit) to 32 MiB, or above 64 MiB with several pools",
};

static WINDOW: Check = Check {
    id: "listener.http2-window",
    worst: Level::Warning,
    why: "over HTTP/2, a body larger than the stream's window is rejected or reset",
    remedy: "in http2_protocol_options, set initial_stream_window_size to the listener's buffer limit, and \
             initial_connection_window_size to twice that",
};

static CLIENT_HEADERS: Check = Check {
    id: "listener.client-headers",
    worst: Level::Warning,
    why: "clients that appear to be internal can change retries and time limits with x-envoy-* headers",
    remedy: "set use_remote_address, with internal_address_config: {unix_sockets: false}",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 3] = [&BUFFER, &WINDOW, &CLIENT_HEADERS];

pub(super) fn check(
    gateway: &Gateway<'_>,
    plugin: Option<&Config>,
    wanted: Option<&Wanted>,
    to: &mut Findings,
) {
    let in_plugin = plugin.map_or(0, |plugin| plugin.pools.pools.len());
    let pools = in_plugin.max(wanted.map_or(0, |wanted| wanted.pools));
    let bodies = u64_len(if pools > 1 { BODY_BYTES_KEPT_MAX } else { BODY_BYTES_MAX });
    let of_listener = number(gateway.listener, "/per_connection_buffer_limit_bytes");
    for route in &gateway.routes {
        let of_route = [route.whole, route.host].into_iter().find_map(|place| {
            number(place, "/request_body_buffer_limit")
                .or_else(|| number(place, "/per_request_buffer_limit_bytes"))
        });
        let (subject, limit) = match of_route {
            Some(limit) => (route.name.clone(), limit),
            None => (gateway.subject(), of_listener.unwrap_or(BUFFER_BYTES_DEFAULT)),
        };
        let is_set = of_route.or(of_listener).is_some();
        let seen = format!("{}{}", bytes(limit), if is_set { "" } else { ", Envoy's own" });
        let level = match limit {
            limit if limit >= bodies => Level::Ok,
            limit if limit >= BUFFER_BYTES_DEFAULT => Level::Warning,
            _ => Level::Error,
        };
        to.add(&BUFFER, level, subject, seen);
    }
    check_window(gateway, bodies, to);
    check_headers(gateway, to);
}

fn check_window(gateway: &Gateway<'_>, bodies: u64, to: &mut Findings) {
    let set = number(gateway.manager, "/http2_protocol_options/initial_stream_window_size");
    let window = set.unwrap_or(WINDOW_BYTES_DEFAULT);
    to.judge(&WINDOW, window >= bodies, gateway.subject(), bytes(window));
}

fn check_headers(gateway: &Gateway<'_>, to: &mut Findings) {
    if !gateway.is_sidecar() {
        let is_set = gateway.uses_remote_address();
        let seen = if is_set { "use_remote_address is true" } else { "use_remote_address is not set" };
        to.judge(&CLIENT_HEADERS, is_set, gateway.subject(), seen);
    }
}

/// A size for people.
fn bytes(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= MIB => format!("{} MiB", bytes / MIB),
        bytes if bytes >= KIB => format!("{} KiB", bytes / KIB),
        bytes => format!("{bytes} bytes"),
    }
}
