//! The engines' clusters: whether they obey the filter, and what they limit.

use super::Wanted;
use super::dump::Dump;
use super::walk::{Gateway, Route};
use crate::check::finding::{Check, Findings, Level};
use crate::check::json::{at, duration, is_type, items, number, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use warmpath_core::router::DESTINATION_HEADER;

/// The metadata that Istio's clusters of an InferencePool read.
const METADATA_NAMESPACE: &str = "envoy.lb";
/// Envoy's own circuit breakers: requests, pending requests and connections; retries.
const REQUESTS_DEFAULT: u64 = 1024;
const RETRIES_DEFAULT: u64 = 3;
/// vLLM closes a connection that is idle for this long.
const ENGINE_KEEPALIVE: Duration = Duration::from_secs(5);
/// Envoy's own time limit of a connection.
const CONNECT_DEFAULT: Duration = Duration::from_secs(5);
/// How long a request may wait for a pod that is gone.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Addresses that a finding names.
const NAMED_MAX: usize = 5;

static PRESENT: Check = Check {
    id: "cluster.present",
    worst: Level::Error,
    why: "Envoy responds with 503 to requests for a cluster that does not exist",
    remedy: "add the cluster, or correct its name in the route",
};

static STEERED: Check = Check {
    id: "cluster.override-host",
    worst: Level::Error,
    why: "the filter's choice is ignored, and Envoy's own policy places the requests",
    remedy: "give the cluster the load balancing policy override_host with the header x-gateway-destination-endpoint; if \
             the cluster holds no engines, turn the filter off on its routes",
};

static SOURCE: Check = Check {
    id: "cluster.override-source",
    worst: Level::Error,
    why: "the cluster does not read the choice from where the filter writes it, and ignores it",
    remedy: "list the header x-gateway-destination-endpoint first in override_host_sources. Where the cluster cannot be \
             changed (Istio's InferencePools), put a header_to_metadata filter behind Warmpath's: istio/ has the patch",
};

static ORIGINAL: Check = Check {
    id: "cluster.original-destination",
    worst: Level::Error,
    why: "the cluster connects to the address that the client has resolved, and no policy applies",
    remedy: "give the engines a Service with a cluster IP (Istio's sidecars turn a headless one into such a cluster), or \
             set PILOT_ENABLE_EDS_FOR_HEADLESS_SERVICES=true in istiod",
};

static BREAKERS: Check = Check {
    id: "cluster.circuit-breakers",
    worst: Level::Warning,
    why: "Envoy responds with 503 beyond these limits, which count the whole cluster and not each engine",
    remedy: "raise max_connections, max_pending_requests, max_requests and max_retries to 100000: the filter decides how \
             much work an engine gets",
};

static KEEPALIVE: Check = Check {
    id: "cluster.idle-timeout",
    worst: Level::Warning,
    why: "vLLM closes connections that are idle for 5 s: now and then a request uses one that is being closed, and fails",
    remedy: "set idle_timeout: 4s in the cluster's common_http_protocol_options",
};

static CONNECT: Check = Check {
    id: "cluster.connect-timeout",
    worst: Level::Warning,
    why: "a request to an engine whose pod is gone waits this long before it goes to the next one",
    remedy: "set connect_timeout: 1s",
};

static HOSTS: Check = Check {
    id: "cluster.hosts",
    worst: Level::Error,
    why: "Envoy responds with 503 to requests for a cluster without endpoints",
    remedy: "check the source of the cluster's endpoints: a name that does not resolve, a Service without ready pods, or \
             EDS from a controller that is unreachable or has no endpoints in the resource of this name",
};

static ENDPOINTS: Check = Check {
    id: "cluster.endpoints",
    worst: Level::Error,
    why: "Envoy skips an engine that only the controller knows, and one that only Envoy knows gets no requests",
    remedy: "give both the same engines: by EDS from the controller, or with the same names or addresses in both files",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 9] =
    [&PRESENT, &STEERED, &SOURCE, &ORIGINAL, &BREAKERS, &KEEPALIVE, &CONNECT, &HOSTS, &ENDPOINTS];

/// Checks the clusters that the routes lead to.
pub(super) fn check(gateways: &[Gateway<'_>], dump: &Dump<'_>, to: &mut Findings) {
    let names = names(gateways);
    let is_any_steered =
        names.iter().filter_map(|name| dump.clusters.get(name)).any(|cluster| steering(cluster).is_some());
    for name in &names {
        let subject = format!("cluster {name}");
        let Some(cluster) = dump.clusters.get(name) else {
            to.bad(&PRESENT, subject, "a route leads to it, and there is none");
            continue;
        };
        let is_others = is_any_steered && steering(cluster).is_none();
        let level = if is_others { Level::Warning } else { Level::Error };
        if text(cluster, "/type") == "ORIGINAL_DST" {
            to.add(&ORIGINAL, level, &subject, "type ORIGINAL_DST");
        } else if let Some(policy) = steering(cluster) {
            to.ok(&STEERED, &subject, "override_host");
            check_source(gateways, name, policy, &subject, to);
            check_limits(cluster, &subject, to);
        } else {
            to.add(&STEERED, level, &subject, format!("it has {}", policy_name(cluster)));
        }
    }
}

/// The connection managers, reduced to routes to clusters that obey the filter, if there are any: a gateway may serve other
/// applications, too.
pub(super) fn to_engines<'a>(gateways: &[Gateway<'a>], dump: &Dump<'a>) -> Vec<Gateway<'a>> {
    let obeys = |name: &&str| dump.clusters.get(name).is_some_and(|cluster| steering(cluster).is_some());
    let leads_there = |route: &Route<'_>| route.clusters.iter().any(obeys);
    let is_any = gateways.iter().flat_map(|gateway| &gateway.routes).any(leads_there);
    let mut gateways = gateways.to_vec();
    if is_any {
        for gateway in &mut gateways {
            gateway.routes.retain(leads_there);
        }
    }
    gateways
}

/// Compares the addresses of the clusters with those of the controller's pools.
pub(super) fn compare(gateways: &[Gateway<'_>], clusters: &Value, wanted: &Wanted, to: &mut Findings) {
    let names = names(gateways);
    let hosts = hosts(clusters);
    let found: BTreeSet<String> =
        names.iter().filter_map(|name| hosts.get(name)).flatten().cloned().collect();
    let both = found.intersection(&wanted.endpoints).count();
    let only_controller: Vec<&String> = wanted.endpoints.difference(&found).collect();
    let only_envoy: Vec<&String> = found.difference(&wanted.endpoints).collect();
    let mut seen = format!("{both} in both");
    for (place, addresses) in [("only in the controller", &only_controller), ("only in Envoy", &only_envoy)] {
        if !addresses.is_empty() {
            let first: Vec<&str> = addresses.iter().take(NAMED_MAX).map(|address| address.as_str()).collect();
            let more = if addresses.len() > NAMED_MAX { ", ..." } else { "" };
            seen.push_str(&[", ", place, ": ", &first.join(", "), more].concat());
        }
    }
    let level = match (both, only_controller.len() + only_envoy.len()) {
        (0, _) => Level::Error,
        (_, 0) => Level::Ok,
        _ => Level::Warning,
    };
    to.add(&ENDPOINTS, level, "", seen);
}

/// Checks whether the clusters that obey the filter have endpoints.
pub(super) fn check_hosts(gateways: &[Gateway<'_>], clusters: &Value, to: &mut Findings) {
    let hosts = hosts(clusters);
    for name in names(gateways) {
        if let Some(addresses) = hosts.get(name) {
            let seen = format!("endpoints: {}", addresses.len());
            to.judge(&HOSTS, !addresses.is_empty(), format!("cluster {name}"), seen);
        }
    }
}

/// The addresses in each cluster.
fn hosts(clusters: &Value) -> BTreeMap<&str, BTreeSet<String>> {
    let mut hosts: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for status in items(clusters, "/cluster_statuses") {
        let addresses = items(status, "/host_statuses").iter().filter_map(address);
        hosts.entry(text(status, "/name")).or_default().extend(addresses);
    }
    hosts
}

pub(super) fn names<'a>(gateways: &[Gateway<'a>]) -> BTreeSet<&'a str> {
    let routes = gateways.iter().flat_map(|gateway| &gateway.routes);
    routes.flat_map(|route| route.clusters.iter().copied()).collect()
}

