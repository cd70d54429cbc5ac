//! The EnvoyFilters are applied to what istiod sends without them, and run.

use crate::chart::render;
use crate::gateway::{
    Clusters, RunningGateway, conversations_stay_together, forged_headers_are_ignored,
    full_engines_are_retried, long_requests_pass, requests_pass, sessions_stay_together,
};
use serde_json::{Value, json};
use std::sync::Arc;
use warmpath_envoy::until;
use warmpath_gateways::istio::{Context, PatchError, apply};
use warmpath_gateways::{Captured, Manifests};

const CONTROLLER: &str = "outbound|18000||warmpath-controller.llm.svc.cluster.local";
const ENGINES: &str = "outbound|8000||vllm.llm.svc.cluster.local";
const OTHER: &str = "outbound|8000||vllm-cip.llm.svc.cluster.local";
const BACKEND: &str = "backends: [{host: vllm.llm.svc.cluster.local, port: 8000}]";

const POOL: &str = "outbound|54321||pool-ip-27cac550.llm.svc.cluster.local";

/// What the chart renders with these values of `gateway.istio`, and the filter from this source.
fn manifests(istio: &str, source: &str) -> Manifests {
    let sum = "0".repeat(64);
    let url = if source == "oci" { "oci://registry.example.com/warmpath/router:0.1.0" } else { "" };
    let wasm = format!("{{source: {source}, sha256: \"{sum}\", url: \"{url}\"}}");
    render(&format!(
        "auth: {{enabled: false}}\ngateway: {{kind: istio, wasm: {wasm}, istio: {{{istio}}}, filter: {{affinity_headers: [x-session-id]}}}}"
    ))
}

fn envoy_filter(istio: &str, source: &str) -> Value {
    manifests(istio, source).of_kind("EnvoyFilter").next().unwrap().clone()
}

fn patched(fixture: &str, context: Context, filter: &Value) -> Captured {
    let mut captured = Captured::load(fixture).unwrap();
    apply(&mut captured, filter, context).unwrap_or_else(|error| panic!("{error:?}"));
    captured
}

async fn start(captured: &Captured, engines: &'static str) -> RunningGateway {
    let clusters = Clusters { engines, controller: CONTROLLER, other: OTHER };
    let gateway = RunningGateway::start(captured, &clusters).await;
    gateway.wait_routing().await;
    gateway
}

async fn serves_as_it_should(captured: &Captured, engines: &'static str) {
    let gateway = start(captured, engines).await;
    for client in [gateway.http1().await, gateway.http2().await] {
        long_requests_pass(&client).await;
    }
    let client = gateway.http1().await;
    conversations_stay_together(&gateway, &client).await;
    forged_headers_are_ignored(&gateway, &client).await;
    assert_eq!(gateway.wrong().await, Vec::<String>::new());
    full_engines_are_retried(&gateway, &client).await;
}

#[tokio::test]
async fn an_ingress_gateway_routes_by_cache_from_each_source_of_the_filter() {
    for source in ["http", "oci", "file"] {
        let captured = patched("istio-gateway", Context::Gateway, &envoy_filter(BACKEND, source));
        assert_eq!(captured.extensions.len(), usize::from(source != "file"));
        serves_as_it_should(&captured, ENGINES).await;
    }
}

#[tokio::test]
async fn an_ingress_gateway_with_the_edge_profile_routes_by_cache() {
    let captured = patched("istio-gateway-edge", Context::Gateway, &envoy_filter(BACKEND, "http"));
    serves_as_it_should(&captured, ENGINES).await;
}

#[tokio::test]
async fn a_gateway_of_the_gateway_api_routes_by_cache_to_an_inference_pool() {
    let istio = "mode: inferencePool, gateway: gw, inferencePools: [{name: pool}]";
    let captured = patched("istio-inferencepool", Context::Gateway, &envoy_filter(istio, "http"));
    serves_as_it_should(&captured, POOL).await;
    let rules = manifests(istio, "http");
    let rule = rules.of_kind("DestinationRule").next().unwrap();
    assert!(POOL.ends_with(rule["spec"]["host"].as_str().unwrap()), "{rule}");
}

