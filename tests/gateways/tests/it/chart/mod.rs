//! What the chart renders.

mod caches;
pub(crate) mod envoy;
mod models;
mod pods;
mod rbac;
mod refused;
mod serves;

use warmpath::config::Settings;
use warmpath_gateways::{Chart, Manifests};

/// The one value that has no default.
pub(crate) const IMAGE: &str = "image: {controller: registry.example.com/warmpath:0.1.0}\n";

/// Renders the chart with these values.
pub(crate) fn render(values: &str) -> Manifests {
    let chart = Chart::new(&format!("{IMAGE}{values}")).unwrap();
    chart.render().unwrap_or_else(|error| panic!("{error}\nwith {values}"))
}

#[test]
fn the_chart_passes_helms_own_checks() {
    for values in ["", "gateway: {kind: none}", "clusterWide: true", "auth: {enabled: false}"] {
        let chart = Chart::new(&format!("{IMAGE}{values}")).unwrap();
        chart.lint().unwrap_or_else(|error| panic!("{error}\nwith {values}"));
    }
}

#[test]
fn every_object_has_its_namespace_and_names_that_are_unique() {
    let all = render(
        "podMonitor: {enabled: true}\nnetworkPolicy: {enabled: true}\ngateway: {autoscaling: {enabled: true}}\n\
         namespaces: [llm, other]",
    );
    let mut names = Vec::new();
    for object in all.objects() {
        let name = (
            object["kind"].to_string(),
            object["metadata"]["namespace"].to_string(),
            object["metadata"]["name"].to_string(),
        );
        assert!(object["metadata"]["namespace"].is_string(), "{name:?}");
        assert!(!names.contains(&name), "{name:?} twice");
        names.push(name);
    }
}

#[test]
fn the_controllers_file_is_one_that_the_controller_takes() {
    let rendered = render(
        "namespaces: [llm, other]\npools: [{name: a, namespace: other, selector: {app: vllm}, ports: [8000], adapters: [sql], weight: 1000000,\n\
         transfer: {protocol: sglang, bootstrap_port: 8998}, hold: {endpoint_s: 3600, tenants: [{name: gold, weight: 3}]}}]\n\
         tls: {secret: certificate}\ncontroller: {settings: {cell_bytes: 128, scrape: {interval_ms: 500}}}",
    );
    let file = rendered.object("ConfigMap", "warmpath-controller").unwrap();
    let settings = Settings::parse(file["data"]["controller.yaml"].as_str().unwrap()).unwrap();
    assert_eq!(settings.cell_bytes, 128);
    assert_eq!(settings.listen.grpc.port(), 18000);
    assert!(settings.tls.is_some() && settings.token_file.is_some() && settings.wasm_file.is_some());
    let kubernetes = settings.kubernetes.unwrap();
    assert_eq!(kubernetes.namespaces, ["llm", "other"]);
    assert_eq!(kubernetes.pools[0].name.to_string(), "other/a");
    assert_eq!(kubernetes.pools[0].weight, 1_000_000, "as a whole number, and not as 1e+06");
    assert_eq!(kubernetes.pools[0].transfer.as_ref().unwrap().bootstrap_port, 8998);
    let hold = kubernetes.pools[0].hold.as_ref().unwrap();
    assert_eq!((hold.endpoint_ms_max, hold.tenants[0].weight), (3_600_000, 3));
    assert_eq!(kubernetes.gateway.unwrap().to_string(), "llm/warmpath-gateway");
    assert_eq!(kubernetes.lease.to_string(), "llm/warmpath-controller");
    let labels = &rendered.object("Deployment", "warmpath-controller").unwrap()["spec"]["template"]["metadata"]
        ["labels"];
    for (key, value) in &kubernetes.peers.unwrap().selector {
        assert_eq!(labels[key], **value, "the replicas");
    }
}
