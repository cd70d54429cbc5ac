//! The plugin configuration: what is valid is read, and everything that is wrong is reported at once.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use warmpath_config::plugin::parse;
use warmpath_config::transfer::protocol_name;
use warmpath_core::config::{Config, Explain, HoldLimits, Secret};
use warmpath_core::limits::{ALTERNATES_MAX, CELL_BYTES_MAX, NAME_BYTES_MAX};
use warmpath_core::wire::{
    Hold, PoolEndpoint, Rewrite, RewriteTarget, Role, Tenant, Transfer, TransferProtocol,
};

fn read(json: &str) -> Config {
    parse(json.as_bytes(), environment).unwrap_or_else(|faults| panic!("{json} is refused:\n{faults}"))
}

fn refused(json: &str) -> Vec<String> {
    let faults = parse(json.as_bytes(), environment).expect_err(json);
    faults.iter().map(ToString::to_string).collect()
}

fn environment(name: &str) -> Option<String> {
    let values = [("TWO_WORDS", "from the-environment"), ("GOOD", "t0ken/+=\n"), ("EMPTY", "")];
    values.into_iter().find(|(variable, _)| *variable == name).map(|(_, value)| value.to_owned())
}

fn addresses(config: &Config) -> Vec<&str> {
    let endpoints = config.pools.pools.iter().flat_map(|pool| &pool.endpoints);
    endpoints.map(|endpoint| endpoint.address.as_str()).collect()
}

