//! The manifests for `kubectl apply` are the chart's, and suffice together with their README.

use crate::chart::render;
use serde_json::Value;
use std::fs;
use std::path::Path;
use warmpath_gateways::Manifests;
use warmpath_gateways::plain::FILES;

#[test]
fn the_files_are_what_the_chart_renders() {
    for file in FILES {
        let on_disk = fs::read_to_string(file.on_disk()).unwrap_or_default();
        assert!(
            on_disk == file.render().unwrap(),
            "{} is not what the chart renders: ./just generate",
            file.path
        );
    }
}

/// Istio's agent responds with 403 to all requests where it cannot fetch the code.
#[test]
fn gateways_of_istio_fetch_the_filter_only_where_the_name_of_the_file_says_so() {
    for file in FILES {
        let text = file.render().unwrap();
        let manifests = Manifests::parse(text.clone()).unwrap();
        assert!(!manifests.objects().is_empty(), "{}", file.path);
        let is_local = ["istio/gateway.yaml", "istio/shared-gateway.yaml", "istio/inferencepool.yaml"]
            .contains(&file.path);
        assert_eq!(text.contains("SHA256"), !is_local, "{}", file.path);
    }
}

/// A line may hold the sum twice: as a part of the path, and by itself.
#[test]
fn the_readmes_put_the_sum_in_all_places() {
    for readme in ["istio/README.md", "envoy/envoy-gateway/README.md"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(readme);
        assert!(fs::read_to_string(path).unwrap().contains(r#"sed "s/SHA256/$sum/g""#), "{readme}");
    }
}

/// `istio/pods.yaml` is written by hand, for the manifests and as the chart's own gateway does it.
#[test]
fn the_patch_of_pods_brings_what_the_manifests_read() {
    let on_disk = |path: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
        Manifests::parse(fs::read_to_string(path).unwrap()).unwrap()
    };
    let patch = on_disk("istio/pods.yaml");
    let pod = &patch.objects()[0]["spec"]["template"]["spec"];
    let chart = render("");
    let own = &chart.object("Deployment", "warmpath-gateway").unwrap()["spec"]["template"]["spec"];
    let installer = &pod["initContainers"][0];
    assert_eq!(installer["args"], own["initContainers"][0]["args"]);
    assert_eq!(installer["resources"], own["initContainers"][0]["resources"]);

    let gateway = on_disk("istio/gateway.yaml");
    let filter = gateway.of_kind("EnvoyFilter").next().unwrap();
    let patches = filter["spec"]["configPatches"].as_array().unwrap();
    let wasm = "/patch/value/typed_config/config/vm_config";
    let vm = patches.iter().find_map(|patch| patch.pointer(wasm)).unwrap();
    let proxy = &pod["containers"][0];
    assert_eq!(vm["environment_variables"]["host_env_keys"][0], proxy["env"][0]["name"]);
    let filename = Path::new(vm["code"]["local"]["filename"].as_str().unwrap());
    let folder = |container: &Value| container["volumeMounts"][0]["mountPath"].as_str().unwrap().to_owned();
    assert_eq!(filename.parent(), Some(Path::new(&folder(proxy))));
    assert_eq!(folder(installer), folder(proxy));
    let volume = &pod["volumes"][0]["name"];
    assert!([installer, proxy].iter().all(|container| container["volumeMounts"][0]["name"] == *volume));
}
