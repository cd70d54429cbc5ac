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
fn what_is_no_count_and_what_stands_twice_is_told_with_its_remedy() {
    let told = |text: &str| Settings::parse(text).unwrap_err().to_string();
    let least = "a number below zero, or with a point or an exponent: write a whole number from 32 to 4096";
    for number in ["-5", "1.5", "1e6"] {
        assert_eq!(
            told(&format!("cell_bytes: {number}\npools: []")),
            format!("line 1: cell_bytes is {least}")
        );
    }
    assert_eq!(told("pools: []\npools: []"), "line 2: the file has `pools` twice: name it once");
}

#[test]
fn the_stream_and_the_pages_cannot_be_at_one_address() {
    let told =
        |listen: &str| Settings::parse(&format!("pools: []\nlisten: {listen}")).map_err(|it| it.to_string());
    let wanted = "listen.http is `127.0.0.1:1`, where the state stream and the pages cannot both be: choose another port";
    let error = told(r#"{grpc: "127.0.0.1:1", http: "127.0.0.1:1"}"#).unwrap_err();
    assert_eq!(error, format!("line 2: {wanted}"));
    assert!(
        told(r#"{grpc: "127.0.0.1:18002"}"#).unwrap_err().contains("listen.grpc is"),
        "the other is a default"
    );
    assert!(told(r#"{grpc: "127.0.0.1:0", http: "127.0.0.1:0"}"#).is_ok(), "a free port each");
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