#[test]
fn the_smallest_configuration_has_the_defaults() {
    let config = read(r#"{"controller":{"cluster":"c"}}"#);
    assert_eq!(config.controller.unwrap().cluster, "c");
    assert_eq!((config.cell_bytes, config.alternates, config.explain), (256, 3, Explain::Nobody));
    assert_eq!(config.omitted_prefixes, ["x-anthropic-billing-header"]);
    assert!(config.pools.pools.is_empty());
    assert_eq!((config.tenant_header, config.objective_header), (None, None));
    assert_eq!(config.hold, HoldLimits::default());
}

#[test]
fn each_field_is_read() {
    let config = read(
        r#"{"pools":[{"name":"a","models":["m"],"adapters":["l"],"endpoints":["10.0.0.1:1"]}],
            "controller":{"cluster":"c"},"cell_bytes":512,"alternates":0,"explain":true,
            "omitted_prefixes":["x-a:","x-b:"],"affinity_headers":["X-Session-Id","x-user"],
            "model_header":"X-Model","tenant_header":"X-Tenant","objective_header":"x-objective",
            "hold":{"requests_max":7,"body_bytes_max":0}}"#,
    );
    let pool = &config.pools.pools[0];
    assert_eq!(
        (pool.name.as_str(), &pool.models[..], &pool.adapters[..]),
        ("a", &["m".into()][..], &["l".into()][..])
    );
    assert_eq!(addresses(&config), ["10.0.0.1:1"]);
    assert_eq!((config.cell_bytes, config.alternates, config.explain), (512, 0, Explain::Everybody));
    assert_eq!(config.affinity_headers, ["x-session-id", "x-user"]);
    assert_eq!(config.model_header.as_deref(), Some("x-model"));
    let headers = [config.tenant_header, config.objective_header];
    assert_eq!(headers, [Some("x-tenant".to_owned()), Some("x-objective".to_owned())]);
    assert_eq!(config.hold, HoldLimits { requests_max: 7, body_bytes_max: 0 });
    let secret = read(r#"{"controller":{"cluster":"c"},"explain":true,"explain_token":"s"}"#);
    assert_eq!(secret.explain, Explain::Token("s".into()));
    assert_eq!(config.omitted_prefixes, ["x-a:", "x-b:"]);
    assert!(read(r#"{"controller":{"cluster":"c"},"omitted_prefixes":[]}"#).omitted_prefixes.is_empty());
}

#[test]
fn a_token_is_read_from_the_configuration_or_the_environment() {
    let token = |fields: &str| {
        read(&format!(r#"{{"controller":{{"cluster":"c"{fields}}}}}"#)).controller.and_then(|c| c.token)
    };
    assert_eq!(token(""), None);
    assert_eq!(token(r#","token":"secret""#), Some(Secret("secret".to_owned())));
    assert_eq!(token(r#","token_env":"GOOD""#), Some(Secret("t0ken/+=".to_owned())));
}

#[test]
fn a_proxy_whose_pods_lack_the_token_serves_without_it() {
    let config = read(r#"{"controller":{"cluster":"c","token_env":"ABSENT"}}"#);
    assert_eq!(
        config.controller.map(|controller| (controller.cluster, controller.token)),
        Some(("c".to_owned(), None))
    );
}

#[test]
fn a_token_that_is_none_is_refused_and_never_shown() {
    let faults = |fields: &str| refused(&format!(r#"{{"controller":{{"cluster":"c",{fields}}}}}"#));
    let wrong = |field: &str| {
        vec![format!(
            "controller.{field} is not a token: write 1 to 4096 printable ASCII characters, without spaces"
        )]
    };
    assert_eq!(faults(r#""token":"with a space""#), wrong("token"));
    assert_eq!(faults(r#""token":"""#), wrong("token"));
    assert_eq!(faults(&format!(r#""token":"{}""#, "x".repeat(4097))), wrong("token"));
    assert_eq!(faults(r#""token_env":"TWO_WORDS""#), wrong("token_env"));
    assert_eq!(faults(r#""token_env":"EMPTY""#), wrong("token_env"));
    assert_eq!(
        faults(r#""token":"secret","token_env":"GOOD""#),
        ["controller.token is given together with `token_env`: remove one of them"]
    );
    assert_eq!(format!("{:?}", Secret("hidden".to_owned())), "Secret");
}

#[test]
fn rules_give_names_other_models() {
    let config = read(
        r#"{"pools":[{"name":"a","models":["m"],"endpoints":["10.0.0.1:1"],"rewrites":[
            {"model":"chat","targets":[{"model":"m","weight":9},{"model":"n"}]},{"targets":[{"model":"m"}]}]}]}"#,
    );
    let target = |model: &str, weight: u32| RewriteTarget { model: model.to_owned(), weight };
    assert_eq!(
        config.pools.pools[0].rewrites,
        [
            Rewrite { model: "chat".to_owned(), targets: vec![target("m", 9), target("n", 1)] },
            Rewrite { model: String::new(), targets: vec![target("m", 1)] },
        ]
    );
    let faults = refused(
        r#"{"pools":[{"name":"a","models":["m"],"endpoints":["10.0.0.1:1"],"rewrites":[
            {"model":"","targets":[]},{"to":"m"},{"targets":[{"weight":-1}]}]}]}"#,
    );
    assert_eq!(
        faults,
        [
            "pools[0].rewrites[0].model is empty: write a name",
            "pools[0].rewrites[0].targets is empty: name the model to ask for instead",
            "pools[0].rewrites[1].targets is missing: add it",
            "pools[0].rewrites[1].to is not a known field: remove it, or use one of model, targets",
            "pools[0].rewrites[2].targets[0].model is missing: add it",
            "pools[0].rewrites[2].targets[0].weight must be a whole number, but is negative, fractional, too large or in \
             scientific notation: write digits only, from 0 to 1000000",
        ]
    );
}

#[test]
fn engines_of_single_legs_have_lists_of_their_own() {
    let config = read(
        r#"{"pools":[{"name":"a","models":["m"],"endpoints":["10.0.0.1:1"],"prefill":["10.0.0.2:1"],
            "decode":["10.0.0.3:1"],"transfer":{"protocol":"sglang","bootstrap_port":8998,"cluster":"prefill"}}]}"#,
    );
    let roles: Vec<Role> = config.pools.pools[0].endpoints.iter().map(PoolEndpoint::role).collect();
    assert_eq!(roles, [Role::Both, Role::Prefill, Role::Decode]);
    let transfer = Transfer {
        protocol: TransferProtocol::Bootstrap.into(),
        bootstrap_port: 8998,
        cluster: "prefill".to_owned(),
    };
    assert_eq!(config.pools.pools[0].transfer, Some(transfer));
    for (name, protocol) in [
        ("nixl", TransferProtocol::Pull),
        ("mooncake", TransferProtocol::Push),
        ("sglang", TransferProtocol::Bootstrap),
        ("tensorrt-llm", TransferProtocol::ContextFirst),
    ] {
        let pool = format!(
            r#"{{"name":"a","models":["m"],"decode":["10.0.0.1:1"],"transfer":{{"protocol":"{name}"}}}}"#
        );
        let config = read(&format!(r#"{{"pools":[{pool}]}}"#));
        assert_eq!(config.pools.pools[0].transfer.as_ref().map(Transfer::protocol), Some(protocol));
        assert_eq!(protocol_name(protocol), name);
    }
}

#[test]
fn a_pool_says_how_long_its_requests_may_wait() {
    let hold = |hold: &str| {
        let pool = format!(r#"{{"name":"a","models":["m"],"hold":{hold}}}"#);
        let config = read(&format!(r#"{{"pools":[{pool}],"controller":{{"cluster":"c"}}}}"#));
        config.pools.pools[0].hold.clone().unwrap()
    };
    let tenants = vec![Tenant { name: "gold".to_owned(), weight: 3 }];
    assert_eq!(
        hold(r#"{"room_s":300,"endpoint_s":600,"tenants":[{"name":"gold","weight":3}]}"#),
        Hold { room_ms_max: 300_000, endpoint_ms_max: 600_000, tenants }
    );
    assert_eq!(hold(r#"{"room_s":1}"#), Hold { room_ms_max: 1_000, ..Hold::default() });
    let smallest = read(r#"{"pools":[{"name":"a","models":["m"],"endpoints":["10.0.0.1:1"]}]}"#);
    assert_eq!(smallest.pools.pools[0].hold, None, "nobody waits unasked");
}

#[test]
fn headers_have_names_that_a_request_can_have() {
    let faults = refused(
        r#"{"controller":{"cluster":"c"},"affinity_headers":["x-a","x b","X-A",":path",""],"model_header":"x:y"}"#,
    );
    assert_eq!(
        faults,
        [
            "affinity_headers[1] is `x b`, which is not the name of a header: write letters, digits and hyphens, such as \
             x-session-id",
            "affinity_headers[2] repeats `x-a` of affinity_headers[0]: list each header once",
            "affinity_headers[3] is `:path`, which is not the name of a header: write letters, digits and hyphens, such \
             as x-session-id",
            "affinity_headers[4] is empty: write a name",
            "model_header is `x:y`, which is not the name of a header: write letters, digits and hyphens, such as \
             x-session-id",
        ]
    );
}

#[test]
fn every_fault_is_reported_at_once_with_its_remedy() {
    let faults = refused(
        r#"{
            "pools": [
                {"name": "a", "models": ["m", 3], "endpoints": ["10.0.0.1", "10.0.0.2:80", "10.0.0.2:80"], "weight": 1},
                {"name": "a", "models": ["m"], "endpoints": "x"},
                7
            ],
            "controler": {},
            "cell_bytes": 5,
            "alternates": "many",
            "explain": 1
        }"#,
    );
    let wanted = [
        "pools[0].models[1] must be text, but is a number: write it in quotes",
        "pools[0].endpoints[0] is `10.0.0.1`, which is not an address: write ip:port, such as 10.0.0.1:8000; host \
         names are not resolved",
        "pools[0].endpoints[2] repeats `10.0.0.2:80` of pools[0].endpoints[1]: list each endpoint once",
        "pools[0].weight is not a known field: remove it, or use one of name, models, adapters, rewrites, endpoints, prefill, decode, transfer, hold",
        "pools[1].name repeats `a` of pools[0].name: give each pool a name of its own",
        "pools[1].models[0] repeats `m` of pools[0].models[0]: list each model and adapter once",
        "pools[1].endpoints must be a list, but is text: write it in brackets",
        "pools[2] must be a map, but is a number: write its fields with their names",
        "cell_bytes is 5, which is too small: choose a whole number from 32 to 4096",
        "alternates must be a whole number, but is text: write digits only, from 0 to 7",
        "explain must be true or false, but is a number: write true or false, without quotes",
        "controler is not a known field: remove it, or use one of pools, controller, cell_bytes, alternates, omitted_prefixes, affinity_headers, model_header, tenant_header, objective_header, hold, explain, explain_token",
    ];
    assert_eq!(faults, wanted, "got {faults:#?}");
}

#[test]
fn addresses_are_written_as_envoy_writes_them() {
    let config =
        read(r#"{"pools":[{"name":"a","models":["m"],"endpoints":["10.0.0.1:080","[0:0::1]:080"]}]}"#);
    assert_eq!(addresses(&config), ["10.0.0.1:80", "[::1]:80"]);
}

#[test]
fn addresses_are_compared_as_envoy_writes_them() {
    let faults =
        refused(r#"{"pools":[{"name":"a","models":["m"],"endpoints":["[::1]:80","[0:0::1]:080"]}]}"#);
    assert_eq!(
        faults,
        ["pools[0].endpoints[1] repeats `[::1]:80` of pools[0].endpoints[0]: list each endpoint once"]
    );
}

#[test]
fn a_pool_lists_endpoints_unless_a_controller_does() {
    let no_engine = "pools[0].endpoints lists no engine, and no `controller` publishes any: list the ip:port of at \
                     least one, or add a `controller`";
    for pool in [r#"{"name":"a","models":["m"]}"#, r#"{"name":"a","models":["m"],"endpoints":[]}"#] {
        assert_eq!(refused(&format!(r#"{{"pools":[{pool}]}}"#)), [no_engine]);
        let config = read(&format!(r#"{{"pools":[{pool}],"controller":{{"cluster":"c"}}}}"#));
        assert_eq!(addresses(&config), [""; 0]);
    }
    let broken = refused(r#"{"pools":[{"name":"a","models":["m"]}],"controller":{}}"#);
    assert_eq!(broken, ["controller.cluster is missing: add it"], "a controller was meant");
}

#[test]
fn nothing_to_route_to_is_a_fault() {
    for json in ["{}", r#"{"pools":[]}"#] {
        let wanted = "the configuration has neither `pools` nor a `controller`, so there is nothing to route to: add \
                      one of them";
        assert_eq!(refused(json), [wanted]);
    }
}

#[test]
fn what_is_no_map_is_refused_once() {
    for (json, found) in
        [("[]", "is a list"), ("null", "has no value"), ("true", "is true"), ("1", "is a number")]
    {
        let wanted =
            format!("the configuration must be a map, but {found}: write its fields with their names");
        assert_eq!(refused(json), [wanted]);
    }
}

#[test]
fn text_that_is_not_json_is_refused_with_its_place() {
    let remedy = "correct the syntax there";
    let wanted = format!(
        "the configuration is not valid JSON (EOF while parsing a value at line 1 column 0): {remedy}"
    );
    assert_eq!(refused(""), [wanted]);
    let wanted =
        format!("the configuration is not valid JSON (key must be a string at line 2 column 1): {remedy}");
    assert_eq!(refused("{\n1"), [wanted]);
    assert!(parse(b"\xff\xfe", environment).is_err());
}

#[test]
fn a_field_that_is_given_twice_is_refused() {
    let faults = refused(r#"{"controller":{"cluster":"a","cluster":"b"},"explain":true,"explain":1}"#);
    assert_eq!(
        faults,
        ["explain is given twice: remove one", "controller.cluster is given twice: remove one"]
    );
}

#[test]
fn numbers_are_whole_and_within_their_bounds() {
    let message = |field: &str, number: &str| {
        refused(&format!(r#"{{"controller":{{"cluster":"c"}},"{field}":{number}}}"#)).join("\n")
    };
    let over = CELL_BYTES_MAX + 1;
    assert!(message("cell_bytes", &over.to_string()).contains("which is too large"));
    assert!(message("alternates", &(ALTERNATES_MAX + 1).to_string()).contains("which is too large"));
    for number in ["-1", "1.5", "1e2", "99999999999999999999"] {
        let wanted =
            "must be a whole number, but is negative, fractional, too large or in scientific notation";
        assert!(
            message("cell_bytes", number).contains(wanted),
            "{number}: {}",
            message("cell_bytes", number)
        );
    }
}

#[test]
fn what_a_document_holds_cannot_break_a_message() {
    let long = "x".repeat(100 * NAME_BYTES_MAX);
    let faults = refused(&format!(r#"{{"controller":{{"cluster":"c"}},"a\nb\u001b":1,"{long}":1,"":1}}"#));
    assert_eq!(faults.len(), 3);
    assert!(faults[0].starts_with("a\u{fffd}b\u{fffd} is not a known field"), "{}", faults[0]);
    assert!(faults[1].len() < 2 * NAME_BYTES_MAX, "{}", faults[1]);
    assert!(faults[2].starts_with("\"\" is not a known field"), "{}", faults[2]);
    assert!(!faults.join("").contains(char::is_control));
}
