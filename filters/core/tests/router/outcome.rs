//! What requests come to: engines that fail fast, refusals, silence, and the caches that none of them fills.

use crate::support::{
    EVENT_STREAM, JSON, TOKEN, chat, chat_with, chosen, counted, explain, finish_all, post, serve,
    static_config, text, vm,
};
use crate::support::{Host, Stream, Vm};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// One request of a pool's traffic, each with its own prompt.
fn next_prompt(number: u64) -> Value {
    chat_with(&text(&format!("topic {number}"), 4000), &json!({"stream": true}))
}

/// Twenty requests a second, each with its own prompt. The engine that fails responds so in 3 ms, the others serve in
/// 100 ms. Returns how many each got.
fn traffic(
    host: &Host,
    vm: &Vm,
    requests: u64,
    status_of: impl Fn(&str) -> &'static str,
) -> BTreeMap<String, u64> {
    let mut sent = BTreeMap::new();
    let mut open: Vec<Stream> = Vec::new();
    for number in 0..requests {
        let mut stream = serve(vm, &next_prompt(number));
        let engine = chosen(&stream);
        *sent.entry(engine.clone()).or_default() += 1;
        host.advance(Duration::from_millis(3));
        match status_of(&engine) {
            "200" => open.push(stream),
            status => {
                stream.response_headers(&[(":status", status)], false);
                stream.response_body(b"{}", true);
                stream.finish();
            }
        }
        host.advance(Duration::from_millis(47));
        vm.tick();
        if open.len() > 1 {
            let mut served = open.remove(0);
            served.response_headers(&EVENT_STREAM, false);
            served.response_body(TOKEN, true);
            served.finish();
        }
    }
    finish_all(open);
    sent
}

fn respond(mut stream: Stream, status: &str, body: &[u8]) {
    stream.response_headers(&[(":status", status)], false);
    stream.response_body(body, true);
    stream.finish();
}

fn holders(vm: &Vm, body: &Value) -> Vec<String> {
    explain(vm, body).holders()
}

#[test]
fn an_engine_that_fails_fast_gets_a_trickle() {
    for status in ["500", "404", "401"] {
        let host = Host::default();
        let vm = vm(&host, &static_config(8));
        let broken = "10.0.0.3:8000";
        let sent = traffic(&host, &vm, 2000, |engine| if engine == broken { status } else { "200" });
        let share = sent.get(broken).copied().unwrap_or(0);
        assert!((2..20).contains(&share), "{status}: {share} of 2000 requests");
    }
}

#[test]
fn an_engine_that_ends_without_tokens_gets_a_trickle() {
    let host = Host::default();
    let vm = vm(&host, &static_config(4));
    let broken = "10.0.0.2:8000";
    let mut there = 0;
    for number in 0..400 {
        let mut stream = serve(&vm, &next_prompt(number));
        let is_broken = chosen(&stream) == broken;
        there += u64::from(is_broken);
        host.advance(Duration::from_millis(50));
        stream.response_headers(&EVENT_STREAM, is_broken);
        if !is_broken {
            stream.response_body(TOKEN, true);
        }
        stream.finish();
    }
    assert!((2..15).contains(&there), "{there} of 400");
    assert!(counted(&host, &[&vm], "warmpath.outcome.empty") >= 2);
}

