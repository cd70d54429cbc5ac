//! The configuration file: what is right is read, what is wrong is told all at once.

use std::path::Path;
use std::time::Duration;
use warmpath::config::{LoadError, Settings, load};

const RIGHT: &str = include_str!("../fixtures/config/right.yaml");
const WRONG: &str = include_str!("../fixtures/config/wrong.yaml");
const WRONG_TOLD: &str = include_str!("../fixtures/config/wrong.txt");

#[test]
fn every_fault_is_told_with_its_line_and_its_remedy() {
    let told = Settings::parse(WRONG).unwrap_err().to_string();
    assert_eq!(told, WRONG_TOLD.trim_end(), "got:\n{told}\n");
}

#[test]
fn a_right_file_is_read() {
    let settings = Settings::parse(RIGHT).unwrap();
    assert_eq!(settings.listen.grpc, "127.0.0.1:18000".parse().unwrap());
    assert_eq!(settings.scrape.interval, Duration::from_millis(100));
    assert_eq!(settings.scrape.unhealthy_after, 2);
    assert_eq!(settings.cell_bytes, 512);
    assert_eq!(settings.pools.len(), 2);
    assert_eq!(settings.pools[0].models, ["llama", "meta/llama"]);
    assert_eq!(settings.pools[0].endpoints[1], "[::1]:8000".parse().unwrap());
    assert_eq!(settings.pools[0].kv_below_gpu_tokens, 1_000_000);
    assert_eq!(settings.pools[1].models, ["*"]);
    assert_eq!(settings.pools[1].kv_below_gpu_tokens, 0);
    assert_eq!(settings.pools[1].endpoints, []);
}

#[test]
fn what_is_left_out_has_a_default() {
    let settings = Settings::parse("pools: []").unwrap();
    assert_eq!(settings.listen.grpc.to_string(), "127.0.0.1:18000");
    assert_eq!(settings.scrape.interval, Duration::from_millis(200));
    assert_eq!(settings.cell_bytes, 256);
}

#[test]
fn text_that_is_no_yaml_is_told_with_its_line() {
    let told = Settings::parse("pools:\n  - models: [*]\n").unwrap_err().to_string();
    assert!(told.starts_with("line 2: the file is not valid YAML: "), "{told}");
    assert!(Settings::parse("").unwrap_err().to_string().contains("is nothing, not a mapping"));
}

#[test]
fn a_file_that_is_not_there_is_told_by_name() {
    let error = load(Path::new("/nowhere/warmpath.yaml")).unwrap_err();
    assert!(matches!(&error, LoadError::Unreadable { .. }));
    assert_eq!(error.to_string(), "cannot read /nowhere/warmpath.yaml");
}
