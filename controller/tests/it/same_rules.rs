//! The filter and the controller read the same `pools`: what one accepts the other accepts, and both report the same
//! faults at the same paths.
//!
//! JSON is YAML, so most texts go through both entry points as they are.

use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;
use warmpath::config::Settings;
use warmpath_config::{Faults, Problem, Wanted, plugin};
use warmpath_core::limits::{
    ENDPOINTS_MAX, EVENT_BYTES_MAX, MODELS_PER_POOL_MAX, NAME_BYTES_MAX, POOLS_MAX, TENANTS_PER_POOL_MAX,
};
use warmpath_core::wire::Pools;

fn from_json(text: &str) -> Result<Pools, Faults> {
    plugin::parse(text.as_bytes(), |_| None).map(|config| config.pools)
}

fn from_yaml(text: &str) -> Result<Pools, Faults> {
    Settings::parse(text).map(|settings| settings.pools_event())
}

/// Path and problem of each fault, without what only one of the two knows: lines, and the fields that only the
/// controller has: some fields, and names of hosts.
fn faults(result: Result<Pools, Faults>) -> BTreeSet<String> {
    let faults = result.err().into_iter().flat_map(|faults| faults.iter().cloned().collect::<Vec<_>>());
    let neutral = faults.map(|mut fault| {
        match &mut fault.problem {
            Problem::Repeated { first, .. } => first.line = None,
            Problem::Unknown { known } => {
                known.retain(|field| !["kv_below_gpu_tokens", "prompt", "kv_events"].contains(field));
            }
            Problem::Type { wanted, .. } | Problem::Address { wanted, .. } if *wanted == Wanted::Endpoint => {
                *wanted = Wanted::Address;
            }
            _ => {}
        }
        fault.place.line = None;
        fault.to_string()
    });
    neutral.collect()
}

/// YAML takes some control characters only in escaped form; JSON takes them in both.
fn escape(json: &str) -> String {
    let escaped = json.chars().map(|character| match character {
        control if control.is_control() => format!("\\u{:04x}", u32::from(control)),
        other => other.to_string(),
    });
    escaped.collect()
}

fn pool(name: &str, models: &Value, endpoints: &Value) -> Value {
    json!({"name": name, "models": models, "endpoints": endpoints})
}

fn endpoints(from: usize, count: usize) -> Value {
    let address = |at: usize| format!("10.{}.{}.{}:80", at >> 16 & 255, at >> 8 & 255, at & 255);
    (from..from + count).map(address).collect()
}

/// Each list of pools, and what one of its faults must contain.
fn wrong() -> Vec<(Value, &'static str)> {
    let one = json!(["10.0.0.1:80"]);
    let good = |name: &str| pool(name, &json!([name]), &endpoints(name.len(), 1));
    let control = |text: &str| pool("a", &json!([text]), &one);
    vec![
        (json!({"a": 1}), "pools must be a list, but is a map"),
        (json!(null), "pools must be a list, but has no value"),
        (json!([7]), "pools[0] must be a map, but is a number"),
        (json!([{"endpoints": one}]), "pools[0].name is missing"),
        (json!([{"name": "a", "endpoints": one}]), "pools[0].models is missing"),
        (json!([pool("", &json!(["m"]), &one)]), "pools[0].name is empty"),
        (json!([pool("a", &json!([""]), &one)]), "pools[0].models[0] is empty"),
        (json!([pool("a", &json!([]), &one)]), "pools[0].models is empty"),
        (json!([pool("a", &json!("m"), &one)]), "pools[0].models must be a list, but is text"),
        (json!([pool("a", &json!([true]), &one)]), "pools[0].models[0] must be text, but is true"),
        (json!([pool("a\nb", &json!(["m"]), &one)]), "pools[0].name contains the control character U+000A"),
        (json!([control("\u{7}")]), "pools[0].models[0] contains the control character U+0007"),
        (json!([control("a\u{7f}")]), "pools[0].models[0] contains the control character U+007F"),
        (json!([control("a\u{85}")]), "pools[0].models[0] contains the control character U+0085"),
        (json!([pool(&"n".repeat(NAME_BYTES_MAX + 1), &json!(["m"]), &one)]), "pools[0].name has 257 bytes"),
        (json!([good("a"), good("a")]), "pools[1].name repeats `a` of pools[0].name"),
        (
            json!([pool("a", &json!(["m", "m"]), &one)]),
            "pools[0].models[1] repeats `m` of pools[0].models[0]",
        ),
        (
            json!([{"name": "a", "models": ["m"], "adapters": ["m"], "endpoints": one}]),
            "pools[0].adapters[0] repeats `m` of pools[0].models[0]",
        ),
        (
            json!([{"name": "a", "models": ["m"], "adapters": ["\u{1b}"], "endpoints": one}]),
            "pools[0].adapters[0] contains the control character U+001B",
        ),
        (json!([pool("a", &json!(["m"]), &json!("10.0.0.1:80"))]), "pools[0].endpoints must be a list"),
        (
            json!([pool("a", &json!(["m"]), &json!([80]))]),
            "pools[0].endpoints[0] must be an address, but is a number",
        ),
        (
            json!([pool("a", &json!(["m"]), &json!(["local host:80"]))]),
            "pools[0].endpoints[0] is `local host:80`",
        ),
        (json!([pool("a", &json!(["m"]), &json!(["10.0.0.1"]))]), "pools[0].endpoints[0] is `10.0.0.1`"),
        (
            json!([pool("a", &json!(["m"]), &json!(["[::1]:80", "[0:0::1]:080"]))]),
            "pools[0].endpoints[1] repeats `[::1]:80` of pools[0].endpoints[0]",
        ),
        (
            json!([{"name": "a", "models": ["m"], "endpoints": one, "weight": 1}]),
            "pools[0].weight is not a known field",
        ),
    ]
}

