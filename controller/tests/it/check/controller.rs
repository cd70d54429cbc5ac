//! Checks of a controller by its pages: its pools, engines and proxies.

use super::wrong;
use crate::support::{Proxy, quiet_settings};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use warmpath::api::StatePage;
use warmpath::args::{CheckArgs, CheckOutput};
use warmpath::check::controller::{ClockDifference, Pages, check};
use warmpath::check::finding::{Findings, Level};
use warmpath::check::{self as checks, report};
use warmpath::run::start;
use warmpath_core::wire::Hello;

/// The state of a controller to which nothing is wrong.
fn state() -> Value {
    let engine = |address: &str| {
        json!({"address": address, "role": "both", "health": "healthy", "fitness": "fit", "scrape": "page",
               "engine": "vllm"})
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"), "cell_bytes": 256,
        "pools": [{"name": "llama", "models": ["llama"], "adapters": ["sql"],
                   "endpoints": [engine("10.0.0.1:8000"), engine("10.0.0.2:8000")]}],
        "proxies": [{"process": "1", "node": "a", "version": env!("CARGO_PKG_VERSION"), "cell_bytes": 256}],
    })
}

fn found_of(pages: &Pages) -> Vec<String> {
    let mut findings = Findings::new("");
    check(pages, &mut findings);
    wrong(findings)
}

fn pages(state: &Value) -> Pages {
    Pages { state: serde_json::from_value(state.clone()).unwrap(), ..Pages::default() }
}

/// What is found with a value put at a place.
fn found(place: &str, value: Value) -> Vec<String> {
    let mut state = state();
    let (parent, name) = place.rsplit_once('/').unwrap();
    let parent = state.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) => items.push(value),
        parent => parent[name] = value,
    }
    found_of(&pages(&state))
}

#[test]
fn a_controller_without_faults_passes_all_checks() {
    assert_eq!(found_of(&pages(&state())), Vec::<String>::new());
}

#[test]
fn pools_without_engines_or_models_are_found() {
    assert_eq!(found("/pools", json!([])), ["error pool.some pools: 0"]);
    assert_eq!(
        found("/pools/0/endpoints", json!([])),
        [
            "error pool.endpoints pool llama: endpoints: 0",
            "warning hold.endpoint pool llama: requests do not wait",
        ]
    );
    let mut state = state();
    state["pools"][0]["models"] = json!([]);
    state["pools"][0]["adapters"] = json!([]);
    assert_eq!(found_of(&pages(&state)), ["error pool.models pool llama: none"]);
}

#[test]
fn what_keeps_reports_of_caches_from_counting_is_found() {
    let whole = json!({"trust": "whole", "sources": ["10.0.0.1:5557"], "connected": 1, "stored": 100});
    let of = |prompt: Value, kv: Value| {
        let mut state = state();
        state["pools"][0]["prompt"] = json!({"tokenizer": "/models/llama", "is_written": true});
        state["pools"][0]["endpoints"][0]["kv"] = whole.clone();
        for (into, from) in [("/pools/0/prompt", prompt), ("/pools/0/endpoints/0/kv", kv)] {
            let into = state.pointer_mut(into).unwrap().as_object_mut().unwrap();
            into.extend(from.as_object().unwrap().clone());
        }
        found_of(&pages(&state))
    };
    let nothing = || json!({});
    assert_eq!(of(nothing(), nothing()), Vec::<String>::new());
    let files = "cannot read /models/llama/tokenizer.json: mount the model's tokenizer there";
    assert_eq!(of(json!({"fault": files}), nothing()), [format!("error cache.files pool llama: {files}")]);
    let template = "no chat template was found";
    assert_eq!(
        of(json!({"notes": [template]}), nothing()),
        [format!("warning cache.template pool llama: {template}")]
    );
    let mismatch = of(json!({"mismatch": "they found 9 tokens, of which their reports showed 0"}), nothing());
    assert_eq!(
        mismatch,
        ["error cache.match pool llama: they found 9 tokens, of which their reports showed 0"]
    );
    let first = "pool llama: 1 of 1: 10.0.0.1:8000";
    for (kv, wanted) in [
        (json!({"sources": [], "connected": 0}), "warning cache.feed", "it lists no sockets"),
        (json!({"connected": 0}), "warning cache.feed", "10.0.0.1:5557: no connection yet"),
        (
            json!({"connected": 0, "problem": "connection"}),
            "warning cache.feed",
            "10.0.0.1:5557: it refuses the connection, or ends it",
        ),
        (
            json!({"problem": "no_events", "trust": "suspect"}),
            "warning cache.feed",
            "10.0.0.1:5557: it works, and publishes nothing",
        ),
        (json!({"trust": "suspect"}), "warning cache.trust", "suspect"),
        (json!({"trust": "partial"}), "warning cache.trust", "partial"),
        (json!({"unknown_tokens": 90, "cells": 1}), "error cache.tokens", "blocks 100, unknown 90, cells 1"),
        // Nothing behind an unknown token is text, and of all that only the first block is counted.
        (json!({"unknown_tokens": 1, "blocks": 100}), "error cache.tokens", "blocks 100, unknown 1, cells 0"),
    ]
    .map(|(kv, id, why)| (kv, format!("{id} {first} ({why})")))
    {
        assert_eq!(of(nothing(), kv), [wanted]);
    }
    let mut old = state();
    old["pools"][0]["prompt"] = json!({"tokenizer": "/models/llama", "is_written": true});
    old["proxies"][0]["takes_reports"] = json!(false);
    assert_eq!(found_of(&pages(&old)), ["warning proxy.reports proxy a: it takes none"]);
    let mut silent = state();
    silent["pools"][0]["prompt"] = json!({"tokenizer": "/models/llama", "is_written": true});
    silent["pools"][0]["endpoints"][0]["says_cached"] = json!(false);
    assert_eq!(found_of(&pages(&silent)), [format!("warning cache.usage {first}")]);
}

