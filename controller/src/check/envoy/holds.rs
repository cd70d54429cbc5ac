//! Held requests: whether Envoy lets a request wait for as long as its pool allows.
//!
//! The route's `timeout` is not among the limits: it starts when the request goes on to an engine.

use super::Wanted;
use super::dump::Dump;
use super::walk::{Gateway, Route};
use crate::check::finding::{Check, Findings, Level};
use crate::check::json::{duration, items, number, text};
use std::time::Duration;
use warmpath_core::config::Config;

/// Envoy's own limit of silence.
const IDLE_DEFAULT: Duration = Duration::from_mins(5);
/// By how much a limit must exceed the longest wait: a request that has waited for that long is still to be sent.
const MARGIN: Duration = Duration::from_secs(10);
/// A limit of streams per connection from which it does not matter for held requests: that of envoy/envoy.yaml.
const STREAMS_MIN: u64 = 1_000;
const MS_PER_S: u32 = 1_000;
const MIB: u64 = 1024 * 1024;

static IDLE: Check = Check {
    id: "hold.idle-timeout",
    worst: Level::Error,
    why: "a held request is silent: Envoy ends it with 504 after this time, before its pool's longest wait is over",
    remedy: "set the route's idle_timeout (where it has none, the connection manager's stream_idle_timeout) to more than the \
             longest wait, or make room_s and endpoint_s shorter",
};

static DURATION: Check = Check {
    id: "hold.stream-duration",
    worst: Level::Error,
    why: "the time that a request is held counts: Envoy ends it, or its response, with 504 after this time",
    remedy: "remove max_stream_duration from the route and from the connection manager's common_http_protocol_options",
};

static REDUCED: Check = Check {
    id: "hold.reduced-timeouts",
    worst: Level::Warning,
    why: "under memory pressure, to which held bodies add, this overload action shortens the time limits of streams, and held \
          requests get 504",
    remedy: "remove HTTP_DOWNSTREAM_STREAM_IDLE from the timer_scale_factors of envoy.overload_actions.reduce_timeouts",
};

static STREAMS: Check = Check {
    id: "hold.concurrent-streams",
    worst: Level::Warning,
    why: "held requests count: a client with one HTTP/2 connection cannot send another request while so many of its own wait",
    remedy: "set max_concurrent_streams in http2_protocol_options to 1000",
};

static MEMORY: Check = Check {
    id: "hold.memory",
    worst: Level::Warning,
    why: "held bodies may take more than half of the memory that Envoy may use, and when that is full, Envoy refuses new requests",
    remedy: "set hold.body_bytes_max in the filter's configuration to less than half of the overload manager's \
             max_heap_size_bytes, or give Envoy more memory",
};

static ROUTE: Check = Check {
    id: "hold.route",
    worst: Level::Warning,
    why: "Envoy Gateway replaces the route to a Service without ready endpoints with a response of its own, 500 or 503, and a \
          request that has waited for an endpoint gets that",
    remedy: "keep one engine of the pool running and remove its hold.endpoint_s, or let the chart install an Envoy of its own \
             (gateway.kind: envoy)",
};

/// How the names of Envoy Gateway's clusters begin.
const ENVOY_GATEWAY_PREFIX: &str = "httproute/";

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 6] = [&IDLE, &DURATION, &ROUTE, &REDUCED, &STREAMS, &MEMORY];

/// Checks a gateway that leads to engines.
pub(super) fn check(
    gateway: &Gateway<'_>,
    plugin: Option<&Config>,
    wanted: Option<&Wanted>,
    to: &mut Findings,
) {
    let Some(longest) = longest(plugin, wanted) else { return };
    let in_plugin = plugin.into_iter().flat_map(|plugin| &plugin.pools.pools);
    let mut holds = in_plugin.filter_map(|pool| pool.hold.as_ref());
    let is_for_endpoint =
        wanted.is_some_and(|wanted| wanted.holds_for_endpoint) || holds.any(|hold| hold.endpoint_ms_max > 0);
    for route in &gateway.routes {
        check_route(gateway, route, longest, to);
        let replaced = route.clusters.iter().find(|cluster| cluster.starts_with(ENVOY_GATEWAY_PREFIX));
        if let Some(cluster) = replaced.filter(|_| is_for_endpoint) {
            to.bad(&ROUTE, &route.name, format!("it leads to {cluster}"));
        }
    }
    if let Some(streams) = number(gateway.manager, "/http2_protocol_options/max_concurrent_streams") {
        to.judge(&STREAMS, streams >= STREAMS_MIN, gateway.subject(), format!("streams: {streams}"));
    }
}

