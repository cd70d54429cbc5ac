//! The shipped file and the typed resources are one configuration, as Envoy understands both.

use crate::backend::Backend;
use crate::stub::StubWasm;
use http::StatusCode;
use serde_json::{Map, Value, json};
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::resources::{CONTROLLER, ENGINES, Filter, GATEWAY, Gateway, WasmFilter};
use warmpath_envoy::shipped::ShippedConfig;
use warmpath_envoy::xds::ControlPlane;

#[tokio::test]
async fn the_typed_resources_are_the_shipped_configuration() {
    let engine = Backend::start(StatusCode::OK).await;
    let stub = StubWasm::new();
    let plugin = json!({ "pools": [] });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("envoy.json");
    let shipped =
        ShippedConfig::new().listener_port(0).admin_port(0).wasm(stub.path()).plugin(plugin.clone());
    shipped.write(&file).unwrap();
    let from_file = Envoy::from_file(&file, &Launch::default()).await.unwrap();

    let filter = Filter::Wasm(WasmFilter::new(stub.path(), plugin));
    let plane = ControlPlane::start(Gateway::new(filter, &[engine.addr()]).resources()).await.unwrap();
    let from_plane = Envoy::from_control_plane(&plane, &Launch::default()).await.unwrap();
    from_plane.listener(GATEWAY).await.unwrap();

    let shipped = settings(&from_file.admin().config_dump().await.unwrap());
    let typed = settings(&from_plane.admin().config_dump().await.unwrap());
    for name in ["listener", "route", ENGINES, CONTROLLER] {
        let (shipped, typed) = (shipped.get(name).unwrap(), typed.get(name).unwrap());
        assert_eq!(shipped, typed, "{name}: the file at the left, the typed resource at the right");
    }
}

/// What must agree, by name: everything but where endpoints and routes come from.
fn settings(dump: &Value) -> Map<String, Value> {
    let mut found = Map::new();
    let mut listener = find(dump, &|value| is_a(value, "config.listener.v3.Listener")).unwrap();
    let manager =
        listener.pointer_mut("/filter_chains/0/filters/0/typed_config").unwrap().as_object_mut().unwrap();
    manager.remove("route_config");
    manager.remove("rds");
    found.insert("listener".to_owned(), listener);
    let route = find(dump, &|value| is_a(value, "config.route.v3.RouteConfiguration")).unwrap();
    found.insert("route".to_owned(), route);
    for name in [ENGINES, CONTROLLER] {
        let named = |value: &Value| value.get("name").is_some_and(|found| found == name);
        let mut cluster =
            find(dump, &|value| is_a(value, "config.cluster.v3.Cluster") && named(value)).unwrap();
        let fields = cluster.as_object_mut().unwrap();
        for source in ["type", "load_assignment", "eds_cluster_config"] {
            fields.remove(source);
        }
        found.insert(name.to_owned(), cluster);
    }
    found
}

fn is_a(value: &Value, message: &str) -> bool {
    value.get("@type").and_then(Value::as_str).is_some_and(|url| url.ends_with(message))
}

/// The first value, in depth, that is wanted.
fn find(value: &Value, wanted: &dyn Fn(&Value) -> bool) -> Option<Value> {
    if wanted(value) {
        return Some(value.clone());
    }
    match value {
        Value::Array(values) => values.iter().find_map(|value| find(value, wanted)),
        Value::Object(fields) => fields.values().find_map(|value| find(value, wanted)),
        _ => None,
    }
}