#[test]
fn a_replica_that_does_not_respond_is_found() {
    let replicas = json!([{"address": "10.0.0.8:18002", "name": "b"},
                          {"address": "10.0.0.9:18002", "problem": "cannot reach it"}]);
    let wanted = ["warning controller.replicas replica 10.0.0.9:18002: cannot reach it"];
    assert_eq!(found("/replicas", replicas), wanted);
}

#[test]
fn engines_that_fail_or_are_not_understood_are_named() {
    let first = "/pools/0/endpoints/0";
    let mut state = state();
    state["pools"][0]["endpoints"][0]["health"] = json!("unhealthy");
    state["pools"][0]["endpoints"][0]["scrape"] = json!("timeout");
    state["pools"][0]["endpoints"][0]["pod"] = json!("llm/vllm-0");
    assert_eq!(
        found_of(&pages(&state)),
        ["warning engine.healthy pool llama: 1 of 2: 10.0.0.1:8000 (llm/vllm-0) timeout"]
    );
    state["pools"][0]["endpoints"][1]["health"] = json!("unhealthy");
    let all = found_of(&pages(&state));
    assert_eq!(all[0], "error pool.usable pool llama: the scrapes of 2 of 2 fail");
    assert_eq!(
        found(&format!("{first}/scrape"), json!("alive")),
        ["warning engine.metrics pool llama: 1 of 2: 10.0.0.1:8000"]
    );
    assert_eq!(
        found(&format!("{first}/engine"), Value::Null),
        ["warning engine.metric-names pool llama: 1 of 2: 10.0.0.1:8000"]
    );
    assert_eq!(
        found(&format!("{first}/fitness"), json!("avoided")),
        ["warning engine.avoided pool llama: 1 of 2: 10.0.0.1:8000"]
    );
}

/// What is found in a pool with this transfer, and an engine for each of these roles.
fn found_apart(transfer: Value, engines: &[Value]) -> Vec<String> {
    let mut state = state();
    state["pools"][0]["transfer"] = transfer;
    let engine = |(at, engine): (usize, &Value)| {
        let mut whole = json!({"address": format!("10.0.0.{at}:8000"), "health": "healthy", "fitness": "fit",
                               "scrape": "page", "engine": "vllm", "nixl": true});
        whole.as_object_mut().unwrap().extend(engine.as_object().unwrap().clone());
        whole
    };
    state["pools"][0]["endpoints"] = engines.iter().enumerate().map(engine).collect();
    found_of(&pages(&state))
}