/// Likewise, of a pool that has engines for single legs.
fn wrong_legs() -> Vec<(Value, &'static str)> {
    let apart = |transfer: Value| json!([{"name": "a", "models": ["m"], "prefill": ["10.0.0.1:80"], "decode": ["10.0.0.2:80"], "transfer": transfer}]);
    let without = |list: &str| json!([{"name": "a", "models": ["m"], list: ["10.0.0.1:80"]}]);
    vec![
        (
            without("prefill"),
            "pools[0].prefill lists engines for one leg of a request, and the pool has no `transfer`",
        ),
        (
            without("decode"),
            "pools[0].decode lists engines for one leg of a request, and the pool has no `transfer`",
        ),
        (
            json!([{"name": "a", "models": ["m"], "prefill": ["10.0.0.1:80"], "decode": ["10.0.0.1:080"],
                    "transfer": {"protocol": "nixl"}}]),
            "pools[0].decode[0] repeats `10.0.0.1:80` of pools[0].prefill[0]: list each endpoint once",
        ),
        (apart(json!("nixl")), "pools[0].transfer must be a map, but is text"),
        (apart(json!({})), "pools[0].transfer.protocol is missing"),
        (
            apart(json!({"protocol": "NIXL"})),
            "pools[0].transfer.protocol is `NIXL`, which is not known: write one of nixl, mooncake, sglang, tensorrt-llm",
        ),
        (apart(json!({"protocol": 1})), "pools[0].transfer.protocol must be text, but is a number"),
        (
            apart(json!({"protocol": "nixl", "bootstrap_port": 1})),
            "pools[0].transfer.bootstrap_port is a port that the protocol nixl does not have: remove it",
        ),
        (
            apart(json!({"protocol": "sglang", "bootstrap_port": 65536})),
            "pools[0].transfer.bootstrap_port is 65536, which is too large",
        ),
        (apart(json!({"protocol": "sglang", "cluster": ""})), "pools[0].transfer.cluster is empty"),
        (
            apart(json!({"protocol": "sglang", "port": 1})),
            "pools[0].transfer.port is not a known field: remove it, or use one of protocol, bootstrap_port, cluster",
        ),
    ]
}