#[tokio::test]
async fn other_routes_of_a_shared_gateway_are_left_alone() {
    let filter = envoy_filter(&format!("{BACKEND}, routes: [llm]"), "http");
    let captured = patched("istio-gateway-shared", Context::Gateway, &filter);
    serves_as_it_should(&captured, ENGINES).await;

    let gateway = start(&captured, ENGINES).await;
    let address = gateway.backends.engines[0].addr().to_string();
    let forged = [("x-gateway-destination-endpoint", address.as_str())];
    for headers in [&[][..], &forged[..]] {
        let response = gateway.http1().await.post_json_with("/other", headers, &json!({})).await.unwrap();
        assert_eq!(response.header("x-engine"), Some("other"));
    }
    conversations_stay_together(&gateway, &gateway.http1().await).await;
    until("the counters", async || (gateway.decisions().await >= 24).then_some(())).await.unwrap();
    assert_eq!(gateway.decisions().await, 24, "those of the conversations");
}

#[tokio::test]
async fn a_clients_sidecar_routes_by_cache_and_only_to_the_service_of_engines() {
    let istio = "mode: sidecar, selector: {app: client}, backends: [{host: vllm-cip.llm.svc.cluster.local, port: 8000}]";
    let filter = envoy_filter(istio, "http");
    assert_eq!(filter["spec"]["workloadSelector"]["labels"], json!({ "app": "client" }));
    let mut captured = patched("istio-sidecar", Context::SidecarOutbound, &filter);
    let hosts = captured.routes[0]["virtual_hosts"].as_array().unwrap();
    let turned_on = |host: &&Value| host["routes"][0].get("typed_per_filter_config").is_some();
    let on: Vec<_> = hosts.iter().filter(turned_on).map(|host| host["name"].clone()).collect();
    assert_eq!(on, ["vllm-cip.llm.svc.cluster.local:8000"]);

    // The tests' clients connect to an address of this machine.
    let host = captured.routes[0]["virtual_hosts"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .find(|host| on.contains(&host["name"]));
    host.unwrap()["domains"] = json!(["127.0.0.1:*", "127.0.0.1", "*.0.0.1"]);
    captured.routes[0]["ignore_port_in_host_matching"] = json!(true);
    serves_as_it_should(&captured, OTHER).await;
}

/// What Istio's agent sends in place of a filter that it could not fetch. In force, it responds with 403 to all requests.
fn substitute() -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
        "rules": {},
        "rules_stat_prefix": "wasm-default-deny"
    })
}

#[tokio::test]
async fn requests_pass_where_istio_cannot_fetch_the_filter() {
    let sidecar = "mode: sidecar, selector: {app: client}, backends: [{host: vllm-cip.llm.svc.cluster.local, port: 8000}]";
    let places = [
        ("istio-gateway", Context::Gateway, BACKEND.to_owned(), ENGINES),
        ("istio-gateway-shared", Context::Gateway, format!("{BACKEND}, routes: [llm]"), ENGINES),
        ("istio-sidecar", Context::SidecarOutbound, sidecar.to_owned(), OTHER),
    ];
    for (fixture, context, istio, engines) in places {
        let mut captured = patched(fixture, context, &envoy_filter(&istio, "http"));
        captured.extensions[0]["typed_config"] = substitute();
        if fixture == "istio-sidecar" {
            // The tests' clients connect to an address of this machine.
            let hosts = captured.routes[0]["virtual_hosts"].as_array_mut().unwrap();
            hosts.retain(|host| host["name"] == "vllm-cip.llm.svc.cluster.local:8000");
            hosts[0]["domains"] = json!(["*"]);
        }
        let clusters = Clusters { engines, controller: CONTROLLER, other: OTHER };
        let gateway = RunningGateway::start(&captured, &clusters).await;
        requests_pass(&gateway.http1().await).await;
        let rejected = gateway.envoy.admin().stats("extension_config_discovery").await.unwrap();
        assert!(
            rejected.iter().any(|(name, count)| name.ends_with("config_fail") && *count > 0),
            "{rejected:?}"
        );
    }
}

