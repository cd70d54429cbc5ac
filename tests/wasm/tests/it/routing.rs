//! From a request to its endpoint.

use crate::support::{
    JSON, assert_clean, chat, chat_with, chosen, complete, counted, destinations, endpoints, explain,
    finish_all, get, post, respond_head, serve, sharing_config, static_config, text, vm,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use warmpath_host::{Action, Host, Stream};

const CHAT_HEADERS: [(&str, &str); 2] = [(":method", "POST"), (":path", "/v1/chat/completions")];

#[test]
fn a_body_is_sent_with_the_model_that_a_rule_gives_it() {
    let host = Host::default();
    let mut config = static_config(2);
    config["pools"][0]["rewrites"] = json!([{"model": "chat", "targets": [{"model": "a-much-longer-name"}]}]);
    let vm = vm(&host, &config);
    for trailers in [false, true] {
        let body = chat("hello").to_string().replace("llama", "chat");
        let expected = body.replace("\"chat\"", "\"a-much-longer-name\"");
        let mut stream = vm.request();
        let length = body.len().to_string();
        let head =
            [(":method", "POST"), (":path", "/v1/chat/completions"), ("content-length", length.as_str())];
        stream.headers(&head, false).unwrap();
        let (first, second) = body.as_bytes().split_at(20);
        stream.body(first, false).unwrap();
        stream.body(second, !trailers).unwrap();
        if trailers {
            stream.request_trailers(&[("x-sum", "1")]).unwrap();
        }
        assert_eq!(String::from_utf8(stream.upstream().body).unwrap(), expected);
        let headers = stream.upstream().headers.unwrap();
        assert_eq!(headers.text("content-length"), Some(expected.len().to_string().as_str()));
        respond_head(&mut stream, &JSON, true);
        assert_eq!(stream.downstream().headers.unwrap().text("x-warmpath-model"), Some("a-much-longer-name"));
        stream.finish().unwrap();
    }
    assert_clean(&host, &[&vm]);
}

#[test]
fn of_pools_of_one_model_the_one_whose_cluster_the_route_has_drawn_is_taken() {
    let host = Host::default();
    let [first, second] = &endpoints(2)[..] else { panic!("two") };
    let vm = vm(&host, &sharing_config(["llm/a", "llm/b"]));
    let sent_by = |cluster: &str| {
        let mut stream = vm.request();
        stream.set_property(&["xds", "cluster_name"], cluster.as_bytes());
        stream.headers(&CHAT_HEADERS, false).unwrap();
        stream.body(chat("hello").to_string().as_bytes(), true).unwrap();
        let chosen = chosen(&stream);
        complete(stream);
        chosen
    };
    for _ in 0..4 {
        assert_eq!(&sent_by("llm/a"), first);
        assert_eq!(&sent_by("outbound|54321||b-ip-3e23e816.llm.svc.cluster.local"), second);
    }
    assert_clean(&host, &[&vm]);
}

#[test]
fn body_in_pieces_is_held_until_its_end_and_then_goes_on_unchanged() {
    let host = Host::default();
    let vm = vm(&host, &static_config(6));
    let body = chat(&text("whales", 3000)).to_string();
    let mut stream = vm.request();
    assert_eq!(stream.headers(&CHAT_HEADERS, false).unwrap(), Action::Pause);
    let (head, tail) = body.as_bytes().split_at(1000);
    assert_eq!(stream.body(head, false).unwrap(), Action::Pause);
    assert_eq!(stream.upstream().headers, None, "nothing goes on before the choice");
    assert_eq!(stream.body(tail, false).unwrap(), Action::Pause);
    assert_eq!(stream.body(b"", true).unwrap(), Action::Continue);
    assert_eq!(stream.upstream().body, body.as_bytes());
    assert!(stream.upstream().ended);
    stream.finish().unwrap();
    assert_clean(&host, &[&vm]);
}

#[test]
fn destination_names_the_choice_and_as_many_alternates_as_configured() {
    let host = Host::default();
    for (alternates, wanted) in [(None, 4), (Some(0), 1), (Some(7), 6)] {
        let mut config = static_config(6);
        if let Some(alternates) = alternates {
            config["alternates"] = json!(alternates);
        }
        let vm = vm(&host, &config);
        let stream = serve(&vm, &chat("hello"));
        let mut named = destinations(&stream);
        assert!(named.iter().all(|name| endpoints(6).contains(name)));
        named.sort();
        named.dedup();
        assert_eq!(named.len(), wanted, "alternates: {alternates:?}");
        stream.finish().unwrap();
        assert_clean(&host, &[&vm]);
    }
}

#[test]
fn same_prompt_goes_where_it_went_before_in_every_format() {
    let host = Host::default();
    let vm = vm(&host, &static_config(8));
    for (path, mut body) in [
        ("/v1/chat/completions", chat(&text("chat", 3000))),
        ("/v1/completions", json!({"model": "llama", "prompt": text("completions", 3000)})),
        ("/v1/responses", json!({"model": "llama", "input": text("responses", 3000)})),
        (
            "/v1/messages",
            json!({"model": "llama", "messages": [{"role": "user", "content": text("messages", 3000)}]}),
        ),
        ("/generate", json!({"text": text("generate", 3000)})),
        ("/inference/v1/generate", json!({"model": "llama", "token_ids": (0..3000).collect::<Vec<u32>>()})),
        ("/v1/embeddings", json!({"model": "llama", "input": text("embeddings", 3000)})),
        ("/v1/rerank", json!({"model": "llama", "query": text("rerank", 3000), "documents": ["a", "b"]})),
        ("/base/v1/completions?x=1", json!({"model": "llama", "prompt": text("prefixed", 3000)})),
    ] {
        let first = post(&vm, path, &body.to_string());
        let holder = chosen(&first);
        complete(first);
        for turn in 0..6 {
            body["temperature"] = json!(turn);
            let again = post(&vm, path, &body.to_string());
            assert_eq!(chosen(&again), holder, "{path}");
            complete(again);
        }
    }
    assert_eq!(
        (counted(&host, &[&vm], "warmpath.decision.cold"), counted(&host, &[&vm], "warmpath.decision.warm")),
        (9, 54)
    );
    assert_clean(&host, &[&vm]);
}

#[test]
fn next_turn_of_a_conversation_goes_where_the_last_one_went() {
    let host = Host::default();
    let vm = vm(&host, &static_config(8));
    let mut messages = vec![json!({"role": "system", "content": text("rules", 1500)})];
    let mut holder = None;
    for turn in 0..5 {
        messages.push(json!({"role": "user", "content": text(&format!("question {turn}"), 600)}));
        let stream = serve(&vm, &json!({"model": "llama", "messages": messages}));
        let there = chosen(&stream);
        assert_eq!(*holder.get_or_insert(there.clone()), there, "turn {turn}");
        complete(stream);
        messages.push(json!({"role": "assistant", "content": text(&format!("response {turn}"), 600)}));
    }
    assert_clean(&host, &[&vm]);
}

#[test]
fn prompt_is_not_found_under_another_salt_adapter_or_pool() {
    let host = Host::default();
    let mut config = static_config(4);
    config["pools"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "qwen", "models": ["qwen"], "endpoints": ["10.1.0.1:80", "10.1.0.2:80"]}));
    let vm = vm(&host, &config);
    let content = text("whales", 3000);
    complete(serve(&vm, &chat_with(&content, &json!({"cache_salt": "tenant"}))));
    assert_eq!(explain(&vm, &chat_with(&content, &json!({"cache_salt": "tenant"}))).holders().len(), 1);
    for other in [
        json!({}),
        json!({"cache_salt": "other"}),
        json!({"cache_salt": "tenant", "model": "sql"}),
        json!({"cache_salt": "tenant", "model": "qwen"}),
    ] {
        assert_eq!(explain(&vm, &chat_with(&content, &other)).holders(), [""; 0], "{other}");
    }
    assert_clean(&host, &[&vm]);
}

