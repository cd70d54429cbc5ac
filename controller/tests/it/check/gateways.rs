//! Configurations that Istio and Envoy Gateway sent to an Envoy, captured there: with their own defaults, and with Warmpath's
//! resources applied.

use super::wrong;
use serde_json::{Value, json};
use warmpath::check::envoy::{Pages, Wanted, check};
use warmpath::check::finding::Findings;

/// Stats of a filter that works.
pub(super) const STATS: &str =
    "wasmcustom.warmpath.feed.connected: 1\nwasmcustom.warmpath.view.endpoints: 4\n";

/// The pages of an Envoy 1.40 with this configuration.
pub(super) fn pages(config: &str) -> Pages {
    let mut config_dump: Value = serde_json::from_str(config).unwrap();
    let bootstrap = json!({
        "@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump",
        "bootstrap": {"overload_manager": {"resource_monitors": [{"name": "envoy.resource_monitors.fixed_heap"}]}},
    });
    config_dump["configs"].as_array_mut().unwrap().push(bootstrap);
    Pages {
        server_info: json!({"version": "9e55/1.40.0/Clean/RELEASE/BoringSSL", "state": "LIVE"}),
        config_dump,
        clusters: Value::Null,
        stats: STATS.to_owned(),
    }
}

fn found(config: &str) -> Vec<String> {
    let mut findings = Findings::new("");
    check(&pages(config), None, &mut findings);
    wrong(findings)
}

macro_rules! captured {
    ($name:literal) => {
        found(include_str!(concat!("../../fixtures/envoy/", $name, ".json")))
    };
}

#[test]
fn what_warmpath_makes_of_a_gateway_is_in_order() {
    let open = |route: &str| vec![format!("warning route.public-paths route {route}: it matches every path")];
    assert_eq!(captured!("istio-service"), open("/ of *:8080"));
    assert_eq!(captured!("istio-ecds"), open("/ of *:8080"));
    assert_eq!(captured!("istio-inferencepool"), open("llm.llm.0 of *:8080"));
    assert_eq!(
        captured!("istio-perroute"),
        Vec::<String>::new(),
        "the other application's route is not looked at"
    );
    assert_eq!(captured!("envoy-gateway"), open("httproute/llm/llm/rule/0/match/0/* of llm/eg/http/*"));
}

#[test]
fn what_a_gateways_defaults_break_is_found() {
    let missing = ["error filter.missing none of 1 listeners has the filter warmpath.router"];
    assert_eq!(captured!("envoy-gateway-default"), missing);
    assert_eq!(
        captured!("istio-edge"),
        [
            "error listener.buffer listener 0.0.0.0_8080: 32 KiB",
            "warning listener.http2-window listener 0.0.0.0_8080: 64 KiB",
            "warning route.idle-timeout route / of *:8080: 300 s",
            "warning route.public-paths route / of *:8080: it matches every path",
        ]
    );
    assert_eq!(
        captured!("istio-wasmplugin"),
        [
            "error filter.headers-stop listener 0.0.0.0_8080: allow_on_headers_stop_iteration is not set, and no \
             affinity_headers are",
            "warning route.public-paths route / of *:8080: it matches every path",
        ]
    );
}

#[test]
fn a_sidecar_is_checked_for_the_services_of_its_port() {
    assert_eq!(
        captured!("istio-sidecar"),
        [
            "warning cluster.idle-timeout cluster outbound|8000||vllm-cip.llm.svc.cluster.local: an hour, Envoy's own",
            "warning cluster.connect-timeout cluster outbound|8000||vllm-cip.llm.svc.cluster.local: 10000 ms",
            "error cluster.present cluster outbound|8000||vllm.llm.svc.cluster.local: a route leads to it, and there is \
             none",
        ],
        "the capture has only one of the two clusters"
    );
}

#[test]
fn a_picker_beside_the_filter_and_a_choice_that_nobody_copies_are_found() {
    let capture = include_str!("../../fixtures/envoy/istio-inferencepool.json");
    let without_copy = capture.replace(".header_to_metadata.v3.Config", ".cors.v3.Cors");
    let lines = found(&without_copy);
    assert!(
        lines.iter().any(|line| line.starts_with("error cluster.override-source")
            && line.contains("no header_to_metadata")),
        "{lines:?}"
    );
    let with_picker = capture.replace(".fault.v3.HTTPFault", ".ext_proc.v3.ExternalProcessor");
    let lines = found(&with_picker);
    assert!(
        lines.contains(&"error filter.ext-proc listener 0.0.0.0_8080: envoy.filters.http.fault".to_owned()),
        "{lines:?}"
    );
}

#[test]
fn a_filter_that_was_not_fetched_is_found() {
    let capture = include_str!("../../fixtures/envoy/istio-ecds.json");
    let denied = capture.replace(
        "filters.http.wasm.v3.Wasm\",\n       \"config\"",
        "filters.http.rbac.v3.RBAC\",\n       \"rules\"",
    );
    assert_ne!(denied, capture);
    let lines = found(&denied);
    assert!(
        lines.iter().any(|line| line.starts_with("error filter.loaded") && line.contains("RBAC")),
        "{lines:?}"
    );
}

#[test]
fn envoy_gateway_cannot_hold_requests_for_an_endpoint() {
    let pages = pages(include_str!("../../fixtures/envoy/envoy-gateway.json"));
    let found = |holds_for_endpoint| {
        let wanted = Wanted { pools: 1, hold_s_max: 60, holds_for_endpoint, ..Wanted::default() };
        let mut findings = Findings::new("");
        check(&pages, Some(&wanted), &mut findings);
        wrong(findings).into_iter().filter(|line| line.contains(" hold.")).collect::<Vec<_>>()
    };
    assert_eq!(found(false), Vec::<String>::new(), "for room, it can");
    let wanted = "warning hold.route route httproute/llm/llm/rule/0/match/0/* of llm/eg/http/*: it leads to httproute/llm/llm/rule/0";
    assert_eq!(found(true), [wanted]);
}