#[test]
fn roles_without_a_transfer_and_legs_without_engines_are_found() {
    let nixl = || json!({"protocol": "nixl"});
    let [prefill, decode, both] = ["prefill", "decode", "both"].map(|role| json!({"role": role}));
    let none: [String; 0] = [];
    assert_eq!(found_apart(nixl(), &[prefill.clone(), decode.clone()]), none);
    assert_eq!(found_apart(nixl(), &[both.clone(), both.clone()]), none);
    assert_eq!(found_apart(nixl(), &[both.clone(), prefill.clone()]), none);
    assert_eq!(
        found_apart(Value::Null, &[prefill.clone(), decode.clone()]),
        ["warning split.transfer pool llama: prefill 1, decode 1, both 0"]
    );
    assert_eq!(
        found_apart(nixl(), &[decode.clone(), decode.clone()]),
        ["warning split.legs pool llama: prefill 0, decode 2, both 0"]
    );
    assert_eq!(found_apart(nixl(), &[both]), ["warning split.legs pool llama: prefill 0, decode 0, both 1"]);
    let sglang = json!({"role": "decode", "engine": "sglang", "engine_role": "decode", "nixl": null});
    assert_eq!(
        found_apart(Value::Null, std::slice::from_ref(&sglang)),
        ["error split.transfer pool llama: prefill 0, decode 1, both 0"]
    );
    assert_eq!(
        found_apart(json!({"protocol": "sglang"}), &[sglang]),
        ["error split.legs pool llama: prefill 0, decode 1, both 0"]
    );
}

#[test]
fn engines_that_cannot_take_their_legs_are_named() {
    let prefill = json!({"role": "prefill"});
    let bare = json!({"role": "decode", "nixl": false});
    assert_eq!(
        found_apart(json!({"protocol": "nixl"}), &[prefill.clone(), bare.clone()]),
        ["warning split.connector pool llama: 1 of 2: 10.0.0.1:8000"]
    );
    let none: [String; 0] = [];
    assert_eq!(found_apart(json!({"protocol": "mooncake"}), &[prefill.clone(), bare]), none);
    assert_eq!(
        found_apart(
            json!({"protocol": "tensorrt-llm"}),
            &[prefill, json!({"role": "decode", "engine": "trtllm"})]
        ),
        ["error split.protocol pool llama: 1 of 2: 10.0.0.0:8000"]
    );
    let sglang =
        |role: &str, engine_role: &str| json!({"role": role, "engine": "sglang", "engine_role": engine_role});
    assert_eq!(
        found_apart(json!({"protocol": "sglang"}), &[sglang("prefill", "prefill"), sglang("decode", "both")]),
        ["error split.role pool llama: 1 of 2: 10.0.0.1:8000"]
    );
    let mut deaf = sglang("prefill", "prefill");
    deaf["bootstrap"] = json!(false);
    assert_eq!(
        found_apart(json!({"protocol": "sglang"}), &[deaf, sglang("decode", "decode")]),
        ["error split.bootstrap pool llama: 1 of 1: 10.0.0.0:8000"]
    );
}

#[test]
fn proxies_that_do_not_fit_are_named() {
    let own = env!("CARGO_PKG_VERSION");
    assert_eq!(found("/proxies", json!([])), ["error proxy.connected proxies: 0"]);
    assert_eq!(
        found("/proxies/0/version", json!("0.0.1")),
        [format!("warning proxy.version proxy a: filter 0.0.1, controller {own}")]
    );
    assert_eq!(
        found("/proxies/0/cell_bytes", json!(64)),
        ["error proxy.cell-bytes proxy a: 64 bytes, the controller 256"]
    );
    let twin = json!({"process": "2", "node": "a", "version": own});
    assert_eq!(found("/proxies/-", twin), ["warning proxy.node-unique a (2)"]);
    let refused = json!([{"node": "b", "reason": "too_many", "message": "too many streams"}]);
    assert_eq!(found("/refused", refused), ["error proxy.refused proxy b: too many streams"]);
}

#[test]
fn the_controller_itself_is_checked() {
    let own = env!("CARGO_PKG_VERSION");
    assert_eq!(
        found("/version", json!("")),
        [
            format!("warning controller.version it does not say, and this is {own}"),
            format!("warning proxy.version proxy a: filter {own}, controller "),
        ]
    );
    let unready = Pages { unready: Some("the first scrapes have not ended".to_owned()), ..pages(&state()) };
    assert_eq!(found_of(&unready), ["error controller.ready the first scrapes have not ended"]);
    let clock = ClockDifference { by: Duration::from_mins(2), is_ahead: false };
    let late = Pages { clock: Some(clock), ..pages(&state()) };
    assert_eq!(found_of(&late), ["warning controller.clock 120 s behind the clock here"]);
    let counters = BTreeMap::from([("config_reloads_total{refused}".to_owned(), 2.0)]);
    let rejected = Pages { counters, ..pages(&state()) };
    assert_eq!(found_of(&rejected), ["warning controller.configuration 2 changes were rejected"]);
    let counters = [
        ("unauthenticated_total", 3.0),
        ("unauthenticated_total{absent}", 2.0),
        ("unauthenticated_total{wrong}", 1.0),
        ("handshakes_failed_total", 4.0),
        ("secret_reloads_total{refused}", 1.0),
    ];
    let counters = counters.map(|(name, count)| (name.to_owned(), count)).into();
    assert_eq!(
        found_of(&Pages { counters, ..pages(&state()) }),
        [
            "warning controller.token 3 RPCs without a valid token: absent 2, wrong 1, malformed 0",
            "warning controller.tls 4 connections failed",
            "warning controller.secrets 1 changes were refused",
        ]
    );
}