#[tokio::test]
async fn with_a_wasm_plugin_nothing_hangs_and_sessions_stay_together() {
    let manifests = manifests(&format!("{BACKEND}, form: wasmPlugin"), "http");
    let filter = manifests.of_kind("EnvoyFilter").next().unwrap();
    let plugin = manifests.of_kind("WasmPlugin").next().unwrap();
    let mut captured = patched("istio-wasmplugin", Context::Gateway, filter);
    captured.extensions[0]["typed_config"]["config"]["configuration"]["value"] =
        json!(plugin["spec"]["pluginConfig"].to_string());
    let gateway = start(&captured, ENGINES).await;
    for client in [gateway.http1().await, gateway.http2().await] {
        long_requests_pass(&client).await;
    }
    let client = gateway.http1().await;
    sessions_stay_together(&client).await;
    let wrong = gateway.wrong().await;
    let [flag, withheld] = wrong.as_slice() else { panic!("{wrong:?}") };
    assert!(
        flag.starts_with("warning filter.headers-stop") && flag.ends_with("affinity by x-session-id only"),
        "{flag}"
    );
    assert!(withheld.starts_with("warning traffic.withheld"), "{withheld}");
    full_engines_are_retried(&gateway, &client).await;
}

/// Istio's proxies start 15 seconds later with a rule that names a Secret that they may not read, and its sidecars ignore the
/// name of a Secret.
#[test]
fn only_proxies_with_the_filter_verify_the_controllers_certificate_each_as_it_can() {
    let secret = ("credentialName", "certificate");
    let file = ("caCertificates", "/etc/warmpath-tls/ca.crt");
    let of_gateway = json!({ "gateway.networking.k8s.io/gateway-name": "gw" });
    let modes = [
        (BACKEND.to_owned(), "llm", json!({ "istio": "ingressgateway" }), secret),
        (format!("{BACKEND}, namespace: edge, selector: {{a: b}}"), "edge", json!({ "a": "b" }), secret),
        (
            "mode: inferencePool, gateway: gw, inferencePools: [{name: pool}]".to_owned(),
            "llm",
            of_gateway,
            secret,
        ),
        (
            format!("{BACKEND}, mode: sidecar, selector: {{app: client}}"),
            "llm",
            json!({ "app": "client" }),
            file,
        ),
    ];
    for (istio, namespace, labels, (authority, place)) in modes {
        let rendered = render(&format!(
            "tls: {{secret: certificate}}\ngateway: {{kind: istio, wasm: {{source: file}}, istio: {{{istio}}}}}"
        ));
        let rule = rendered.object("DestinationRule", "warmpath-controller").unwrap();
        assert_eq!(rule["metadata"]["namespace"], namespace, "a selector is for its own namespace: {istio}");
        let rule = &rule["spec"];
        assert_eq!(rule["workloadSelector"]["matchLabels"], labels, "{istio}");
        assert_eq!(CONTROLLER.rsplit('|').next(), rule["host"].as_str());
        let tls = &rule["trafficPolicy"]["portLevelSettings"][0]["tls"];
        assert_eq!(tls[authority], place, "{istio}");
        assert_eq!(tls["sni"], "warmpath-controller.llm.svc");
    }
}

