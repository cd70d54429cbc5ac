//! The configuration file: what is valid is read, and everything that is wrong is reported at once.

use std::path::Path;
use std::time::Duration;
use warmpath::config::{LoadError, Settings, load};
use warmpath_config::KvEvents;
use warmpath_config::kv_events::Ports;
use warmpath_config::prompt::ContentFormat;
use warmpath_core::wire::{Role, TransferProtocol};

const RIGHT: &str = include_str!("../fixtures/config/right.yaml");
const WRONG: &str = include_str!("../fixtures/config/wrong.yaml");
const WRONG_REPORT: &str = include_str!("../fixtures/config/wrong.txt");

fn report(text: &str) -> String {
    Settings::parse(text).expect_err(text).to_string()
}

#[test]
fn every_fault_is_reported_with_its_line_and_its_remedy() {
    let report = report(WRONG);
    assert_eq!(report, WRONG_REPORT.trim_end(), "got:\n{report}\n");
}

#[test]
fn what_is_not_a_count_is_reported_with_its_remedy() {
    let wanted = "line 1: cell_bytes must be a whole number, but is negative, fractional, too large or in scientific \
                  notation: write digits only, from 32 to 4096";
    for number in ["-5", "1.5", "1e6"] {
        assert_eq!(report(&format!("cell_bytes: {number}\npools: []")), wanted);
    }
}

#[test]
fn fields_that_are_given_twice_are_reported_with_everything_else() {
    let wanted = "line 1: cell_bytes is 1, which is too small: choose a whole number from 32 to 4096\n\
                  line 3: pools is given twice: remove one\n\
                  line 3: cell_bytes is given twice: remove one";
    assert_eq!(report("{cell_bytes: 1,\npools: [],\npools: [], cell_bytes: 256}"), wanted);
}

