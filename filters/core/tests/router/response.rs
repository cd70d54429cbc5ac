//! The router's inputs from a response: the end of the prefill, the end of the request, a failure of the endpoint.

use crate::support::{
    EVENT_STREAM, JSON, TOKEN, chat, chat_with, chosen, counted, destinations, explain, post, serve,
    static_config, text, vm,
};
use crate::support::{Host, Stream, Vm};
use serde_json::json;
use std::time::Duration;
use warmpath_core::config::Explain;
use warmpath_core::router::DECISION_HEADER;

/// Longer than an endpoint is avoided after its first failure.
const AVOIDED: Duration = Duration::from_millis(1_001);

fn queue_s(vm: &Vm, endpoint: &str) -> f64 {
    explain(vm, &chat("hello")).of(endpoint, "terms_s")["queue"].as_f64().unwrap()
}

fn requests(vm: &Vm) -> u64 {
    explain(vm, &chat("hello")).sum("requests")
}

fn fitness(vm: &Vm, endpoint: &str) -> String {
    explain(vm, &chat("hello")).of(endpoint, "fitness").as_str().unwrap().to_owned()
}

fn respond_from(stream: &mut Stream, address: &str, status: &str) {
    stream.served_by = Some(address.to_owned());
    stream.response_headers(&[(":status", status)], false);
}

#[test]
fn first_token_releases_the_prefill_and_the_end_releases_all() {
    let host = Host::default();
    let vm = vm(&host, &static_config(3));
    let mut stream = serve(&vm, &chat_with(&text("whales", 8000), &json!({"stream": true})));
    let there = chosen(&stream);
    assert!(queue_s(&vm, &there) > 0.0);
    stream.response_headers(&EVENT_STREAM, false);
    assert!(queue_s(&vm, &there) > 0.0, "headers come before the prefill is over");
    for early in
        [": ping\n\n", "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"]
    {
        stream.response_body(early.as_bytes(), false);
        assert!(queue_s(&vm, &there) > 0.0, "{early} is no token");
    }
    host.advance(Duration::from_millis(120));
    stream.response_body(TOKEN, false);
    assert_eq!((queue_s(&vm, &there), requests(&vm)), (0.0, 1));
    assert_eq!(host.recorded("warmpath.ttft_ms"), [120]);
    stream.response_body(b"data: [DONE]\n\n", true);
    stream.finish();
    assert_eq!(requests(&vm), 0);
    assert_eq!(counted(&host, &[&vm], "warmpath.aborted"), 0);
}

#[test]
fn time_to_first_token_teaches_an_endpoints_speed() {
    let host = Host::default();
    let vm = vm(&host, &static_config(1));
    let prefill_s = || {
        let decision = explain(&vm, &chat(&text("sharks", 8000)));
        decision.of(&decision.candidates()[0], "terms_s")["prefill"].as_f64().unwrap()
    };
    let before = prefill_s();
    let mut stream = serve(&vm, &chat_with(&text("whales", 8000), &json!({"stream": true})));
    stream.response_headers(&EVENT_STREAM, false);
    host.advance(Duration::from_secs(2));
    stream.response_body(TOKEN, true);
    stream.finish();
    assert!(prefill_s() > before, "two seconds for 2,000 tokens is slow");
}

#[test]
fn a_response_from_another_endpoint_moves_the_request_and_the_failed_one_is_avoided() {
    let host = Host::default();
    let vm = vm(&host, &static_config(3));
    let prompt = chat(&text("whales", 3000));
    let mut stream = serve(&vm, &prompt);
    let (first, second) = (destinations(&stream).remove(0), destinations(&stream).remove(1));
    respond_from(&mut stream, &second, "200");
    assert_eq!(counted(&host, &[&vm], "warmpath.retried"), 1);
    assert_eq!(fitness(&vm, &first), "avoided");
    let decision = explain(&vm, &prompt);
    assert_eq!(decision.of(&first, "requests"), 0);
    assert_eq!(decision.of(&second, "requests"), 1);
    stream.response_body(b"{", false);
    let next = serve(&vm, &prompt);
    assert_eq!(chosen(&next), second, "who served it holds it");
    assert_eq!(destinations(&next).last(), Some(&first), "last of all");
    for mut stream in [stream, next] {
        stream.response_body(b"{}", true);
        stream.finish();
    }
    assert_eq!(requests(&vm), 0);
    host.advance(AVOIDED);
    assert_eq!(fitness(&vm, &first), "fit");
}

#[test]
fn a_response_from_the_chosen_endpoint_is_not_a_retry() {
    let host = Host::default();
    let vm = vm(&host, &static_config(3));
    let mut stream = serve(&vm, &chat("hello"));
    let there = chosen(&stream);
    respond_from(&mut stream, &there, "200");
    stream.response_body(b"{}", true);
    stream.finish();
    assert_eq!(counted(&host, &[&vm], "warmpath.retried"), 0);
    assert_eq!(fitness(&vm, &there), "fit");
}