#[test]
fn the_model_chooses_the_pool_and_is_passed_to_the_routes() {
    let host = Host::default();
    let config = json!({"pools": [
        {"name": "a", "models": ["llama"], "adapters": ["sql"], "endpoints": ["10.0.0.1:80"]},
        {"name": "b", "models": ["qwen"], "endpoints": ["10.0.0.2:80"]},
        {"name": "c", "models": ["*"], "endpoints": ["10.0.0.3:80"]},
    ]});
    let vm = vm(&host, &config);
    for (model, endpoint) in [
        ("llama", "10.0.0.1:80"),
        ("sql", "10.0.0.1:80"),
        ("qwen", "10.0.0.2:80"),
        ("gpt-oss", "10.0.0.3:80"),
    ] {
        for path in ["/v1/chat/completions", "/v1/embeddings"] {
            let stream = post(&vm, path, &json!({"model": model, "messages": []}).to_string());
            assert_eq!(destinations(&stream), [endpoint], "{model}");
            assert_eq!(model_header(&stream).as_deref(), Some(model));
            stream.finish().unwrap();
        }
    }
    assert_clean(&host, &[&vm]);
}

#[test]
fn model_name_that_no_header_can_carry_is_routed_without_the_header() {
    let host = Host::default();
    let mut config = static_config(2);
    config["pools"][0]["models"] = json!(["*"]);
    let vm = vm(&host, &config);
    for model in ["ll\r\nx-evil: 1", "a\u{0}b", ""] {
        let stream = serve(&vm, &chat_with("hello", &json!({"model": model})));
        assert_eq!(model_header(&stream), None, "{model:?}");
        assert_eq!(destinations(&stream).len(), 2);
        stream.finish().unwrap();
    }
    let stream = serve(&vm, &chat_with("hello", &json!({"model": "モデル"})));
    assert_eq!(model_header(&stream).as_deref(), Some("モデル"), "a route matches it in UTF-8");
    stream.finish().unwrap();
    assert_clean(&host, &[&vm]);
}