#[test]
fn the_stream_and_the_pages_cannot_be_at_one_address() {
    let parse =
        |listen: &str| Settings::parse(&format!("pools: []\nlisten: {listen}")).map_err(|it| it.to_string());
    assert_eq!(
        parse(r#"{grpc: "127.0.0.1:1", http: "127.0.0.1:1"}"#).unwrap_err(),
        "line 2: listen.http repeats `127.0.0.1:1` of listen.grpc (line 2): choose another port"
    );
    assert_eq!(
        parse(r#"{grpc: "127.0.0.1:18002"}"#).unwrap_err(),
        "line 2: listen.grpc repeats `127.0.0.1:18002` of listen.http: choose another port",
        "the other is a default"
    );
    assert!(parse(r#"{grpc: "127.0.0.1:0", http: "127.0.0.1:0"}"#).is_ok(), "a free port each");
}

#[test]
fn a_right_file_is_read() {
    let settings = Settings::parse(RIGHT).unwrap();
    assert_eq!(settings.listen.grpc, "127.0.0.1:18000".parse().unwrap());
    assert_eq!(settings.scrape.interval, Duration::from_millis(100));
    assert_eq!(settings.scrape.unhealthy_after, 2);
    assert_eq!(settings.cell_bytes, 512);
    assert_eq!(settings.pools.len(), 3);
    assert_eq!(settings.pools[0].models, ["llama", "meta/llama"]);
    assert_eq!(settings.pools[0].endpoints[1].address, "[::1]:8000".parse().unwrap());
    assert_eq!(settings.pools[0].kv_below_gpu_tokens, Some(1_000_000));
    assert_eq!(settings.pools[1].models, ["*"]);
    assert_eq!(settings.pools[1].kv_below_gpu_tokens, None);
    assert_eq!(settings.pools[1].endpoints, []);
    let apart = &settings.pools[2];
    let roles: Vec<Role> = apart.endpoints.iter().map(|member| member.role).collect();
    assert_eq!(roles, [Role::Prefill, Role::Decode]);
    assert_eq!(apart.hosts[0].role, Role::Prefill);
    let transfer = apart.transfer.as_ref().unwrap();
    assert_eq!((transfer.protocol(), transfer.bootstrap_port), (TransferProtocol::Push, 8998));
}

#[test]
fn what_is_left_out_has_a_default() {
    let settings = Settings::parse("pools: []").unwrap();
    assert_eq!(settings.listen.grpc.to_string(), "127.0.0.1:18000");
    assert_eq!(settings.scrape.interval, Duration::from_secs(1));
    assert_eq!(settings.scrape.interval_min, Duration::from_millis(200));
    assert_eq!(settings.cell_bytes, 256);
}

#[test]
fn text_that_is_not_yaml_is_reported_with_its_line() {
    let syntax = report("pools:\n  - models: [*]\n");
    assert!(syntax.starts_with("line 2: the configuration is not valid YAML ("), "{syntax}");
    assert!(syntax.ends_with("values that begin with * & ! or @ need quotes"), "{syntax}");
    let wanted = "the configuration must be a map, but has no value: write its fields with their names";
    assert!(report("").ends_with(wanted), "{}", report(""));
}

#[test]
fn a_file_that_is_not_there_is_reported_by_name() {
    let error = load(Path::new("/nowhere/warmpath.yaml")).unwrap_err();
    assert!(matches!(&error, LoadError::Unreadable { .. }));
    assert_eq!(error.to_string(), "cannot read /nowhere/warmpath.yaml");
}

#[test]
fn a_pool_says_how_to_know_what_its_engines_hold() {
    let of = |fields: &str| {
        let text = format!("pools: [{{name: a, models: [m], endpoints: [], {fields}}}]");
        Settings::parse(&text).map(|mut settings| settings.pools.remove(0)).map_err(|it| it.to_string())
    };
    let pool = of(
        r#"prompt: {tokenizer: /models/llama, content_format: openai, template_arguments: '{"thinking": false}'}"#,
    );
    let pool = pool.unwrap();
    let prompt = pool.prompt.unwrap();
    assert_eq!((prompt.tokenizer.as_str(), prompt.chat_template), ("/models/llama", None));
    assert_eq!(prompt.content_format, ContentFormat::Parts);
    assert_eq!(prompt.template_arguments, r#"{"thinking": false}"#);
    assert_eq!(pool.kv_events, KvEvents::Discovered);
    let ports =
        of("prompt: {tokenizer: t}, kv_events: {source: ports, port: 5557, ranks: 2}").unwrap().kv_events;
    let wanted = Ports { port: 5557, replay_port: None, ranks: 2, topic: String::new() };
    assert_eq!(ports, KvEvents::Ports(wanted));
    assert_eq!(of("kv_events: {source: none}").unwrap().kv_events, KvEvents::Off);
    let connections = of("prompt: {tokenizer: t}, kv_events: {source: connections}").unwrap().kv_events;
    assert_eq!(connections, KvEvents::Connections);
    for (fields, wanted) in [
        ("prompt: {}", "pools[0].prompt.tokenizer is missing: add it"),
        (
            "prompt: {tokenizer: t, content_format: parts}",
            "pools[0].prompt.content_format is `parts`, which is not known: write one of auto, string, openai",
        ),
        (
            "prompt: {tokenizer: t, template_arguments: '[1]'}",
            "pools[0].prompt.template_arguments is `[1]`, which is not a JSON object: write it as {\"name\": value}",
        ),
        (
            "kv_events: {source: discovered}",
            "pools[0].kv_events follows the engines' KV events, and the pool has no `prompt`, without which their tokens \
             are no text: add `prompt` with the model's tokenizer, or remove it",
        ),
        (
            "prompt: {tokenizer: t}, kv_events: {source: zmq}",
            "pools[0].kv_events.source is `zmq`, which is not known: write one of discovered, ports, connections, none",
        ),
        ("prompt: {tokenizer: t}, kv_events: {source: ports}", "pools[0].kv_events.port is missing: add it"),
        (
            "prompt: {tokenizer: t}, kv_events: {source: discovered, port: 5557}",
            "pools[0].kv_events.port belongs to the source `ports`, and the source is `discovered`: remove it, or change \
             `source`",
        ),
        (
            "prompt: {tokenizer: t}, kv_events: {source: ports, port: 0, ranks: 65}",
            "pools[0].kv_events.port is 0, which is too small: choose a whole number from 1 to 65535\n\
             line 1: pools[0].kv_events.ranks is 65, which is too large: choose a whole number from 1 to 64",
        ),
    ] {
        assert_eq!(of(fields).unwrap_err(), format!("line 1: {wanted}"));
    }
}