/// Checks what is Envoy's as a whole.
pub(super) fn check_overload(
    dump: &Dump<'_>,
    plugins: &[Config],
    wanted: Option<&Wanted>,
    to: &mut Findings,
) {
    let is_any = plugins.iter().any(|plugin| longest(Some(plugin), None).is_some());
    if !is_any && longest(None, wanted).is_none() {
        return;
    }
    let actions = items(dump.bootstrap, "/overload_manager/actions");
    for action in actions.iter().filter(|action| text(action, "/name").ends_with(".reduce_timeouts")) {
        let scaled = items(action, "/typed_config/timer_scale_factors").iter();
        let timers: Vec<&str> = scaled.map(|scaled| text(scaled, "/timer")).collect();
        let is_ok = !timers.contains(&"HTTP_DOWNSTREAM_STREAM_IDLE");
        to.judge(&REDUCED, is_ok, text(action, "/name"), timers.join(", "));
    }
    let monitors = items(dump.bootstrap, "/overload_manager/resource_monitors");
    let heap = monitors.iter().find_map(|monitor| number(monitor, "/typed_config/max_heap_size_bytes"));
    let held = plugins.iter().map(|plugin| plugin.hold.body_bytes_max).max();
    if let Some((heap, held)) = heap.zip(held) {
        let seen = format!("{} MiB of {} MiB", held / MIB, heap / MIB);
        to.judge(&MEMORY, held <= heap / 2, "", seen);
    }
}

fn check_route(gateway: &Gateway<'_>, route: &Route<'_>, longest: Duration, to: &mut Findings) {
    let needed = longest + MARGIN;
    let waits = format!("requests wait for up to {} s", longest.as_secs());
    let set =
        duration(route.action, "/idle_timeout").or_else(|| duration(gateway.manager, "/stream_idle_timeout"));
    let idle = set.unwrap_or(IDLE_DEFAULT);
    let seen = match (idle, set) {
        (Duration::ZERO, _) => "none".to_owned(),
        (idle, Some(_)) => format!("{} s, and {waits}", idle.as_secs()),
        (idle, None) => format!("{} s, Envoy's own, and {waits}", idle.as_secs()),
    };
    to.judge(&IDLE, idle.is_zero() || idle >= needed, &route.name, seen);
    let whole = [
        duration(route.action, "/max_stream_duration/max_stream_duration"),
        duration(gateway.manager, "/common_http_protocol_options/max_stream_duration"),
    ];
    // The route's replaces the connection manager's.
    match whole.into_iter().flatten().next().filter(|limit| !limit.is_zero()) {
        Some(limit) => {
            let seen = format!("{} s, and {waits}", limit.as_secs());
            to.judge(&DURATION, limit >= needed, &route.name, seen);
        }
        None => to.ok(&DURATION, &route.name, "none"),
    }
}

/// The longest wait of any pool; `None`: no request is held.
fn longest(plugin: Option<&Config>, wanted: Option<&Wanted>) -> Option<Duration> {
    let pools = plugin.into_iter().flat_map(|plugin| &plugin.pools.pools);
    let waits = pools.filter_map(|pool| pool.hold.as_ref());
    let waits = waits.map(|hold| hold.room_ms_max.max(hold.endpoint_ms_max) / MS_PER_S);
    let seconds = waits.chain(wanted.map(|wanted| wanted.hold_s_max)).max().unwrap_or_default();
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}
