//! Each of the chart's values must be used by a template: Helm ignores one that none reads, and nobody notices. And its Envoy must be the one
//! that the documents describe.
//!
//! Values by name only: what a template does with a value shows in `tests/cluster`.

use warmpath_tidy::{assert_none, files, root};

const CHART: &str = "controller/chart";

/// Values below one that a template passes on whole: `resources`.
const PASSED_ON: [&str; 2] = ["requests", "limits"];

#[test]
fn templates_use_every_value() {
    let values = std::fs::read_to_string(root().join(CHART).join("values.yaml")).unwrap();
    let templates: String = files(&[".yaml", ".tpl", ".txt"])
        .into_iter()
        .filter(|file| file.path.starts_with(&format!("{CHART}/templates")))
        .map(|file| file.text)
        .collect();
    let unused: Vec<String> = names(&values)
        .filter(|name| !PASSED_ON.contains(&name.as_str()) && !templates.contains(&format!(".{name}")))
        .collect();
    assert!(!templates.is_empty());
    assert_none(&unused, "values that no template uses");
}

/// The keys of block mappings, at any depth: those of a list or of braces are read as a whole.
fn names(values: &str) -> impl Iterator<Item = String> + '_ {
    values.lines().filter_map(|line| {
        let (name, _) = line.trim_start().split_once(':')?;
        let is_name = !name.is_empty() && name.chars().all(|character| character.is_ascii_alphanumeric());
        is_name.then(|| name.to_owned())
    })
}

/// A link out of the chart's folder would not arrive where the folder is packed by itself, as Flux does.
#[test]
fn the_charts_envoy_is_that_of_the_envoy_folder() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    assert!(!root().join("controller/chart/files/envoy.yaml").is_symlink());
    assert!(
        read("controller/chart/files/envoy.yaml") == read("envoy/envoy.yaml"),
        "cp envoy/envoy.yaml controller/chart/files/envoy.yaml"
    );
}