/// A client can make any engine end so: the first word of the response as a stop string.
#[test]
fn streams_that_a_stop_string_leaves_empty_take_no_engine_out() {
    let host = Host::default();
    let vm = vm(&host, &static_config(4));
    traffic(&host, &vm, 50, |_| "200");
    let body = chat_with(&text("stopped", 4000), &json!({"stream": true, "stop": ["a"]}));
    for _ in 0..10 {
        let mut stream = serve(&vm, &body);
        let there = chosen(&stream);
        host.advance(Duration::from_millis(50));
        stream.response_headers(&EVENT_STREAM, false);
        stream.response_body(
            b"data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
            false,
        );
        stream.response_body(b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n", false);
        stream.response_body(b"data: [DONE]\n\n", true);
        stream.finish();
        assert_eq!(explain(&vm, &body).of(&there, "fitness"), "fit");
        assert_eq!(holders(&vm, &body), [there], "it has computed the prompt");
    }
    assert_eq!(counted(&host, &[&vm], "warmpath.outcome.empty"), 0);
}

#[test]
fn an_engine_that_recovers_gets_its_share_again() {
    let host = Host::default();
    let vm = vm(&host, &static_config(4));
    traffic(&host, &vm, 200, |engine| if engine == "10.0.0.1:8000" { "500" } else { "200" });
    let sent = traffic(&host, &vm, 1000, |_| "200");
    assert!(sent.get("10.0.0.1:8000").is_some_and(|share| *share > 150), "{sent:?}");
}

#[test]
fn a_client_whose_every_request_fails_takes_no_engine_out() {
    let host = Host::default();
    let vm = vm(&host, &static_config(4));
    traffic(&host, &vm, 200, |_| "200");
    for (number, status) in (0..200).zip(["401", "404", "500", "400"].into_iter().cycle()) {
        respond(serve(&vm, &chat(&format!("broken {number}"))), status, b"{}");
        host.advance(Duration::from_millis(10));
    }
    traffic(&host, &vm, 50, |_| "200");
    let decision = explain(&vm, &chat("hello"));
    let avoided =
        decision.candidates().iter().filter(|engine| decision.of(engine, "fitness") != "fit").count();
    assert_eq!(avoided, 0);
}

/// A rate limit or an authorization in a filter behind this one: the engine has not seen the request.
#[test]
fn a_client_that_another_filter_denies_takes_no_engine_out() {
    let host = Host::default();
    let vm = vm(&host, &static_config(4));
    traffic(&host, &vm, 50, |_| "200");
    let before = counted(&host, &[&vm], "warmpath.outcome.none");
    for (number, status) in (0..60).zip(["429", "503", "403", "401", "500", "504", "200"].into_iter().cycle())
    {
        let body = chat(&format!("denied {number}"));
        let mut stream = serve(&vm, &body);
        stream.local_response(status);
        stream.response_body(b"denied", true);
        stream.finish();
        assert!(holders(&vm, &body).is_empty(), "{status}: nobody has computed it");
        let decision = explain(&vm, &chat("hello"));
        for engine in decision.candidates() {
            assert_eq!(decision.of(&engine, "fitness"), "fit", "{status}: {engine}");
        }
    }
    assert_eq!(counted(&host, &[&vm], "warmpath.failed"), 0);
    assert_eq!(counted(&host, &[&vm], "warmpath.outcome.none"), before + 60);
}

#[test]
fn a_refused_prompt_is_not_cached() {
    let host = Host::default();
    let vm = vm(&host, &static_config(3));
    let prompt = chat(&text("whales", 4000));
    for status in ["400", "401", "404", "413", "422", "429", "500", "503"] {
        let stream = serve(&vm, &prompt);
        assert_eq!(holders(&vm, &prompt), [chosen(&stream)], "a similar prompt at the same time finds it");
        respond(stream, status, b"{\"error\":{}}");
        assert!(holders(&vm, &prompt).is_empty(), "{status}");
    }
    let stream = serve(&vm, &prompt);
    let there = chosen(&stream);
    respond(stream, "200", b"{}");
    assert_eq!(holders(&vm, &prompt), [there]);
}

#[test]
fn a_prompt_whose_client_left_before_the_first_token_is_not_cached() {
    let host = Host::default();
    let vm = vm(&host, &static_config(3));
    let prompt = chat(&text("whales", 4000));
    serve(&vm, &prompt).finish();
    assert!(holders(&vm, &prompt).is_empty());
}

#[test]
fn refused_prompts_evict_nothing() {
    let host = Host::default();
    let vm = vm(&host, &static_config(1));
    let kept = chat(&text("whales", 8000));
    respond(serve(&vm, &kept), "200", b"{}");
    for number in 0..24 {
        respond(serve(&vm, &chat(&text(&format!("long {number}"), 1_600_000))), "400", b"{}");
    }
    assert_eq!(holders(&vm, &kept), ["10.0.0.1:8000"]);
}

#[test]
fn an_engine_without_prefix_caching_loses_its_affinity() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let prompt = chat(&text("whales", 8000));
    let usage = br#"{"usage":{"prompt_tokens":2000,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":0}}}"#;
    respond(serve(&vm, &prompt), "200", usage);
    let there = holders(&vm, &prompt).remove(0);
    let cached = |vm: &Vm| explain(vm, &prompt).of(&there, "cached_tokens").as_u64().unwrap();
    let before = cached(&vm);
    assert!(before > 1_900);
    for _ in 0..30 {
        let mut stream = serve(&vm, &prompt);
        stream.served_by = Some(there.clone());
        stream.response_headers(&JSON, false);
        stream.response_body(usage, true);
        stream.finish();
        host.advance(Duration::from_secs(20));
    }
    assert!(cached(&vm) < before / 10, "{} of {before}", cached(&vm));
}

