//! The manifests for `kubectl apply` are those of the chart, and together with their README they suffice.

use std::fs;
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