#[test]
fn statuses_of_an_endpoint_that_cannot_serve_make_it_avoided() {
    for (status, is_failure) in [
        ("429", true),
        ("502", true),
        ("503", true),
        ("504", true),
        ("500", false),
        ("404", false),
        ("200", false),
    ] {
        let host = Host::default();
        let vm = vm(&host, &static_config(3));
        let mut stream = serve(&vm, &chat("hello"));
        let there = chosen(&stream);
        respond_from(&mut stream, &there, status);
        stream.response_body(b"busy", true);
        stream.finish();
        assert_eq!(counted(&host, &[&vm], "warmpath.failed"), u64::from(is_failure), "{status}");
        assert_eq!(fitness(&vm, &there), if is_failure { "avoided" } else { "fit" }, "{status}");
        let next = serve(&vm, &chat("hello"));
        assert!(!is_failure || chosen(&next) != there, "{status}");
        next.finish();
        assert_eq!(requests(&vm), 0, "{status}");
    }
}

#[test]
fn endpoint_that_fails_again_is_avoided_longer_until_a_first_byte_comes() {
    let host = Host::default();
    let vm = vm(&host, &static_config(1));
    let there = "10.0.0.1:8000";
    let respond_with = |status: &str| {
        let mut stream = serve(&vm, &chat("hello"));
        respond_from(&mut stream, there, status);
        stream.response_body(b"x", true);
        stream.finish();
    };
    respond_with("503");
    host.advance(AVOIDED);
    respond_with("503");
    host.advance(AVOIDED);
    assert_eq!(fitness(&vm, there), "avoided", "the second time it is longer");
    respond_with("200");
    assert_eq!(fitness(&vm, there), "fit");
}

#[test]
fn decision_header_is_set_only_where_the_configuration_explains() {
    for explains in [true, false] {
        let host = Host::default();
        let mut config = static_config(2);
        config.explain = if explains { Explain::Everybody } else { Explain::Nobody };
        let vm = vm(&host, &config);
        let mut stream = serve(&vm, &chat(&text("whales", 1000)));
        let there = chosen(&stream);
        stream.response_headers(&JSON, true);
        let shown = stream.response_headers.get(DECISION_HEADER).cloned();
        stream.finish();
        let matches =
            |shown: String| shown.contains("reason=cold") && shown.contains(&format!("endpoints={there}"));
        assert_eq!(shown.is_some_and(matches), explains);
    }
}

#[test]
fn what_a_response_of_the_responses_api_begins_with_is_no_token() {
    let host = Host::default();
    let vm = vm(&host, &static_config(1));
    let body = json!({"model": "llama", "stream": true, "input": text("whales", 8000)});
    let mut stream = post(&vm, "/v1/responses", &body.to_string());
    stream.response_headers(&EVENT_STREAM, false);
    let event = |kind: &str| {
        format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"response\":{{\"id\":\"resp_1\"}}}}\n\n")
    };
    for early in ["response.created", "response.in_progress"] {
        host.advance(Duration::from_millis(5));
        stream.response_body(event(early).as_bytes(), false);
        assert!(queue_s(&vm, "10.0.0.1:8000") > 0.0, "{early}");
    }
    host.advance(Duration::from_millis(200));
    stream.response_body(event("response.output_text.delta").as_bytes(), false);
    assert!(queue_s(&vm, "10.0.0.1:8000") < 1e-9);
    assert_eq!(host.recorded("warmpath.ttft_ms"), [210]);
    stream.finish();
}

#[test]
fn a_response_that_cannot_be_read_begins_with_its_first_byte() {
    let host = Host::default();
    let vm = vm(&host, &static_config(1));
    let unreadable: [&[(&str, &str)]; 2] = [
        &[(":status", "200"), ("content-type", "text/event-stream"), ("content-encoding", "gzip")],
        &[(":status", "200"), ("content-type", "application/json")],
    ];
    for headers in unreadable {
        let mut stream = serve(&vm, &chat_with(&text("whales", 8000), &json!({"stream": true})));
        stream.response_headers(headers, false);
        stream.response_body(&[0x1F, 0x8B], false);
        assert!(queue_s(&vm, "10.0.0.1:8000") < 1e-9);
        stream.response_body(b"", true);
        stream.finish();
    }
    assert_eq!(counted(&host, &[&vm], "warmpath.outcome.served"), 2);
}

#[test]
fn a_stored_response_is_continued_where_it_was_made() {
    let host = Host::default();
    let (one, two) = (vm(&host, &static_config(8)), vm(&host, &static_config(8)));
    for (number, is_stream) in [(1, false), (2, true)] {
        let body = json!({"model": "llama", "stream": is_stream, "input": text(&format!("t{number}"), 3000)});
        let mut stream = post(&one, "/v1/responses", &body.to_string());
        let there = chosen(&stream);
        let response = if is_stream {
            stream.response_headers(&EVENT_STREAM, false);
            format!("data: {{\"type\":\"response.created\",\"response\":{{\"id\":\"resp_{number}\"}}}}\n\n")
        } else {
            stream.response_headers(&JSON, false);
            format!("{{\"id\":\"resp_{number}\",\"output\":[]}}")
        };
        let (start, end) = response.as_bytes().split_at(20);
        stream.response_body(start, false);
        stream.response_body(end, false);
        stream.response_body(b"", true);
        stream.finish();
        let next =
            json!({"model": "llama", "previous_response_id": format!("resp_{number}"), "input": "go on"});
        for vm in [&one, &two] {
            let stream = post(vm, "/v1/responses", &next.to_string());
            assert_eq!(destinations(&stream), std::slice::from_ref(&there));
            stream.finish();
        }
    }
    assert_eq!(counted(&host, &[&one, &two], "warmpath.decision.stored"), 4);
}