#[test]
fn what_the_controller_reports_of_its_cluster_is_passed_on() {
    let watch = |state: &str, message: &str| json!([{"resource": "pods", "namespace": "llm", "state": state, "message": message}]);
    assert_eq!(
        found("/watches", watch("forbidden", "cannot list resource")),
        ["error kubernetes.watch pods in llm: forbidden: cannot list resource"]
    );
    assert_eq!(found("/watches", watch("missing", "")), Vec::<String>::new());
    let problem = json!([{"kind": "no_pods", "message": "llm/llama: no pod has the labels of its selector"}]);
    assert_eq!(
        found("/problems", problem),
        ["warning kubernetes.object no_pods: llm/llama: no pod has the labels of its selector"]
    );
}

fn args(controller: String) -> CheckArgs {
    CheckArgs {
        controller: Some(controller),
        envoy: Vec::new(),
        kubernetes: false,
        namespace: Vec::new(),
        output: CheckOutput::Text,
        quiet: true,
    }
}

#[tokio::test]
async fn a_running_controller_is_checked_and_one_that_is_away_is_not() {
    let running = start(quiet_settings()).await.unwrap();
    let hello = Hello { process: 7, node: "a".to_owned(), cell_bytes: 64, ..Hello::default() };
    let _refused = Proxy::open(running.grpc_addr(), hello).await;
    let http = format!("http://{}", running.http_addr());
    let is_refused = async || {
        let state: StatePage = warmpath::get::state(&http).await.unwrap();
        (!state.refused.is_empty()).then_some(())
    };
    crate::support::until("the proxy was refused", is_refused).await;
    let report = checks::run(&args(http.clone())).await;
    let errors = report.findings.iter().filter(|finding| finding.level == Level::Error);
    let errors: Vec<&str> = errors.map(|finding| finding.check.id).collect();
    assert_eq!(errors, ["controller.ready", "proxy.connected", "proxy.refused"]);
    assert_eq!(report.status(), report::STATUS_ERRORS);
    let mut text = Vec::new();
    report.print_text(&mut text, true).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(&format!("controller {http}\n  error    controller.ready  ")), "{text}");
    assert!(text.contains("           fix:  "), "{text}");
    running.shutdown().await;

    let report = checks::run(&args(http.clone())).await;
    assert_eq!((report.findings.len(), report.status()), (0, report::STATUS_UNCHECKED));
    let mut json = Vec::new();
    report.print_json(&mut json).unwrap();
    let page: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(page["unchecked"][0]["target"], format!("controller {http}"));
    assert!(page["unchecked"][0]["reason"].as_str().unwrap().contains("cannot reach"), "{page}");
}

#[test]
fn waits_that_cannot_end_well_are_found() {
    let mut held = state();
    let pool = held.pointer_mut("/pools/0").unwrap();
    pool["hold"] = json!({"room_s": 300, "endpoint_s": 600});
    pool["held_for_room"] = json!({"requests": 2, "oldest_ms": 200_000});
    for engine in pool["endpoints"].as_array_mut().unwrap() {
        engine["capacity_is_known"] = json!(true);
    }
    assert_eq!(found_of(&pages(&held)), Vec::<String>::new());
    let with = |place: &str, value: Value| {
        let mut state = held.clone();
        *state.pointer_mut(place).unwrap() = value;
        found_of(&pages(&state))
    };
    assert_eq!(with("/pools/0/endpoints", json!([])), Vec::<String>::new(), "it may be scaled to zero");
    assert_eq!(
        with("/pools/0/endpoints/0/capacity_is_known", json!(false)),
        ["warning hold.room-capacity pool llama: 1 of 2: 10.0.0.1:8000"]
    );
    assert_eq!(
        with("/pools/0/held_for_room/oldest_ms", json!(280_000)),
        ["warning hold.oldest pool llama: 2 wait for room, the oldest for 280 s of 300 s"]
    );
}