/// Likewise, of a pool whose requests wait.
fn wrong_waits() -> Vec<(Value, &'static str)> {
    let held =
        |hold: Value| json!([{"name": "a", "models": ["m"], "endpoints": ["10.0.0.1:80"], "hold": hold}]);
    let tenants = |tenants: Value| held(json!({"room_s": 60, "tenants": tenants}));
    let nothing = "pools[0].hold holds no request: set `room_s`, `endpoint_s` or both to the longest wait in seconds, or \
                   remove it";
    vec![
        (held(json!(60)), "pools[0].hold must be a map, but is a number"),
        (held(json!({})), nothing),
        (held(json!({"room_s": 0, "endpoint_s": 0})), nothing),
        (held(json!({"tenants": [{"name": "a", "weight": 1}]})), nothing),
        (
            held(json!({"room_s": 3601})),
            "pools[0].hold.room_s is 3601, which is too large: choose a whole number from 0 to 3600",
        ),
        (held(json!({"room_s": "2m"})), "pools[0].hold.room_s must be a whole number, but is text"),
        (
            held(json!({"room_ms": 1})),
            "pools[0].hold.room_ms is not a known field: remove it, or use one of room_s, endpoint_s, tenants",
        ),
        (tenants(json!({"a": 1})), "pools[0].hold.tenants must be a list, but is a map"),
        (tenants(json!([{"name": "a"}])), "pools[0].hold.tenants[0].weight is missing"),
        (tenants(json!([{"weight": 1}])), "pools[0].hold.tenants[0].name is missing"),
        (tenants(json!([{"name": "", "weight": 1}])), "pools[0].hold.tenants[0].name is empty"),
        (
            tenants(json!([{"name": "a", "weight": 0}])),
            "pools[0].hold.tenants[0].weight is 0, which is too small",
        ),
        (
            tenants(json!([{"name": "a", "weight": 1001}])),
            "pools[0].hold.tenants[0].weight is 1001, which is too large",
        ),
        (
            tenants(json!([{"name": "a", "weight": 1}, {"name": "a", "weight": 2}])),
            "pools[0].hold.tenants[1].name repeats `a` of pools[0].hold.tenants[0].name: list each tenant once",
        ),
        (
            tenants(
                (0..=TENANTS_PER_POOL_MAX).map(|at| json!({"name": at.to_string(), "weight": 1})).collect(),
            ),
            "pools[0].hold.tenants has 1025 tenants",
        ),
        (
            json!([{"name": "a", "models": ["m"], "endpoints": ["10.0.0.1:80"], "transfer": {"protocol": "nixl"},
                    "hold": {"room_s": 60}}]),
            "pools[0].hold.room_s is a wait for room, and the pool has `transfer`, where requests wait for an endpoint only: \
             remove one of both",
        ),
    ]
}

/// Likewise, for what is more than a limit allows.
fn too_many() -> Vec<(Value, &'static str)> {
    let names = |count: usize| -> Value { (0..count).map(|at| format!("{at:0>9}")).collect() };
    let long = |at: usize| format!("{at:x>NAME_BYTES_MAX$}");
    let heavy = |from: usize| -> Value { (from..from + MODELS_PER_POOL_MAX).map(long).collect() };
    let heavy_pools = EVENT_BYTES_MAX / (NAME_BYTES_MAX * MODELS_PER_POOL_MAX) + 1;
    vec![
        (
            json!([pool("a", &names(MODELS_PER_POOL_MAX + 1), &endpoints(0, 1))]),
            "pools[0].models has 1025 names",
        ),
        (
            json!([
                pool("a", &json!(["a"]), &endpoints(0, ENDPOINTS_MAX)),
                pool("b", &json!(["b"]), &endpoints(ENDPOINTS_MAX, 1)),
            ]),
            "pools has 8193 endpoints",
        ),
        (
            (0..=POOLS_MAX)
                .map(|at| pool(&at.to_string(), &json!([at.to_string()]), &endpoints(at, 1)))
                .collect(),
            "pools has 257 pools",
        ),
        (
            (0..heavy_pools)
                .map(|at| pool(&at.to_string(), &heavy(at * MODELS_PER_POOL_MAX), &endpoints(at, 1)))
                .collect(),
            "bytes of names and addresses: use at most 2097152",
        ),
    ]
}

#[test]
fn both_files_report_the_same_faults_at_the_same_paths() {
    for (pools, wanted) in wrong().into_iter().chain(wrong_legs()).chain(wrong_waits()).chain(too_many()) {
        let text = escape(&json!({"pools": pools, "cell_bytes": 256}).to_string());
        let shown = &text[..text.len().min(200)];
        let faults = [faults(from_json(&text)), faults(from_yaml(&text))];
        assert_eq!(faults[0], faults[1], "{shown}");
        assert!(
            faults[0].iter().any(|fault| fault.contains(wanted)),
            "{wanted} is not in {faults:#?} of {shown}"
        );
    }
}

#[test]
fn both_files_refuse_a_field_that_is_given_twice() {
    let text = r#"{"pools":[{"name":"a","name":"b","models":["m"],"endpoints":["10.0.0.1:80"]}],"pools":[]}"#;
    let faults = [faults(from_json(text)), faults(from_yaml(text))];
    assert_eq!(faults[0], faults[1]);
    assert_eq!(faults[0].len(), 2, "{faults:?}");
}

#[test]
fn only_the_controllers_pools_know_of_tiers() {
    let mut only = pool("a", &json!(["m"]), &json!(["10.0.0.1:80"]));
    only["kv_below_gpu_tokens"] = json!(5);
    let text = json!({"pools": [only]}).to_string();
    let wanted = "pools[0].kv_below_gpu_tokens is not a known field: remove it, or use one of name, models, \
                  adapters, rewrites, endpoints, prefill, decode, transfer, hold";
    assert_eq!(faults(from_json(&text)), BTreeSet::from([wanted.to_owned()]));
    assert!(from_yaml(&text).is_ok());
}

