//! The manifests for `kubectl apply` are the chart's, and suffice together with their README.

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

#[test]
fn the_files_are_yaml_and_name_what_is_to_be_changed() {
    for file in FILES {
        let text = file.render().unwrap();
        let manifests = Manifests::parse(text.clone()).unwrap();
        assert!(!manifests.objects().is_empty(), "{}", file.path);
        let is_fetched = !file.path.ends_with("-file.yaml");
        assert_eq!(text.contains("SHA256"), is_fetched, "{}", file.path);
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
