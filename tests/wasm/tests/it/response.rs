//! The router's inputs from a response: the end of the prefill, the end of the request, a failure of the endpoint.

use crate::support::{
    EVENT_STREAM, JSON, assert_clean, chat, chat_with, chosen, counted, destinations, explain, respond_head,
    serve, static_config, text, vm,
};
use serde_json::json;
use std::time::Duration;
use warmpath_host::{Host, Stream, Vm};

/// Longer than an endpoint is avoided after its first failure.
const AVOIDED: Duration = Duration::from_millis(1_001);

fn requests(vm: &Vm) -> u64 {
    explain(vm, &chat("hello")).sum("requests")
}

fn fitness(vm: &Vm, endpoint: &str) -> String {
    explain(vm, &chat("hello")).of(endpoint, "fitness").as_str().unwrap().to_owned()
}

fn respond_from(stream: &mut Stream, address: &str, status: &str) {
    stream.set_property(&["upstream", "address"], address.as_bytes());
    stream.response_headers(&[(":status", status)], false).unwrap();
}

const RESPONSE: &str = r#"{"id":"1","choices":[{"message":{"content":"say \"usage\": {"}}],"usage":{"prompt_tokens":726,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":704}},"kv_transfer_params":null}"#;

const EVENTS: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}],\"usage\":null}\n\n\
    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":726,\"completion_tokens\":2,\
    \"prompt_tokens_details\":{\"cached_tokens\":704}}}\n\ndata: [DONE]\n\n";

fn tokens(host: &Host, vm: &Vm) -> (u64, u64) {
    (counted(host, &[vm], "warmpath.tokens.prompt"), counted(host, &[vm], "warmpath.tokens.cached"))
}

/// Responds in pieces that are cut at these offsets.
fn respond(mut stream: Stream, headers: &[(&str, &str)], body: &str, cuts: &[usize]) {
    respond_head(&mut stream, headers, false);
    let mut from = 0;
    for cut in cuts.iter().chain([&body.len()]) {
        stream.response_body(&body.as_bytes()[from..*cut], false).unwrap();
        from = *cut;
    }
    stream.response_body(b"", true).unwrap();
    stream.finish().unwrap();
}

fn streaming(vm: &Vm) -> Stream {
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    serve(vm, &chat_with(&text("whales", 2000), &options))
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
    stream.response_body(b"{", false).unwrap();
    let next = serve(&vm, &prompt);
    assert_eq!(chosen(&next), second, "who served it holds it");
    assert_eq!(destinations(&next).last(), Some(&first), "last of all");
    for mut stream in [stream, next] {
        stream.response_body(b"{}", true).unwrap();
        stream.finish().unwrap();
    }
    assert_eq!(requests(&vm), 0);
    host.advance(AVOIDED);
    assert_eq!(fitness(&vm, &first), "fit");
    assert_clean(&host, &[&vm]);
}

#[test]
fn an_endpoint_that_envoy_has_not_tried_is_not_avoided() {
    let host = Host::default();
    let vm = vm(&host, &static_config(3));
    let prompt = chat(&text("whales", 3000));
    let mut stream = serve(&vm, &prompt);
    let (first, second) = (destinations(&stream).remove(0), destinations(&stream).remove(1));
    stream.set_property(&["upstream", "request_attempt_count"], &1_u64.to_le_bytes());
    respond_from(&mut stream, &second, "200");
    assert_eq!(counted(&host, &[&vm], "warmpath.retried"), 0);
    assert_eq!(fitness(&vm, &first), "fit");
    stream.finish().unwrap();
    assert_clean(&host, &[&vm]);
}

#[test]
fn decision_header_is_set_only_where_the_configuration_explains() {
    for explains in [true, false] {
        let host = Host::default();
        let mut config = static_config(2);
        config["explain"] = json!(explains);
        let vm = vm(&host, &config);
        let mut stream = serve(&vm, &chat(&text("whales", 1000)));
        let there = chosen(&stream);
        respond_head(&mut stream, &JSON, true);
        let shown = stream.downstream().headers.unwrap().text("x-warmpath-decision").map(str::to_owned);
        stream.finish().unwrap();
        let matches =
            |shown: String| shown.contains("reason=cold") && shown.contains(&format!("endpoints={there}"));
        assert_eq!(shown.is_some_and(matches), explains);
        assert_clean(&host, &[&vm]);
    }
}

#[test]
fn a_response_passes_unchanged() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let mut stream = serve(&vm, &chat_with("hello", &json!({"stream": true})));
    respond_head(&mut stream, &EVENT_STREAM, false);
    stream.response_body(b"data: 1\n\n", false).unwrap();
    assert_eq!(stream.downstream().body, b"data: 1\n\n", "nothing is held");
    stream.response_body(b"data: 2\n\n", false).unwrap();
    stream.response_trailers(&[("grpc-status", "0")]).unwrap();
    assert_eq!(stream.downstream().body, b"data: 1\n\ndata: 2\n\n");
    assert!(stream.downstream().ended);
    stream.finish().unwrap();
    assert_eq!(counted(&host, &[&vm], "warmpath.aborted"), 0, "trailers end a response");
    assert_clean(&host, &[&vm]);
}

#[test]
fn usage_is_read_byte_by_byte() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    respond(streaming(&vm), &EVENT_STREAM, EVENTS, &(0..EVENTS.len()).collect::<Vec<_>>());
    assert_eq!(tokens(&host, &vm), (726, 704));
    assert_clean(&host, &[&vm]);
}

#[test]
fn usage_is_read_after_a_long_response_in_one_piece() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let long = format!("{{\"text\":\"{}\",{}", text("whales", 100_000), RESPONSE.get(1..).unwrap());
    respond(serve(&vm, &chat("hello")), &JSON, &long, &[]);
    assert_eq!(tokens(&host, &vm), (726, 704));
    assert_clean(&host, &[&vm]);
}
