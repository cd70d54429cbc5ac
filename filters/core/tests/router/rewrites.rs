//! Models that engines are asked for in place of those that requests name, and what else InferencePools say of requests:
//! objectives and roles.

use crate::support::{
    Host, Stream, Vm, chat, chosen, counted, destinations, endpoints, explain, post, serve, static_config,
    text, vm,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use warmpath_core::config::Config;
use warmpath_core::router::{MODEL_HEADER, TARGET_HEADER};
use warmpath_core::wire::{Objective, Rewrite, RewriteTarget, Role};

const PATH: &str = "/v1/chat/completions";

fn rule(model: &str, targets: &[(&str, u32)]) -> Rewrite {
    let target =
        |(model, weight): &(&str, u32)| RewriteTarget { model: (*model).to_owned(), weight: *weight };
    Rewrite { model: model.to_owned(), targets: targets.iter().map(target).collect() }
}

/// Three endpoints that serve `llama`, and these rules.
fn config(rules: Vec<Rewrite>) -> Config {
    let mut config = static_config(3);
    config.pools.pools[0].rewrites = rules;
    config
}

fn canary() -> Config {
    config(vec![rule("chat", &[("llama", 80), ("llama-next", 20)])])
}

/// A conversation in which the user has spoken so many times.
fn conversation(system: &str, topic: &str, turns: usize) -> Value {
    let mut messages = vec![json!({"role": "system", "content": system})];
    for turn in 0..turns {
        if turn > 0 {
            messages.push(json!({"role": "assistant", "content": format!("{topic}, {turn}")}));
        }
        messages.push(json!({"role": "user", "content": text(&format!("{topic} {turn}"), 600)}));
    }
    json!({"model": "chat", "messages": messages})
}

/// The model that the engine is asked for.
fn asked(stream: &Stream) -> String {
    let body: Value = serde_json::from_slice(stream.edited.as_ref().expect("the body is edited")).unwrap();
    body["model"].as_str().unwrap().to_owned()
}

fn ask(vm: &Vm, body: &Value) -> String {
    let stream = serve(vm, body);
    let model = asked(&stream);
    stream.complete();
    model
}

#[test]
fn the_body_names_the_target_and_is_otherwise_the_clients() {
    let host = Host::default();
    let vm = vm(&host, &config(vec![rule("chat", &[("llama", 1)])]));
    let body = r#"{ "messages":[{"role":"user","content":"chat"}],  "model" : "chat","x":1.50 }"#;
    let mut stream = vm.request();
    let length = body.len().to_string();
    stream.headers(&[(":method", "POST"), (":path", PATH), ("content-length", &length)], false);
    stream.body(body.as_bytes(), true);
    let expected = body.replace(r#""model" : "chat""#, r#""model" : "llama""#);
    assert_eq!(stream.edited.as_deref(), Some(expected.as_bytes()));
    assert_eq!(stream.request_headers["content-length"], expected.len().to_string());
    assert_eq!(stream.request_headers[MODEL_HEADER], "chat", "routes match what the client says");
    stream.response_headers(&[(":status", "200")], true);
    assert_eq!(stream.response_headers[TARGET_HEADER], "llama");
    stream.finish();
    assert_eq!(counted(&host, &[&vm], "warmpath.rewritten"), 1);
}

#[test]
fn a_body_without_a_length_gets_none() {
    let host = Host::default();
    let vm = vm(&host, &config(vec![rule("chat", &[("llama", 1)])]));
    let stream = post(&vm, PATH, &conversation("s", "whales", 1).to_string());
    assert_eq!(asked(&stream), "llama");
    assert!(!stream.request_headers.contains_key("content-length"));
    stream.complete();
}

#[test]
fn a_body_in_utf_16_is_sent_in_utf_8() {
    let host = Host::default();
    let vm = vm(&host, &config(vec![rule("chat", &[("llama", 1)])]));
    let body: Vec<u8> =
        conversation("s", "whales", 1).to_string().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut stream = vm.request();
    stream.headers(&[(":method", "POST"), (":path", PATH)], false);
    stream.body(&body, true);
    assert_eq!(asked(&stream), "llama");
    stream.complete();
}

#[test]
fn the_turns_of_a_conversation_stay_with_one_target_and_conversations_follow_the_weights() {
    let host = Host::default();
    let vm = vm(&host, &canary());
    // All have the same beginning, longer than any cell.
    let system = text("you are helpful", 4_000);
    let mut by_target: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..300 {
        let topic = format!("conversation {number}");
        let targets: BTreeSet<_> =
            (1..4).map(|turns| ask(&vm, &conversation(&system, &topic, turns))).collect();
        assert_eq!(targets.len(), 1, "{topic}: {targets:?}");
        *by_target.entry(targets.into_iter().next().unwrap()).or_default() += 1;
    }
    assert!((35..=85).contains(&by_target["llama-next"]), "a fifth of 300: {by_target:?}");
}

#[test]
fn a_session_header_names_the_conversation_whatever_it_begins_with() {
    let host = Host::default();
    let vm = vm(&host, &Config { affinity_headers: vec!["x-session-id".to_owned()], ..canary() });
    let mut targets = BTreeSet::new();
    for session in 0..40 {
        let session = session.to_string();
        let turns: BTreeSet<_> = ["a", "b", "c"]
            .map(|topic| {
                let mut stream = vm.request();
                stream.headers(&[(":method", "POST"), (":path", PATH), ("x-session-id", &session)], false);
                stream.body(conversation("s", topic, 1).to_string().as_bytes(), true);
                let model = asked(&stream);
                stream.complete();
                model
            })
            .into();
        assert_eq!(turns.len(), 1);
        targets.extend(turns);
    }
    assert_eq!(targets.len(), 2);
}

#[test]
fn an_alias_and_its_target_share_their_prefixes_and_two_targets_do_not() {
    let host = Host::default();
    let vm = vm(&host, &config(vec![rule("chat", &[("llama", 1)]), rule("next", &[("llama-next", 1)])]));
    let prompt = text("whales", 4_000);
    let named = |model: &str| {
        let mut body = chat(&prompt);
        body["model"] = json!(model);
        body
    };
    let first = serve(&vm, &named("llama"));
    let holder = chosen(&first);
    first.complete();
    for model in ["llama", "chat"] {
        assert_eq!(explain(&vm, &named(model)).holders(), std::slice::from_ref(&holder), "{model}");
    }
    assert!(explain(&vm, &named("next")).holders().is_empty());
    let explanation = explain(&vm, &named("chat"));
    assert_eq!((explanation.field("model"), explanation.field("target")), (&json!("chat"), &json!("llama")));
}

#[test]
fn a_rule_for_a_name_comes_before_one_for_any() {
    let host = Host::default();
    let vm = vm(&host, &config(vec![rule("", &[("other", 1)]), rule("chat", &[("llama", 1)])]));
    assert_eq!(ask(&vm, &conversation("s", "whales", 1)), "llama");
    for model in ["nobody-serves-it", "llama"] {
        let mut body = chat("hello");
        body["model"] = json!(model);
        assert_eq!(ask(&vm, &body), "other");
    }
}

#[test]
fn a_target_that_is_named_already_leaves_the_body_alone() {
    let host = Host::default();
    let vm = vm(&host, &config(vec![rule("llama", &[("llama", 1)])]));
    let mut stream = serve(&vm, &chat("hello"));
    assert_eq!(stream.edited, None);
    stream.response_headers(&[(":status", "200")], true);
    assert_eq!(stream.response_headers[TARGET_HEADER], "llama");
    stream.finish();
}

#[test]
fn what_cannot_be_written_again_goes_as_it_is() {
    let host = Host::default();
    let vm = vm(&host, &config(vec![rule("chat", &[("llama", 1)])]));
    let mut form = vm.request();
    let multipart = ("content-type", "multipart/form-data; boundary=x");
    form.headers(&[(":method", "POST"), (":path", "/v1/audio/transcriptions"), multipart], false);
    form.body(b"--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nchat\r\n--x--\r\n", true);
    assert_eq!((form.edited.is_none(), destinations(&form).len()), (true, 3));
    form.complete();
    for body in ["{}", "{\"messages\":[]}", "{\"model\":7}", ""] {
        let stream = post(&vm, PATH, body);
        assert_eq!((stream.edited.is_none(), destinations(&stream).len()), (true, 3), "{body}");
        stream.complete();
    }
}

#[test]
fn a_rule_without_targets_changes_nothing() {
    let host = Host::default();
    let vm = vm(&host, &config(vec![rule("chat", &[])]));
    let stream = serve(&vm, &conversation("s", "whales", 1));
    assert_eq!((stream.edited.is_none(), destinations(&stream).len()), (true, 3));
    stream.complete();
}

#[test]
fn the_list_of_models_has_the_names_of_rules() {
    let host = Host::default();
    let mut config = canary();
    let mut second = config.pools.pools[0].clone();
    (second.name, second.models, second.rewrites) =
        ("second".to_owned(), vec!["beta".to_owned()], Vec::new());
    second.adapters.clear();
    config.pools.pools.push(second);
    let vm = vm(&host, &config);
    let mut stream = vm.request();
    stream.headers(&[(":method", "GET"), (":path", "/v1/models")], true);
    let list: Value = serde_json::from_slice(&stream.reply.as_ref().unwrap().body).unwrap();
    let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
    assert_eq!(ids, ["llama", "sql", "chat", "beta"]);
    stream.finish();
}

#[test]
fn an_objective_has_its_pools_priority() {
    let host = Host::default();
    let mut config = static_config(3);
    config.pools.pools[0].objectives = vec![Objective { name: "batch".to_owned(), priority: -10 }];
    let vm = vm(&host, &config);
    for (header, objective, priority) in [
        ("x-llm-d-inference-objective", "batch", -10),
        ("x-gateway-inference-objective", "batch", -10),
        ("x-gateway-inference-objective", "unknown", 0),
        ("x-other", "batch", 0),
    ] {
        let mut stream = vm.request();
        let head = [(":method", "POST"), (":path", PATH), (header, objective)];
        stream.headers(&head, false);
        stream.body(chat("hello").to_string().as_bytes(), true);
        stream.response_headers(&[(":status", "200")], true);
        let decision = &stream.response_headers["x-warmpath-decision"];
        assert_eq!(decision.contains(" priority=-10 "), priority != 0, "{header} {objective}: {decision}");
        stream.finish();
        let mut explained = vm.request();
        explained.headers(&head.into_iter().chain([("x-warmpath-explain", "1")]).collect::<Vec<_>>(), false);
        explained.body(chat("hello").to_string().as_bytes(), true);
        let explanation: Value = serde_json::from_slice(&explained.reply.as_ref().unwrap().body).unwrap();
        assert_eq!(explanation["priority"], priority, "{header} {objective}");
        explained.finish();
    }
}

#[test]
fn whole_requests_go_to_prefill_endpoints_only_where_there_are_no_others() {
    for endpoints_of_pool in [4, 100] {
        let host = Host::default();
        let mut config = static_config(endpoints_of_pool);
        for endpoint in &mut config.pools.pools[0].endpoints[1..] {
            endpoint.set_role(Role::Prefill);
        }
        let some = vm(&host, &config);
        for number in 0..20 {
            let stream = serve(&some, &chat(&text(&format!("topic {number}"), 1_000)));
            assert_eq!(destinations(&stream), endpoints(1));
            stream.complete();
        }
        config.pools.pools[0].endpoints[0].set_role(Role::Prefill);
        let none = vm(&Host::default(), &config);
        assert_eq!(destinations(&serve(&none, &chat("hello"))).len(), 4);
    }
}
