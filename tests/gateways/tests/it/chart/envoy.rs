//! The chart's Envoy is `envoy/envoy.yaml` with the EDS endpoints of `envoy/README.md`, and with the changes that are listed here
//! and no others.

use super::render;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use warmpath_envoy::process::validate;
use warmpath_envoy::shipped::ShippedConfig;
use warmpath_gateways::{Manifests, built_filter};

/// Envoy's configuration in a rendering.
pub(crate) fn config(rendered: &Manifests) -> Value {
    let map = rendered.object("ConfigMap", "warmpath-gateway").unwrap();
    serde_saphyr::from_str(map["data"]["envoy.yaml"].as_str().unwrap()).unwrap()
}

/// The places where two values differ. A list's element is known by its name, or by its number.
fn differences(left: &Value, right: &Value) -> BTreeSet<String> {
    fn walk(path: &str, left: &Value, right: &Value, found: &mut BTreeSet<String>) {
        let parts = [left, right].map(named);
        if let [Some(left), Some(right)] = parts {
            for key in left.keys().chain(right.keys()) {
                let sides = [&left, &right].map(|side| side.get(key).unwrap_or(&Value::Null));
                walk(&format!("{path}/{key}"), sides[0], sides[1], found);
            }
        } else if left != right {
            found.insert(path.to_owned());
        }
    }
    fn named(value: &Value) -> Option<Map<String, Value>> {
        let key = |(at, element): (usize, &Value)| {
            let name =
                element.get("name").and_then(Value::as_str).map_or_else(|| at.to_string(), ToOwned::to_owned);
            (name, element.clone())
        };
        match value {
            Value::Object(fields) => Some(fields.clone()),
            Value::Array(elements) => Some(elements.iter().enumerate().map(key).collect()),
            _ => None,
        }
    }
    let mut found = BTreeSet::new();
    walk("", left, right, &mut found);
    found
}

const CHANGED: [&str; 9] = [
    "/overload_manager/resource_monitors/envoy.resource_monitors.fixed_heap/typed_config/max_heap_size_bytes",
    "/static_resources/clusters/admin",
    "/static_resources/clusters/engines/eds_cluster_config/eds_config/api_config_source/grpc_services/0/envoy_grpc/authority",
    "/static_resources/clusters/engines/eds_cluster_config/eds_config/api_config_source/set_node_on_first_message_only",
    "/static_resources/clusters/engines/eds_cluster_config/eds_config/initial_fetch_timeout",
    "/static_resources/clusters/warmpath_controller/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/address",
    "/static_resources/clusters/warmpath_controller/type",
    "/static_resources/listeners/gateway/address/socket_address/address",
    "/static_resources/listeners/probes",
];

#[test]
fn the_charts_envoy_differs_from_the_shipped_one_only_where_it_must() {
    let shipped = ShippedConfig::new().eds().to_json().unwrap();
    let plain = config(&render("auth: {enabled: false}"));
    let found = differences(&shipped, &without_spaces(plain));
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), CHANGED);
}

#[test]
fn the_access_log_is_the_shipped_one() {
    let shipped = ShippedConfig::new().eds().access_log().to_json().unwrap();
    let with_log = config(&render("auth: {enabled: false}\ngateway: {accessLog: true}"));
    let found = differences(&shipped, &without_spaces(with_log));
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), CHANGED);
}

/// The filter's configuration, which is JSON in a string, written as the shipped file does.
fn without_spaces(mut config: Value) -> Value {
    let place = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config/configuration/value";
    let filter: Value = serde_json::from_str(config.pointer(place).unwrap().as_str().unwrap()).unwrap();
    assert_eq!(
        filter,
        json!({ "pools": [{ "name": "default", "models": ["*"] }], "controller": { "cluster": "warmpath_controller" } })
    );
    let shipped = ShippedConfig::new().to_json().unwrap();
    *config.pointer_mut(place).unwrap() = shipped.pointer(place).unwrap().clone();
    config
}

#[test]
fn envoy_accepts_what_the_chart_renders() {
    let variants = [
        "",
        "auth: {enabled: false}",
        "tls: {secret: certificate}\ngateway: {accessLog: true}",
        "listen: \"[::]\"\ncontroller: {settings: {cell_bytes: 128}}",
        "gateway: {filter: {explain: true, alternates: 1, tenant_header: x-tenant, hold: {body_bytes_max: 104857600}}, resources: {limits: {memory: 700Mi}}}",
    ];
    for values in variants {
        let rendered = render(values);
        let folder = tempfile::tempdir().unwrap();
        write(&rendered, folder.path(), |config| config);
        validate(&folder.path().join("envoy.json")).unwrap_or_else(|error| panic!("{error}\nwith {values}"));
    }
}

/// Writes what the gateway's pod has in its volumes: the files of its ConfigMap, with their paths moved into the folder, the
/// filter, and a token. `change` is for what cannot be as it is in a pod.
pub(crate) fn write(rendered: &Manifests, folder: &Path, change: impl Fn(Value) -> Value) {
    let here = folder.display();
    let data = &rendered.object("ConfigMap", "warmpath-gateway").unwrap()["data"];
    for (name, text) in data.as_object().unwrap() {
        let places = [": /etc/envoy/", ": /etc/warmpath/", ": /token", ": /tls"];
        let moved = places.iter().fold(text.as_str().unwrap().to_owned(), |text, place| {
            let last = place.trim_start_matches(": /etc/envoy").trim_start_matches(": /etc/warmpath");
            text.replace(place, &format!(": {here}{}", last.trim_start_matches(": ")))
        });
        if name == "envoy.yaml" {
            let config = change(serde_saphyr::from_str(&moved).unwrap());
            fs::write(folder.join("envoy.json"), config.to_string()).unwrap();
        } else {
            fs::write(folder.join(name), moved).unwrap();
        }
    }
    for secret in ["token", "tls"] {
        fs::create_dir(folder.join(secret)).unwrap();
    }
    fs::write(folder.join("token/token"), "secret").unwrap();
    fs::copy(built_filter().unwrap(), folder.join("router.wasm")).unwrap();
}