#[test]
fn a_token_and_strict_engines_have_their_resources() {
    let sum = "0".repeat(64);
    let rendered = render(&format!(
        "gateway: {{kind: istio, wasm: {{sha256: \"{sum}\"}}, \
         istio: {{{BACKEND}, permissive: {{enabled: true, selector: {{app: vllm}}}}}}}}"
    ));
    let engines = rendered.object("PeerAuthentication", "warmpath-engines").unwrap();
    assert_eq!(engines["spec"]["portLevelMtls"], json!({ "8000": { "mode": "PERMISSIVE" } }));
    assert_eq!(engines["spec"]["selector"]["matchLabels"], json!({ "app": "vllm" }), "required with a port");

    let filter = rendered.of_kind("EnvoyFilter").next().unwrap();
    let config = &filter["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]["config"];
    let own: Value = serde_json::from_str(config["configuration"]["value"].as_str().unwrap()).unwrap();
    let variable = &own["controller"]["token_env"];
    assert_eq!(config["vm_config"]["environment_variables"]["host_env_keys"], json!([variable]));
}

#[test]
fn a_patch_that_matches_nothing_is_an_error() {
    let mut captured = Captured::load("istio-gateway").unwrap();
    let filter = envoy_filter("backends: [{host: another.llm.svc.cluster.local, port: 8000}]", "http");
    let error = apply(&mut captured, &filter, Context::Gateway).unwrap_err();
    assert!(matches!(&error, PatchError::Unmatched { kind, .. } if kind == "CLUSTER"), "{error}");

    let filter = envoy_filter(BACKEND, "http");
    let error = apply(&mut captured, &filter, Context::SidecarOutbound).unwrap_err();
    assert!(matches!(error, PatchError::Unmatched { .. }), "{error}");
}

/// A gateway that misses some patches.
async fn without(
    fixture: &str,
    istio: &str,
    engines: &'static str,
    missing: impl Fn(&Value) -> bool,
) -> Arc<RunningGateway> {
    let mut filter = envoy_filter(istio, "http");
    let patches = filter["spec"]["configPatches"].as_array_mut().unwrap();
    let before = patches.len();
    patches.retain(|patch| !missing(patch));
    assert!(patches.len() < before, "the patch is there");
    Arc::new(start(&patched(fixture, Context::Gateway, &filter), engines).await)
}

/// Whether a check fails.
async fn fails(check: impl Future<Output = ()> + Send + 'static) -> bool {
    tokio::spawn(check).await.is_err_and(|error| error.is_panic())
}

fn applies_to(kind: &'static str, part: &'static str) -> impl Fn(&Value) -> bool {
    move |patch| patch["applyTo"] == kind && patch.to_string().contains(part)
}

#[tokio::test]
async fn without_its_policy_the_engines_cluster_ignores_the_choice() {
    let gateway = without("istio-gateway", BACKEND, ENGINES, applies_to("CLUSTER", "override_host")).await;
    let client = gateway.http1().await;
    assert!(fails(async move { conversations_stay_together(&gateway, &client).await }).await);
}

#[tokio::test]
async fn without_its_limit_the_listener_of_the_edge_refuses_long_requests() {
    let gateway = without("istio-gateway-edge", BACKEND, ENGINES, applies_to("LISTENER", "")).await;
    let client = gateway.http1().await;
    assert!(fails(async move { long_requests_pass(&client).await }).await);
}

#[tokio::test]
async fn without_its_retries_a_route_passes_on_the_status_of_a_full_engine() {
    let gateway = without("istio-gateway", BACKEND, ENGINES, applies_to("HTTP_ROUTE", "")).await;
    let client = gateway.http1().await;
    assert!(fails(async move { full_engines_are_retried(&gateway, &client).await }).await);
}

#[tokio::test]
async fn without_its_two_patches_an_inference_pool_fails_or_ignores_the_choice() {
    let istio = "mode: inferencePool, gateway: gw, inferencePools: [{name: pool}]";
    for missing in ["header_to_metadata", "ext_proc"] {
        let gateway = without("istio-inferencepool", istio, POOL, applies_to("HTTP_FILTER", missing)).await;
        let client = gateway.http1().await;
        assert!(
            fails(async move { conversations_stay_together(&gateway, &client).await }).await,
            "{missing}"
        );
    }
}