/// `ip:port` of a host.
fn address(host: &Value) -> Option<String> {
    let ip = text(host, "/address/socket_address/address");
    let port = number(host, "/address/socket_address/port_value")?;
    Some(if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") })
}

/// The cluster's override_host policy, if it has one.
pub(super) fn steering(cluster: &Value) -> Option<&Value> {
    let policies = items(cluster, "/load_balancing_policy/policies").iter();
    policies
        .map(|policy| at(policy, "/typed_extension_config/typed_config"))
        .find(|config| is_type(config, "OverrideHost"))
}

fn policy_name(cluster: &Value) -> String {
    let first = items(cluster, "/load_balancing_policy/policies").first();
    let name = first.map_or("", |policy| text(policy, "/typed_extension_config/name"));
    match (name, text(cluster, "/lb_policy")) {
        ("", "") => "round robin".to_owned(),
        ("", policy) => policy.to_owned(),
        (name, _) => name.to_owned(),
    }
}

fn check_source(gateways: &[Gateway<'_>], cluster: &str, policy: &Value, subject: &str, to: &mut Findings) {
    let Some(first) = items(policy, "/override_host_sources").first() else {
        to.bad(&SOURCE, subject, "no source is named");
        return;
    };
    let header = text(first, "/header");
    if !header.is_empty() {
        to.judge(
            &SOURCE,
            header.eq_ignore_ascii_case(DESTINATION_HEADER),
            subject,
            format!("header {header}"),
        );
        return;
    }
    let key = text(first, "/metadata/key");
    let path: Vec<&str> = items(first, "/metadata/path").iter().map(|step| text(step, "/key")).collect();
    let seen = format!("metadata {key}, {}", path.join("."));
    let is_read = key == METADATA_NAMESPACE && path == [DESTINATION_HEADER];
    let leads_here =
        |gateway: &&Gateway<'_>| gateway.routes.iter().any(|route| route.clusters.contains(&cluster));
    let is_written = gateways.iter().filter(leads_here).all(writes_metadata);
    let seen = if is_written { seen } else { format!("{seen}, which no header_to_metadata filter writes") };
    to.judge(&SOURCE, is_read && is_written, subject, seen);
}

/// Whether a filter behind ours copies the choice into the metadata.
fn writes_metadata(gateway: &Gateway<'_>) -> bool {
    let behind = gateway.filters.iter().skip(gateway.place + 1);
    behind.filter(|filter| is_type(filter.config, "Config")).any(|filter| {
        items(filter.config, "/request_rules").iter().any(|rule| {
            text(rule, "/header").eq_ignore_ascii_case(DESTINATION_HEADER)
                && text(rule, "/on_header_present/metadata_namespace") == METADATA_NAMESPACE
                && text(rule, "/on_header_present/key") == DESTINATION_HEADER
        })
    })
}

fn check_limits(cluster: &Value, subject: &str, to: &mut Findings) {
    let thresholds = items(cluster, "/circuit_breakers/thresholds");
    let usual = thresholds.iter().find(|threshold| matches!(text(threshold, "/priority"), "" | "DEFAULT"));
    let of = |name: &str, default: u64| usual.and_then(|usual| number(usual, name)).unwrap_or(default);
    let has_budget = usual.is_some_and(|usual| !at(usual, "/retry_budget").is_null());
    let low: Vec<String> = [
        ("max_connections", REQUESTS_DEFAULT),
        ("max_pending_requests", REQUESTS_DEFAULT),
        ("max_requests", REQUESTS_DEFAULT),
        ("max_retries", RETRIES_DEFAULT),
    ]
    .into_iter()
    .filter(|(name, _)| !(has_budget && *name == "max_retries"))
    .map(|(name, default)| (name, default, of(&format!("/{name}"), default)))
    .filter(|(_, default, limit)| limit <= default)
    .map(|(name, _, limit)| format!("{name} {limit}"))
    .collect();
    let seen = if low.is_empty() { "above Envoy's own".to_owned() } else { low.join(", ") };
    to.judge(&BREAKERS, low.is_empty(), subject, seen);
    let options = at(
        cluster,
        "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    );
    let idle = duration(options, "/common_http_protocol_options/idle_timeout");
    let seen = idle.map_or_else(|| "an hour, Envoy's own".to_owned(), |idle| format!("{} s", idle.as_secs()));
    let is_short = idle.is_some_and(|idle| !idle.is_zero() && idle < ENGINE_KEEPALIVE);
    to.judge(&KEEPALIVE, is_short, subject, seen);
    let set = duration(cluster, "/connect_timeout");
    let connect = set.unwrap_or(CONNECT_DEFAULT);
    to.judge(&CONNECT, connect <= CONNECT_MAX, subject, format!("{} ms", connect.as_millis()));
}
