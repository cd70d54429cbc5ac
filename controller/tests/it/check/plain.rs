//! Checks of plain Envoy: envoy/envoy.yaml passes, and each line of it that is removed is found missing.

use super::gateways::STATS;
use super::wrong;
use serde_json::{Value, json};
use warmpath::check::envoy::{Pages, Wanted, check};
use warmpath::check::finding::Findings;

const ENVOY_YAML: &str = include_str!("../../../../envoy/envoy.yaml");
const LISTENER: &str = "/configs/1/static_listeners/0/listener";
const MANAGER: &str = "/configs/1/static_listeners/0/listener/filter_chains/0/filters/0/typed_config";
const PLUGIN: &str = "/configs/1/static_listeners/0/listener/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config";
const ROUTE: &str = "/configs/1/static_listeners/0/listener/filter_chains/0/filters/0/typed_config/route_config/\
                     virtual_hosts/0/routes/0";
const ENGINES: &str = "/configs/2/static_clusters/0/cluster";
const CONTROLLER: &str = "/configs/2/static_clusters/1/cluster";
const OPTIONS: &str =
    "typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The pages of an Envoy that runs envoy/envoy.yaml.
pub(super) fn pages() -> Pages {
    let file: Value = serde_saphyr::from_str(ENVOY_YAML).unwrap();
    let listed = |list: &str, name: &str| -> Vec<Value> {
        file["static_resources"][list].as_array().unwrap().iter().map(|item| json!({name: item})).collect()
    };
    let config_dump = json!({"configs": [
        {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": file},
        {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
         "static_listeners": listed("listeners", "listener")},
        {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
         "static_clusters": listed("clusters", "cluster")},
    ]});
    let hosts: Vec<Value> = (8001..=8008)
        .map(|port| json!({"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}))
        .collect();
    Pages {
        server_info: json!({"version": "9e55/1.40.0/Clean/RELEASE/BoringSSL", "state": "LIVE"}),
        config_dump,
        clusters: json!({"cluster_statuses": [{"name": "engines", "host_statuses": hosts}]}),
        stats: STATS.to_owned(),
    }
}

fn found(pages: &Pages) -> Vec<String> {
    let mut findings = Findings::new("");
    check(pages, None, &mut findings);
    wrong(findings)
}

/// The pages with a value put (or, if it is null, taken away) below a place.
fn with(place: &str, field: &str, value: Value) -> Pages {
    let mut pages = pages();
    let (parent, name) = match field.rsplit_once('/') {
        Some((parent, name)) => (format!("{place}/{parent}"), name),
        None => (place.to_owned(), field),
    };
    let parent = pages.config_dump.pointer_mut(&parent).unwrap_or_else(|| panic!("no {parent}"));
    let fields = parent.as_object_mut().unwrap();
    if value.is_null() {
        fields.remove(name).unwrap_or_else(|| panic!("no {name}"));
    } else {
        fields.insert(name.to_owned(), value);
    }
    pages
}

#[test]
fn the_shipped_configuration_is_in_order() {
    assert_eq!(found(&pages()), Vec::<String>::new());
}

/// Each line of a table: where, which field, its new value, and what is found.
fn assert_found(cases: &[(&str, &str, Value, &str)]) {
    for (place, field, value, wanted) in cases {
        assert_eq!(found(&with(place, field, value.clone())), [*wanted], "{field}: {value}");
    }
}

#[test]
fn each_flag_of_the_filter_is_missed() {
    assert_found(&[
        (
            PLUGIN,
            "allow_on_headers_stop_iteration",
            Value::Null,
            "error filter.headers-stop listener gateway: allow_on_headers_stop_iteration is not set, and no \
             affinity_headers are",
        ),
        (PLUGIN, "failure_policy", Value::Null, "warning filter.failure-policy listener gateway: not set"),
        (
            PLUGIN,
            "failure_policy",
            json!("FAIL_OPEN"),
            "warning filter.failure-policy listener gateway: FAIL_OPEN",
        ),
        (
            PLUGIN,
            "configuration/value",
            json!(r#"{"pools":[{"name":"a","models":["*"],"endpoints":["127.0.0.1:1"]}]}"#),
            "warning feed.controller listener gateway: none is configured",
        ),
        (
            PLUGIN,
            "configuration/value",
            json!(r#"{"controller":{"cluster":"other"}}"#),
            "error feed.cluster cluster other: there is no such cluster",
        ),
    ]);
    let flag = PLUGIN.strip_suffix("/typed_config/config").unwrap();
    let off = found(&with(flag, "disabled", json!(true)));
    assert_eq!(off, ["error filter.on listener gateway: routes: 0"]);
    let affinity =
        json!(r#"{"controller":{"cluster":"warmpath_controller"},"affinity_headers":["x-session-id"]}"#);
    let mut pages = with(PLUGIN, "allow_on_headers_stop_iteration", Value::Null);
    *pages.config_dump.pointer_mut(&format!("{PLUGIN}/configuration/value")).unwrap() = affinity;
    assert_eq!(
        found(&pages),
        [
            "warning filter.headers-stop listener gateway: allow_on_headers_stop_iteration is not set: affinity by \
             x-session-id only"
        ]
    );
    let wrong = found(&with(PLUGIN, "configuration/value", json!(r#"{"pool":[]}"#)));
    assert!(wrong[0].starts_with("error filter.configuration listener gateway: "), "{wrong:?}");
}

#[test]
fn limits_below_the_recommended_ones_are_found() {
    assert_found(&[
        (
            LISTENER,
            "per_connection_buffer_limit_bytes",
            Value::Null,
            "warning listener.buffer listener gateway: 1 MiB, Envoy's own",
        ),
        (
            LISTENER,
            "per_connection_buffer_limit_bytes",
            json!(32768),
            "error listener.buffer listener gateway: 32 KiB",
        ),
        (
            MANAGER,
            "http2_protocol_options/initial_stream_window_size",
            json!(65536),
            "warning listener.http2-window listener gateway: 64 KiB",
        ),
        (
            MANAGER,
            "use_remote_address",
            Value::Null,
            "warning listener.client-headers listener gateway: use_remote_address is not set",
        ),
        (
            ENGINES,
            "connect_timeout",
            json!("10s"),
            "warning cluster.connect-timeout cluster engines: 10000 ms",
        ),
        (
            ENGINES,
            "circuit_breakers",
            Value::Null,
            "warning cluster.circuit-breakers cluster engines: max_connections 1024, max_pending_requests 1024, \
             max_requests 1024, max_retries 3",
        ),
        (
            ENGINES,
            &format!("{OPTIONS}/common_http_protocol_options"),
            Value::Null,
            "warning cluster.idle-timeout cluster engines: an hour, Envoy's own",
        ),
        (
            "/configs/0/bootstrap",
            "overload_manager",
            Value::Null,
            "warning envoy.memory-limit no overload manager watches it",
        ),
    ]);
}

#[test]
fn a_body_limit_of_the_route_counts_instead_of_the_listeners() {
    let mut pages = with(ROUTE, "request_body_buffer_limit", json!("67108864"));
    pages
        .config_dump
        .pointer_mut(LISTENER)
        .unwrap()
        .as_object_mut()
        .unwrap()
        .remove("per_connection_buffer_limit_bytes");
    assert_eq!(found(&pages), Vec::<String>::new());
}

#[test]
fn each_part_of_the_route_is_missed() {
    let name = "route (/inference|/v2)?/(v1/.+|generate|(de)?tokenize|embed|encode|pooling|classify|score|rerank|health|version) \
                of all";
    let of_route = |field: &'static str, value: Value, wanted: &str, seen: &str| {
        let wanted = format!("{wanted} {name}: {seen}");
        assert_eq!(found(&with(ROUTE, field, value)), [wanted], "{field}");
    };
    of_route("route/retry_policy", Value::Null, "warning route.retries", "there are none");
    let on = |conditions: &str| found(&with(ROUTE, "route/retry_policy/retry_on", json!(conditions)));
    assert_eq!([on("5xx"), on("reset")], [Vec::<String>::new(), Vec::new()], "each covers the others");
    of_route(
        "route/retry_policy/retry_on",
        json!("connect-failure"),
        "warning route.retry-on",
        "lacks refused-stream, reset",
    );
    of_route(
        "route/retry_policy/retriable_status_codes",
        json!([503]),
        "warning route.retry-codes",
        "lacks 429",
    );
    of_route(
        "route/retry_policy/retry_back_off",
        Value::Null,
        "warning route.retry-backoff",
        "25 ms, Envoy's own",
    );
    of_route("route/timeout", Value::Null, "error route.timeout", "15 s, Envoy's own");
    of_route("route/timeout", json!("300s"), "warning route.timeout", "300 s");
    of_route("route/idle_timeout", json!("300s"), "warning route.idle-timeout", "300 s");
    let open = found(&with(ROUTE, "match", json!({"prefix": "/"})));
    assert_eq!(open, ["warning route.public-paths route / of all: it matches every path"]);
}

#[test]
fn a_cluster_that_does_not_obey_is_found() {
    assert_found(&[
        (
            ENGINES,
            "load_balancing_policy",
            Value::Null,
            "error cluster.override-host cluster engines: it has round robin",
        ),
        (
            ENGINES,
            "load_balancing_policy/policies/0/typed_extension_config/typed_config/override_host_sources",
            json!([{"header": "x-other"}]),
            "error cluster.override-source cluster engines: header x-other",
        ),
        (
            ENGINES,
            "name",
            json!("vllm"),
            "error cluster.present cluster engines: a route leads to it, and there is none",
        ),
        (
            ENGINES,
            "type",
            json!("ORIGINAL_DST"),
            "error cluster.original-destination cluster engines: type ORIGINAL_DST",
        ),
        (CONTROLLER, OPTIONS, json!({}), "error feed.http2 cluster warmpath_controller: HTTP/1.1"),
        (
            CONTROLLER,
            &format!("{OPTIONS}/explicit_http_config/http2_protocol_options"),
            json!({}),
            "warning feed.keepalive cluster warmpath_controller: no pings",
        ),
    ]);
}

#[test]
fn the_order_of_the_filters_matters() {
    let mut pages = pages();
    pages
        .config_dump
        .pointer_mut(&format!("{MANAGER}/http_filters"))
        .unwrap()
        .as_array_mut()
        .unwrap()
        .reverse();
    let lines = found(&pages);
    assert_eq!(lines, ["error filter.order listener gateway: envoy.filters.http.router, warmpath.router"]);
}

#[test]
fn envoy_itself_is_checked() {
    let mut old = pages();
    old.server_info = json!({"version": "x/1.34.2/Clean/RELEASE/BoringSSL", "state": "DRAINING"});
    assert_eq!(found(&old), ["error envoy.version 1.34.2", "warning envoy.live state DRAINING"]);
    let mut rejecting = pages();
    let listener = rejecting.config_dump.pointer(LISTENER).unwrap().clone();
    rejecting.config_dump["configs"][1] = json!({
        "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
        "dynamic_listeners": [{"name": "gateway", "warming_state": {"listener": listener},
                               "error_state": {"details": "unknown field"}}],
    });
    assert_eq!(
        found(&rejecting),
        [
            "error envoy.update-rejected gateway: unknown field",
            "error envoy.warming listener gateway: it does not serve yet"
        ]
    );
}

#[test]
fn counters_that_show_faults_are_found() {
    let with_stats = |more: &str| {
        let stats =
            more.lines().flat_map(|line| ["wasmcustom.warmpath.", line.trim(), "\n"]).collect::<String>();
        found(&Pages { stats, ..pages() })
    };
    let working = "feed.connected: 1\nview.endpoints: 4";
    let one = |more: &str| with_stats(&format!("{working}\n{more}"));
    assert_eq!(
        found(&Pages { stats: String::new(), ..pages() }),
        ["warning feed.stats no metric of the filter is in /stats"]
    );
    assert_eq!(
        with_stats("feed.connected: 0\nfeed.opened: 13\nfeed.closed: 13\nview.endpoints: 0"),
        ["error feed.connected not connected, 13 opened, 13 ended", "error feed.endpoints endpoints: 0"]
    );
    assert_eq!(
        one("feed.opened: 12\nfeed.closed: 11"),
        ["warning feed.unstable connected, 12 opened, 11 ended"]
    );
    assert_eq!(one("feed.dropped: 2"), ["warning feed.lost-events 2 to the controller, 0 between workers"]);
    assert_eq!(one("malformed: 1"), ["warning feed.malformed messages: 1"]);
    assert_eq!(one("unread.withheld: 3"), ["warning traffic.withheld requests: 3"]);
    assert_eq!(one("rejected.no_endpoint_known: 3"), ["warning traffic.no-endpoint requests: 3"]);
    assert_eq!(one("last_resort: 3"), ["warning traffic.last-resort requests: 3"]);
    assert_eq!(one("decision.fallback: 90\ndecision.warm: 9"), Vec::<String>::new(), "too few requests");
    assert_eq!(
        one("decision.fallback: 90\ndecision.warm: 10"),
        ["warning traffic.fallback 90 of 100 requests"]
    );
    assert_eq!(one("decision.warm: 1000\nfailed: 20"), ["warning traffic.failed 20 of 1000 requests"]);
    assert_eq!(
        one("written: 70\nunwritten.media: 5\nunwritten.uncovered: 25\nunwritten.api: 0"),
        ["warning traffic.unwritten 30 of 100 prompts: uncovered 25, media 5"]
    );
    assert_eq!(one("written: 90\nunwritten.media: 10"), Vec::<String>::new());
    assert_eq!(one("unwritten.media: 10"), Vec::<String>::new(), "too few prompts");
    assert_eq!(
        one("tokens.predicted: 200000\ntokens.cached: 50000"),
        ["warning traffic.prediction 50000 tokens were cached of 200000 that were expected"]
    );
    let stats = format!("{STATS}wasm.warmpath.router.vm_reload: 2\n");
    assert_eq!(found(&Pages { stats, ..pages() }), ["warning filter.reloads 2 VMs were built again"]);
}

#[test]
fn clusters_that_prefill_legs_cannot_use_are_found() {
    let found = |pages: &Pages, cluster: Option<&str>| {
        let endpoints = (8001..=8008).map(|port| format!("127.0.0.1:{port}")).collect();
        let leg_clusters = [cluster.map(str::to_owned)].into();
        let wanted = Wanted { endpoints, pools: 1, leg_clusters, ..Wanted::default() };
        let mut findings = Findings::new("");
        check(pages, Some(&wanted), &mut findings);
        wrong(findings)
    };
    assert_eq!(found(&pages(), None), Vec::<String>::new());
    assert_eq!(found(&pages(), Some("engines")), Vec::<String>::new());
    assert_eq!(
        found(&pages(), Some("legs")),
        ["error split.cluster cluster legs: there is none of this name"]
    );
    let controller = ["error split.cluster cluster warmpath_controller: does not read the header"];
    assert_eq!(found(&pages(), Some("warmpath_controller")), controller);
    let metadata =
        json!([{"metadata": {"key": "envoy.lb", "path": [{"key": "x-gateway-destination-endpoint"}]}}]);
    let policy = "load_balancing_policy/policies/0/typed_extension_config/typed_config/override_host_sources";
    let unread = found(&with(ENGINES, policy, metadata), None);
    assert_eq!(unread.last().unwrap(), "error split.cluster cluster engines: does not read the header");
}

#[test]
fn a_cluster_without_endpoints_is_found() {
    let clusters = json!({"cluster_statuses": [{"name": "engines"}]});
    assert_eq!(found(&Pages { clusters, ..pages() }), ["error cluster.hosts cluster engines: endpoints: 0"]);
}

#[test]
fn an_envoy_is_compared_with_its_controller() {
    let compared = |wanted: &Wanted| {
        let mut findings = Findings::new("");
        check(&pages(), Some(wanted), &mut findings);
        wrong(findings)
    };
    let endpoints = |ports: std::ops::RangeInclusive<u16>| Wanted {
        endpoints: ports.map(|port| format!("127.0.0.1:{port}")).collect(),
        ..Wanted::default()
    };
    assert_eq!(compared(&endpoints(8001..=8008)), Vec::<String>::new());
    assert_eq!(
        compared(&endpoints(8002..=8009)),
        [
            "warning cluster.endpoints 7 in both, only in the controller: 127.0.0.1:8009, only in Envoy: 127.0.0.1:8001"
        ]
    );
    let apart = compared(&endpoints(9001..=9001));
    assert!(
        apart[0].starts_with("error cluster.endpoints 0 in both, only in the controller: 127.0.0.1:9001"),
        "{apart:?}"
    );
    let many = Wanted { pools: 2, ..endpoints(8001..=8008) };
    assert_eq!(compared(&many), Vec::<String>::new(), "the shipped limits are enough for several pools");
}

/// What is found where requests may wait for ten minutes.
fn found_held(pages: &Pages) -> Vec<String> {
    let wanted = Wanted { pools: 1, hold_s_max: 600, ..Wanted::default() };
    let mut findings = Findings::new("");
    check(pages, Some(&wanted), &mut findings);
    wrong(findings).into_iter().filter(|line| line.contains(" hold.")).collect()
}

#[test]
fn limits_that_cut_held_requests_are_found() {
    assert_eq!(found_held(&pages()), Vec::<String>::new());
    let route = "route (/inference|/v2)?/(v1/.+|generate|(de)?tokenize|embed|encode|pooling|classify|score|rerank|health|version) \
                 of all";
    let waits = "and requests wait for up to 600 s";
    let cases = [
        (
            ROUTE,
            "route/idle_timeout",
            json!("300s"),
            format!("error hold.idle-timeout {route}: 300 s, {waits}"),
        ),
        (
            ROUTE,
            "route/idle_timeout",
            json!("605s"),
            format!("error hold.idle-timeout {route}: 605 s, {waits}"),
        ),
        (
            ROUTE,
            "route/max_stream_duration",
            json!({"max_stream_duration": "60s"}),
            format!("error hold.stream-duration {route}: 60 s, {waits}"),
        ),
        (
            MANAGER,
            "common_http_protocol_options",
            json!({"max_stream_duration": "60s"}),
            format!("error hold.stream-duration {route}: 60 s, {waits}"),
        ),
        (
            MANAGER,
            "http2_protocol_options/max_concurrent_streams",
            json!(100),
            "warning hold.concurrent-streams listener gateway: streams: 100".to_owned(),
        ),
    ];
    for (place, field, value, wanted) in cases {
        assert_eq!(found_held(&with(place, field, value.clone())), [wanted], "{field}: {value}");
    }
    for value in ["610s", "0s"] {
        let pages = with(ROUTE, "route/idle_timeout", json!(value));
        assert_eq!(found_held(&pages), Vec::<String>::new(), "{value}");
    }
    assert_eq!(
        found(&with(ROUTE, "route/max_stream_duration", json!({"max_stream_duration": "60s"}))),
        Vec::<String>::new(),
        "nothing is held"
    );
}

#[test]
fn the_longest_wait_of_the_plugins_own_pools_counts_too() {
    let plugin = r#"{"pools":[{"name":"a","models":["*"],"hold":{"room_s":3600}}],"controller":{"cluster":"warmpath_controller"}}"#;
    let mut pages = with(PLUGIN, "configuration/value", json!(plugin));
    assert_eq!(
        found(&pages),
        Vec::<String>::new(),
        "what is shipped allows the longest wait that there can be"
    );
    pages.config_dump.pointer_mut(ROUTE).unwrap()["route"]["idle_timeout"] = json!("3600s");
    let lines = found(&pages);
    assert!(lines[0].ends_with("3600 s, and requests wait for up to 3600 s"), "{lines:?}");
}

#[test]
fn an_overload_action_that_cuts_held_requests_is_found() {
    let mut pages = pages();
    let actions = pages.config_dump.pointer_mut("/configs/0/bootstrap/overload_manager/actions").unwrap();
    let scaled = json!([{"timer": "HTTP_DOWNSTREAM_STREAM_IDLE", "min_timeout": "2s"}]);
    actions.as_array_mut().unwrap().push(
        json!({"name": "envoy.overload_actions.reduce_timeouts", "typed_config": {"timer_scale_factors": scaled}}),
    );
    let wanted =
        "warning hold.reduced-timeouts envoy.overload_actions.reduce_timeouts: HTTP_DOWNSTREAM_STREAM_IDLE";
    assert_eq!(found_held(&pages), [wanted]);
    assert_eq!(found(&pages), Vec::<String>::new(), "nothing is held");
}

#[test]
fn bodies_that_would_fill_envoys_memory_are_found() {
    let plugin = r#"{"controller":{"cluster":"warmpath_controller"},"hold":{"body_bytes_max":3221225472}}"#;
    let pages = with(PLUGIN, "configuration/value", json!(plugin));
    assert_eq!(found_held(&pages), ["warning hold.memory 3072 MiB of 4096 MiB"]);
}
