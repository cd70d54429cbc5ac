//! The filter's stream to the controller: its cluster, and its state.

use super::dump::Dump;
use super::stats::Stats;
use super::walk::Gateway;
use crate::check::finding::{Check, Findings, Level};
use crate::check::json::at;
use warmpath_core::config::Config;

static CONTROLLER: Check = Check {
    id: "feed.controller",
    worst: Level::Warning,
    why: "without a controller, the filter knows only its own requests: not those of other proxies, nor the engines' load, \
          health and memory",
    remedy: "name the controller's cluster in the filter's configuration: \"controller\": {\"cluster\": \
             \"warmpath_controller\"}",
};

static CLUSTER: Check = Check {
    id: "feed.cluster",
    worst: Level::Error,
    why: "the filter cannot open its stream: it learns nothing from the controller, and if only the controller knows the \
          pools, every request gets 503",
    remedy: "add the cluster, with the controller's gRPC address (port 18000)",
};

static HTTP2: Check = Check {
    id: "feed.http2",
    worst: Level::Error,
    why: "the stream is gRPC, which needs HTTP/2",
    remedy: "set http2_protocol_options in the cluster's explicit_http_config; in Istio, also name the Service's port grpc, \
             or give it appProtocol: kubernetes.io/h2c",
};

static KEEPALIVE: Check = Check {
    id: "feed.keepalive",
    worst: Level::Warning,
    why: "the stream is silent while nothing changes: without pings, a controller whose node is gone looks alive for \
          minutes",
    remedy: "set connection_keepalive: {interval: 5s, timeout: 2s} in the cluster's http2_protocol_options",
};

static STATS: Check = Check {
    id: "feed.stats",
    worst: Level::Warning,
    why: "the filter has not started, or Envoy's stats exclude its metrics, so nothing can be said about it",
    remedy: "look for `wasm` in Envoy's log; if Envoy has a stats_matcher (Istio's proxyStatsMatcher), let it include names \
             that begin with wasmcustom",
};

static CONNECTED: Check = Check {
    id: "feed.connected",
    worst: Level::Error,
    why: "the filter has no stream to the controller: its knowledge of engines and of other proxies becomes stale",
    remedy: "check that the cluster has the controller's gRPC address, that NetworkPolicies allow the connection, and that \
             both have the same token, TLS and cell_bytes; the controller's log says why it refuses a proxy",
};

static UNSTABLE: Check = Check {
    id: "feed.unstable",
    worst: Level::Warning,
    why: "streams end again and again, and each new one costs a snapshot",
    remedy: "see the logs of filter and controller; a proxy between the two may limit how long a stream lasts",
};

static ENDPOINTS: Check = Check {
    id: "feed.endpoints",
    worst: Level::Error,
    why: "the filter knows no endpoint, and responds with 503 or leaves the choice to Envoy",
    remedy: "see `warmpath get pools`: the controller's pools are empty, or have not arrived",
};

static LOST: Check = Check {
    id: "feed.lost-events",
    worst: Level::Warning,
    why: "events were dropped, so proxies know less of each other than they could",
    remedy: "if it continues, give Envoy more CPU, or file an issue with the numbers",
};

static MALFORMED: Check = Check {
    id: "feed.malformed",
    worst: Level::Warning,
    why: "messages could not be decoded: the versions of filter and controller are incompatible",
    remedy: "upgrade both to the same version",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 10] =
    [&CONTROLLER, &CLUSTER, &HTTP2, &KEEPALIVE, &STATS, &CONNECTED, &UNSTABLE, &ENDPOINTS, &LOST, &MALFORMED];

/// Streams that may end without being suspicious.
const CLOSED_MAX: u64 = 10;

/// Checks the stream's cluster.
pub(super) fn check_cluster(gateway: &Gateway<'_>, dump: &Dump<'_>, plugin: &Config, to: &mut Findings) {
    let Some(controller) = &plugin.controller else {
        to.bad(&CONTROLLER, gateway.subject(), "none is configured");
        return;
    };
    let name = controller.cluster.as_str();
    let subject = format!("cluster {name}");
    to.ok(&CONTROLLER, gateway.subject(), format!("cluster {name}"));
    let Some(cluster) = dump.clusters.get(name) else {
        to.bad(&CLUSTER, subject, "there is no such cluster");
        return;
    };
    to.ok(&CLUSTER, &subject, "it is there");
    let options = at(
        cluster,
        "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    );
    let http2 = [
        at(options, "/explicit_http_config/http2_protocol_options"),
        at(options, "/use_downstream_protocol_config/http2_protocol_options"),
        at(cluster, "/http2_protocol_options"),
    ];
    let http2 = http2.into_iter().find(|options| !options.is_null());
    let auto = !at(options, "/auto_config").is_null();
    let seen = if http2.is_some() || auto { "HTTP/2" } else { "HTTP/1.1" };
    to.judge(&HTTP2, http2.is_some() || auto, &subject, seen);
    if let Some(http2) = http2 {
        let has_pings = !at(http2, "/connection_keepalive/interval").is_null();
        to.judge(&KEEPALIVE, has_pings, &subject, if has_pings { "pings" } else { "no pings" });
    }
}

/// Checks the stream's state, by the filter's metrics.
pub(super) fn check_stats(stats: &Stats<'_>, has_controller: bool, to: &mut Findings) {
    if !stats.has_filter() {
        to.bad(&STATS, "", "no metric of the filter is in /stats");
        return;
    }
    to.ok(&STATS, "", "the filter's metrics are there");
    let endpoints = stats.of_name("warmpath.view.endpoints");
    if has_controller {
        let is_connected = stats.of_name("warmpath.feed.connected") > 0;
        let (opened, closed) = (stats.of_name("warmpath.feed.opened"), stats.of_name("warmpath.feed.closed"));
        let seen =
            format!("{}connected, {opened} opened, {closed} ended", if is_connected { "" } else { "not " });
        to.judge(&CONNECTED, is_connected, "", seen.clone());
        if is_connected {
            to.judge(&UNSTABLE, closed <= CLOSED_MAX, "", seen);
        }
    }
    to.judge(&ENDPOINTS, endpoints > 0, "", format!("endpoints: {endpoints}"));
    let (lost, of_log) = (stats.of_name("warmpath.feed.dropped"), stats.of_name("warmpath.log.dropped"));
    to.judge(&LOST, lost + of_log == 0, "", format!("{lost} to the controller, {of_log} between workers"));
    let malformed = stats.of_name("warmpath.malformed");
    to.judge(&MALFORMED, malformed == 0, "", format!("messages: {malformed}"));
}