#[test]
fn a_full_engine_stays_avoided_while_older_requests_get_their_tokens() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let fitness =
        |engine: &str| explain(&vm, &chat("hello")).of(engine, "fitness").as_str().unwrap().to_owned();
    let mut older = serve(&vm, &next_prompt(1));
    let there = chosen(&older);
    host.advance(Duration::from_millis(50));
    let mut refused = serve(&vm, &next_prompt(2));
    refused.served_by = Some(there.clone());
    refused.response_headers(&[(":status", "429")], true);
    refused.finish();
    older.response_headers(&EVENT_STREAM, false);
    older.response_body(TOKEN, false);
    assert_eq!(fitness(&there), "avoided");
    older.finish();
}

#[test]
fn an_engine_that_accepts_and_never_responds_is_found_out() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let hung = serve(&vm, &next_prompt(0));
    let there = chosen(&hung);
    let mut to_hung = 0;
    let mut open = vec![hung];
    for number in 1..600 {
        let mut stream = serve(&vm, &next_prompt(number));
        host.advance(Duration::from_millis(100));
        vm.tick();
        if chosen(&stream) == there {
            to_hung += 1;
            open.push(stream);
            continue;
        }
        stream.response_headers(&EVENT_STREAM, false);
        stream.response_body(TOKEN, true);
        stream.finish();
    }
    assert!(counted(&host, &[&vm], "warmpath.outcome.silent") >= 1);
    assert!(to_hung < 30, "{to_hung} of 600 requests hang");
    finish_all(open);
}

/// An engine whose KV cache is full gives each request room when an earlier one has ended. Others are faster meanwhile: that is no
/// reason to take from it the conversations whose prefixes it holds.
#[test]
fn an_engine_where_requests_wait_for_room_is_not_taken_for_a_silent_one() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let fitness =
        |engine: &str| explain(&vm, &chat("hello")).of(engine, "fitness").as_str().unwrap().to_owned();
    let serve_first = |stream: &mut Stream| {
        stream.response_headers(&EVENT_STREAM, false);
        stream.response_body(TOKEN, false);
    };
    let turn = |number: u64| {
        let prompt = text("whales", 200_000) + &text(&format!("turn {number}"), 400);
        chat_with(&prompt, &json!({"stream": true}))
    };
    let mut first = serve(&vm, &turn(0));
    let there = chosen(&first);
    serve_first(&mut first);
    let (mut served, mut waiting) = (vec![first], Vec::new());
    // Ten requests a second. Those of the conversation come twice as fast as they get room.
    for number in 1..600 {
        let is_turn = number % 30 == 0;
        let mut stream = serve(&vm, &if is_turn { turn(number) } else { next_prompt(number) });
        host.advance(Duration::from_millis(100));
        vm.tick();
        assert_eq!(fitness(&there), "fit", "after {number} requests, {} wait", waiting.len());
        if chosen(&stream) == there {
            waiting.push(stream);
        } else {
            serve_first(&mut stream);
            stream.finish();
        }
        if number % 60 == 0 && !waiting.is_empty() {
            let mut oldest = waiting.remove(0);
            serve_first(&mut oldest);
            served.push(oldest);
        }
    }
    assert!(counted(&host, &[&vm], "warmpath.outcome.silent") >= 1, "some waited for long");
    finish_all(served);
    finish_all(waiting);
}

