//! `docs/configuration.md` lists every field that the readers know, and its examples are valid.
//!
//! The readers themselves are asked: a fault about an unknown field lists the known ones.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use warmpath::config::Settings;
use warmpath_config::{Faults, Problem, plugin};

const PAGE: &str = include_str!("../../../docs/configuration.md");
const ENVOY_YAML: &str = include_str!("../../../envoy/envoy.yaml");

type Fields = BTreeSet<String>;
type Parse = fn(&str) -> Option<Faults>;

const FILTER: Parse = |text| plugin::parse(text.as_bytes(), |_| Some("token".to_owned())).err();
const CONTROLLER: Parse = |text| Settings::parse(text).err();

/// All fields below `path`, which `document` puts a value at.
fn known(parse: Parse, path: &str, document: &dyn Fn(Value) -> Value) -> Fields {
    let unknown = if path.is_empty() { "?".to_owned() } else { format!("{}.?", path.replace("[]", "[0]")) };
    let faults = parse(&document(json!({"?": 0})).to_string());
    let names = faults.iter().flat_map(Faults::iter).find_map(|fault| match &fault.problem {
        Problem::Unknown { known } if fault.place.path == unknown => Some(known.clone()),
        _ => None,
    });
    let mut fields = Fields::new();
    for name in names.unwrap_or_default() {
        let field = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        fields.extend(known(parse, &field, &|value| document(json!({name: value}))));
        fields.extend(known(parse, &format!("{field}[]"), &|value| document(json!({name: [value]}))));
        fields.insert(field);
    }
    fields
}

fn section(from: &str) -> &'static str {
    let (_, section) = PAGE.split_once(from).unwrap();
    section.split("\n## ").next().unwrap()
}

/// The first column of the section's tables of fields.
fn documented(section: &str) -> Fields {
    let tables = section.split("| field | default | meaning |\n|---|---|---|\n").skip(1);
    let rows = tables.flat_map(|table| table.lines().take_while(|line| line.starts_with('|')));
    let fields = rows.flat_map(|row| row.split(" | ").next().unwrap().split('`').skip(1).step_by(2));
    fields.map(str::to_owned).collect()
}

fn example<'a>(section: &'a str, language: &str) -> &'a str {
    let (_, block) = section.split_once(&format!("```{language}\n")).unwrap();
    block.split("```").next().unwrap()
}

/// Asserts that both name the same fields; a map is documented by its fields.
fn assert_same(known: &Fields, documented: &Fields) {
    let is_documented = |field: &str| {
        documented.contains(field) || documented.iter().any(|row| row.starts_with(&format!("{field}.")))
    };
    let missing: Vec<_> = known.iter().filter(|field| !is_documented(field)).collect();
    assert!(missing.is_empty(), "docs/configuration.md does not list {missing:?}");
    let stale: Vec<_> = documented.difference(known).collect();
    assert!(stale.is_empty(), "docs/configuration.md lists fields that do not exist: {stale:?}");
}

#[test]
fn every_field_of_the_filter_is_documented() {
    let known = known(FILTER, "", &|value| value);
    assert!(known.contains("pools[].endpoints") && known.contains("controller.cluster"), "{known:?}");
    assert_same(&known, &documented(section("\n## The filter\n")));
}

#[test]
fn every_field_of_the_controllers_file_is_documented() {
    let known = known(CONTROLLER, "", &|value| value);
    assert!(known.contains("pools[].endpoints") && known.contains("scrape.interval_ms"), "{known:?}");
    let mut rows = documented(section("\n## The controller\n"));
    // "same as the filter's", says the row of `pools`.
    rows.extend(
        documented(section("\n## The filter\n")).into_iter().filter(|row| row.starts_with("pools[]")),
    );
    assert_same(&known, &rows);
}

#[test]
fn the_examples_are_valid() {
    let json = example(section("\n## The filter\n"), "json");
    assert_eq!(FILTER(json), None);
    let controller = section("\n## The controller\n");
    assert_eq!(CONTROLLER(example(controller, "yaml")), None);
    assert_eq!(CONTROLLER(example(controller.split_once("### In Kubernetes").unwrap().1, "yaml")), None);
    let (_, shipped) = ENVOY_YAML.split_once("value: |\n").unwrap();
    assert_eq!(FILTER(shipped.lines().next().unwrap()), None, "in envoy/envoy.yaml");
}
