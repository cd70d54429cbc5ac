//! Token counts from responses: JSON and event streams, however the network cuts them.

use crate::support::{EVENT_STREAM, JSON, chat, chat_with, counted, post, serve, static_config, text, vm};
use crate::support::{Host, Stream, Vm};
use serde_json::{Value, json};

const RESPONSE: &str = r#"{"id":"1","choices":[{"message":{"content":"say \"usage\": {"}}],"usage":{"prompt_tokens":726,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":704}},"kv_transfer_params":null}"#;

const EVENTS: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}],\"usage\":null}\n\n\
    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":726,\"completion_tokens\":2,\
    \"prompt_tokens_details\":{\"cached_tokens\":704}}}\n\ndata: [DONE]\n\n";

fn tokens(host: &Host, vm: &Vm) -> (u64, u64) {
    (counted(host, &[vm], "warmpath.tokens.prompt"), counted(host, &[vm], "warmpath.tokens.cached"))
}

/// Responds in pieces that are cut at these offsets.
fn respond(mut stream: Stream, headers: &[(&str, &str)], body: &str, cuts: &[usize]) {
    stream.response_headers(headers, false);
    let mut from = 0;
    for cut in cuts.iter().chain([&body.len()]) {
        stream.response_body(&body.as_bytes()[from..*cut], false);
        from = *cut;
    }
    stream.response_body(b"", true);
    stream.finish();
}

fn streaming(vm: &Vm) -> Stream {
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    serve(vm, &chat_with(&text("whales", 2000), &options))
}

#[test]
fn usage_is_read_wherever_the_response_is_cut() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let mut responses = 0;
    for cut in 0..RESPONSE.len() {
        respond(serve(&vm, &chat(&text("whales", 2000))), &JSON, RESPONSE, &[cut]);
        responses += 1;
        assert_eq!(tokens(&host, &vm), (726 * responses, 704 * responses), "JSON cut at {cut}");
    }
}

/// Streams of a VM whose usage is read in any case.
const STREAMS_READ: usize = 64;

#[test]
fn usage_is_read_wherever_the_events_are_cut() {
    let cuts: Vec<usize> = (0..EVENTS.len()).collect();
    for cuts in cuts.chunks(STREAMS_READ) {
        let host = Host::default();
        let vm = vm(&host, &static_config(2));
        for (responses, cut) in (1..).zip(cuts) {
            respond(streaming(&vm), &EVENT_STREAM, EVENTS, &[*cut, (cut + 7).min(EVENTS.len())]);
            assert_eq!(tokens(&host, &vm), (726 * responses, 704 * responses), "events cut at {cut}");
        }
    }
}

#[test]
fn usage_of_streams_is_read_in_one_of_eight_once_enough_is_known() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    for _ in 0..STREAMS_READ + 80 {
        respond(streaming(&vm), &EVENT_STREAM, EVENTS, &[]);
    }
    assert_eq!(tokens(&host, &vm), (726 * (64 + 10), 704 * (64 + 10)));
}

#[test]
fn usage_is_read_byte_by_byte() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    respond(streaming(&vm), &EVENT_STREAM, EVENTS, &(0..EVENTS.len()).collect::<Vec<_>>());
    assert_eq!(tokens(&host, &vm), (726, 704));
}

#[test]
fn usage_is_read_after_a_long_response_in_one_piece() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let long = format!("{{\"text\":\"{}\",{}", text("whales", 100_000), RESPONSE.get(1..).unwrap());
    respond(serve(&vm, &chat("hello")), &JSON, &long, &[]);
    assert_eq!(tokens(&host, &vm), (726, 704));
}

#[test]
fn usage_of_anthropic_streams_is_read_from_both_ends() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let body = json!({"model": "llama", "stream": true, "messages": [{"role": "user", "content": "hello"}]});
    let first =
        r#"data: {"message":{"usage":{"input_tokens":10,"cache_read_input_tokens":90,"output_tokens":1}}}"#;
    let events =
        format!("{first}\n\n{}data: {{\"usage\":{{\"output_tokens\":5}}}}\n\n", "data: {}\n\n".repeat(2000));
    respond(post(&vm, "/v1/messages", &body.to_string()), &EVENT_STREAM, &events, &[first.len() + 2]);
    assert_eq!(tokens(&host, &vm), (100, 90));
}

#[test]
fn usage_of_an_error_or_out_of_range_teaches_nothing() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let zero = r#"{"usage":{"prompt_tokens":0}}"#;
    let negative = r#"{"usage":{"prompt_tokens":-1}}"#;
    let huge = r#"{"usage":{"prompt_tokens":99999999999999999999999}}"#;
    for (status, body) in
        [("500", RESPONSE), ("200", zero), ("200", negative), ("200", huge), ("200", "\"usage\":")]
    {
        respond(serve(&vm, &chat("hello")), &[(":status", status)], body, &[]);
    }
    assert_eq!(tokens(&host, &vm), (0, 0));
}

#[test]
fn prediction_is_compared_with_what_the_engine_found() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let prompt = chat(&text("whales", 4000));
    respond(serve(&vm, &prompt), &JSON, &with_usage(1000, 0), &[]);
    assert_eq!(counted(&host, &[&vm], "warmpath.tokens.predicted"), 0);
    respond(serve(&vm, &prompt), &JSON, &with_usage(1000, 970), &[]);
    let predicted = counted(&host, &[&vm], "warmpath.tokens.predicted");
    assert!((850..=1000).contains(&predicted), "{predicted}");
    let errors = host.recorded("warmpath.prediction_error_percent");
    assert_eq!(errors.len(), 2);
    assert!(errors.iter().all(|error| *error <= 5), "{errors:?}");
}

fn with_usage(prompt: u64, cached: u64) -> String {
    let usage: Value = json!({"prompt_tokens": prompt, "prompt_tokens_details": {"cached_tokens": cached}});
    json!({"choices": [], "usage": usage}).to_string()
}