#[test]
fn a_response_that_is_no_stream_stops_counting_as_prefill_when_the_model_says_so() {
    let host = Host::default();
    let vm = vm(&host, &static_config(1));
    let streams: Vec<_> =
        (0..20).map(|number| serve(&vm, &chat(&text(&format!("t{number}"), 8000)))).collect();
    let queue_s = || explain(&vm, &chat("hello")).of("10.0.0.1:8000", "terms_s")["queue"].as_f64().unwrap();
    assert!(queue_s() > 1.0);
    host.advance(Duration::from_secs(10));
    vm.tick();
    assert!(queue_s() < 1e-9, "{}", queue_s());
    assert_eq!(explain(&vm, &chat("hello")).sum("requests"), 20);
    finish_all(streams);
}

#[test]
fn an_image_in_a_cached_prefix_is_cached_and_a_new_one_is_not() {
    let host = Host::default();
    let vm = vm(&host, &static_config(1));
    let image = |data: &str| json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{data}")}});
    let turn =
        |parts: Vec<Value>| json!({"model": "llama", "messages": [{"role": "user", "content": parts}]});
    let words = |topic: &str| json!({"type": "text", "text": text(topic, 8000)});
    let first = turn(vec![image("first"), words("whales")]);
    respond(serve(&vm, &first), "200", b"{}");
    let share = |body: &Value| {
        let decision = explain(&vm, body);
        let cached = decision.of("10.0.0.1:8000", "cached_tokens").as_f64().unwrap();
        cached / decision.field("prompt_tokens").as_f64().unwrap()
    };
    assert!(share(&first) > 0.95, "{}", share(&first));
    let with_new_image = turn(vec![image("first"), words("whales"), image("second")]);
    assert!((0.65..0.85).contains(&share(&with_new_image)), "{}", share(&with_new_image));
    assert!(share(&turn(vec![image("other"), words("whales")])) < 0.01);
}

#[test]
fn counting_tokens_fills_no_cache() {
    let host = Host::default();
    let vm = vm(&host, &static_config(3));
    let prompt = json!({"model": "llama", "messages": [{"role": "user", "content": text("whales", 4000)}]});
    let count = || post(&vm, "/v1/messages/count_tokens", &prompt.to_string());
    let counting = count();
    assert_eq!(
        explain(&vm, &chat("hello")).of(&chosen(&counting), "terms_s")["queue"],
        0.0,
        "it is no prefill"
    );
    respond(counting, "200", b"{\"input_tokens\":1000}");
    let message = post(&vm, "/v1/messages", &prompt.to_string());
    assert!(message.properties["warmpath.decision"].starts_with("reason=cold"));
    let holder = chosen(&message);
    respond(message, "200", b"{}");
    assert_eq!(chosen(&count()), holder, "where the prompt is, it is counted as well");
}

/// Text that makes few tokens looks like a fast engine. A client that sends it where its prefix is must not draw the others
/// there.
#[test]
fn streams_without_usage_set_no_endpoint_apart() {
    let host = Host::default();
    let vm = vm(&host, &static_config(3));
    let there = "10.0.0.1:8000";
    let mut padded_there = 0;
    for number in 0..40 {
        let padded = chat_with(&text(&format!("padding {number}"), 200_000), &json!({"stream": true}));
        let mut stream = serve(&vm, &padded);
        let is_there = chosen(&stream) == there;
        padded_there += u32::from(is_there);
        host.advance(Duration::from_millis(if is_there { 5 } else { 3_000 }));
        stream.response_headers(&EVENT_STREAM, false);
        stream.response_body(TOKEN, true);
        stream.finish();
    }
    let decision = explain(&vm, &chat(&text("sharks", 40_000)));
    assert!(padded_there >= 5, "{padded_there}");
    let prefill_s = |engine: &String| decision.of(engine, "terms_s")["prefill"].as_f64().unwrap();
    let all: Vec<f64> = decision.candidates().iter().map(prefill_s).collect();
    assert!(all.iter().all(|one| (one / all[0] - 1.0).abs() < 0.01), "{all:?}");
}