#[test]
fn only_where_a_controller_publishes_endpoints_does_a_request_wait_for_one() {
    let mut only = pool("a", &json!(["m"]), &json!(["10.0.0.1:80"]));
    only["hold"] = json!({"endpoint_s": 60});
    let text = json!({"pools": [only]}).to_string();
    let wanted = "pools[0].hold.endpoint_s is a wait for an endpoint, and without a `controller` a pool always has those of \
                  its list: remove it, or add a `controller`";
    assert_eq!(faults(from_json(&text)), BTreeSet::from([wanted.to_owned()]));
    assert!(from_yaml(&text).is_ok());
    let text = json!({"pools": [only], "controller": {"cluster": "c"}}).to_string();
    assert_eq!(from_json(&text).unwrap().pools[0].hold.as_ref().unwrap().endpoint_ms_max, 60_000);
    only["hold"] = json!({"endpoint_s": 0, "room_s": 60});
    assert_eq!(faults(from_json(&json!({"pools": [only]}).to_string())), BTreeSet::new(), "it asks for none");
}

#[test]
fn only_the_controllers_pools_may_be_empty() {
    let text = json!({"pools": [pool("a", &json!(["m"]), &json!([]))]}).to_string();
    assert!(from_yaml(&text).is_ok());
    let fault = faults(from_json(&text));
    assert!(fault.iter().all(|fault| fault.starts_with("pools[0].endpoints lists no engine")), "{fault:?}");
    assert_eq!(fault.len(), 1);
    let apart =
        json!({"name": "a", "models": ["m"], "prefill": [], "decode": [], "transfer": {"protocol": "nixl"}});
    let text = json!({"pools": [apart]}).to_string();
    assert!(from_yaml(&text).is_ok());
    let fault = faults(from_json(&text));
    assert!(fault.iter().all(|fault| fault.starts_with("pools[0].prefill lists no engine")), "{fault:?}");
    assert_eq!(fault.len(), 1);
}

/// The list as a person writes YAML: in blocks, with names in quotes.
fn blocks(pools: &[Value]) -> String {
    let mut text = "pools:\n".to_owned();
    for pool in pools {
        let mut lead = "  - ";
        for (field, value) in pool.as_object().unwrap() {
            match value.as_array() {
                Some(list) if list.is_empty() => writeln!(text, "{lead}{field}: []").unwrap(),
                Some(list) => {
                    writeln!(text, "{lead}{field}:").unwrap();
                    for entry in list {
                        writeln!(text, "      - {entry}").unwrap();
                    }
                }
                None => writeln!(text, "{lead}{field}: {value}").unwrap(),
            }
            lead = "    ";
        }
    }
    text
}

/// Pools that are valid in both files; what must be unique is numbered.
fn valid_pools() -> impl Strategy<Value = Vec<Value>> {
    let name = "\\PC{0,20}";
    let address = prop_oneof![
        (1_u8..=255, any::<u16>()).prop_map(|(host, port)| format!("10.0.{{}}.{host}:{port}")),
        any::<u16>().prop_map(|port| format!("[2001:db8:0:0::{{}}]:0{port}")),
    ];
    let names = |counts| proptest::collection::vec(name, counts);
    let pool = (name, names(1..4), names(0..3), proptest::collection::vec(address, 1..6));
    proptest::collection::vec(pool, 1..5).prop_map(|pools| {
        let mut number = 0;
        let mut numbered = |text: &String, write: fn(&str, u32) -> String| {
            number += 1;
            write(text, number)
        };
        let name = |text: &str, number: u32| format!("{text}#{number}");
        let address = |text: &str, number: u32| text.replace("{}", &number.to_string());
        let pools = pools.iter().map(|(pool, models, adapters, endpoints)| {
            let models: Vec<_> = models.iter().map(|model| numbered(model, name)).collect();
            let adapters: Vec<_> = adapters.iter().map(|adapter| numbered(adapter, name)).collect();
            let endpoints: Vec<_> = endpoints.iter().map(|endpoint| numbered(endpoint, address)).collect();
            json!({"name": numbered(pool, name), "models": models, "adapters": adapters, "endpoints": endpoints})
        });
        pools.collect()
    })
}

proptest! {
    #[test]
    fn both_files_read_valid_pools_alike(pools in valid_pools()) {
        let text = json!({"pools": pools}).to_string();
        let read = from_json(&text).unwrap();
        prop_assert_eq!(read.pools.len(), pools.len());
        prop_assert_eq!(&read, &from_yaml(&text).unwrap());
        prop_assert_eq!(&read, &from_yaml(&blocks(&pools)).unwrap());
    }
}