#[test]
fn requests_without_a_prompt_are_spread_by_load() {
    let host = Host::default();
    let vm = vm(&host, &static_config(4));
    let speech = json!({"model": "llama", "input": text("whales", 2000)}).to_string();
    let of_kinds: [&dyn Fn() -> Stream; 2] =
        [&|| get(&vm, "/v1/models"), &|| post(&vm, "/v1/audio/speech", &speech)];
    for send in of_kinds {
        let streams: Vec<Stream> = (0..12).map(|_| send()).collect();
        let mut there: BTreeMap<String, u32> = BTreeMap::new();
        for stream in &streams {
            *there.entry(chosen(stream)).or_default() += 1;
        }
        assert_eq!(there.into_values().collect::<Vec<_>>(), [3, 3, 3, 3]);
        finish_all(streams);
    }
    assert_eq!(counted(&host, &[&vm], "warmpath.decision.load"), 24);
    assert_clean(&host, &[&vm]);
}

#[test]
fn busy_holder_gives_way_when_waiting_costs_more_than_computing_again() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let prompt = chat(&text("whales", 3000));
    let first = serve(&vm, &prompt);
    let holder = chosen(&first);
    let mut in_flight: Vec<Stream> = vec![first];
    while counted(&host, &[&vm], "warmpath.decision.spill") == 0 {
        assert!(in_flight.len() < 1000, "the holder never gives way");
        in_flight.push(serve(&vm, &prompt));
    }
    assert_ne!(chosen(in_flight.last().unwrap()), holder);
    finish_all(in_flight);
    assert_clean(&host, &[&vm]);
}

#[test]
fn post_that_ends_with_its_headers_is_routed_at_once() {
    let host = Host::default();
    let vm = vm(&host, &static_config(4));
    let mut stream = vm.request();
    assert_eq!(stream.headers(&CHAT_HEADERS, true).unwrap(), Action::Continue);
    assert_eq!(destinations(&stream).len(), 4);
    stream.finish().unwrap();
    assert_eq!(counted(&host, &[&vm], "warmpath.unread.no_body"), 1);
    assert_clean(&host, &[&vm]);
}

#[test]
fn trailers_end_a_body() {
    let host = Host::default();
    let vm = vm(&host, &static_config(8));
    let prompt = chat(&text("whales", 3000));
    let first = serve(&vm, &prompt);
    let holder = chosen(&first);
    complete(first);
    let mut stream = vm.request();
    stream.headers(&CHAT_HEADERS, false).unwrap();
    stream.body(prompt.to_string().as_bytes(), false).unwrap();
    assert_eq!(stream.request_trailers(&[("x-sum", "1")]).unwrap(), Action::Continue);
    assert_eq!(chosen(&stream), holder);
    assert!(stream.upstream().trailers.is_some() && stream.upstream().ended);
    stream.finish().unwrap();
    assert_clean(&host, &[&vm]);
}

#[test]
fn trailers_after_headers_alone_are_routed_by_load() {
    let host = Host::default();
    let vm = vm(&host, &static_config(4));
    let mut stream = vm.request();
    stream.headers(&CHAT_HEADERS, false).unwrap();
    assert_eq!(stream.request_trailers(&[("x-sum", "1")]).unwrap(), Action::Continue);
    assert_eq!(destinations(&stream).len(), 4);
    stream.finish().unwrap();
    assert_eq!(counted(&host, &[&vm], "warmpath.unread.empty"), 1);
    assert_clean(&host, &[&vm]);
}

fn model_header(stream: &Stream) -> Option<String> {
    let headers = stream.upstream().headers.unwrap();
    headers.text("x-gateway-model-name").map(str::to_owned)
}

#[test]
fn an_explanation_lists_every_endpoint_and_sends_nothing() {
    let host = Host::default();
    let vm = vm(&host, &static_config(12));
    let decision = explain(&vm, &chat(&text("whales", 1000)));
    assert_eq!(decision.candidates().len(), 12);
    assert_eq!(decision.field("reason"), "cold");
    assert_eq!(decision.field("pool"), "llama");
    assert_eq!(explain(&vm, &chat("hello")).sum("requests"), 0);
    let costs: Vec<&Value> = decision.candidates().iter().map(|name| decision.of(name, "cost_s")).collect();
    assert!(costs.iter().all(|cost| cost.as_f64() > Some(0.0)), "{costs:?}");
    assert_clean(&host, &[&vm]);
}
