//! Requests in two legs: the filter's own call, what the host may say of it, and the request that is paused meanwhile.

use crate::support::{EVENT_STREAM, assert_clean, chat, chat_with, counted, explain, respond_head, text, vm};
use serde_json::{Value, json};
use std::time::Duration;
use warmpath_host::{Action, Host, HttpCall, HttpCallState, Stream, Vm};

const PATH: &str = "/v1/chat/completions";
const DESTINATION: &str = "x-gateway-destination-endpoint";
const CLUSTER: &str = "engines";
const DECODE: &str = "10.2.0.1:8000";
const OK: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/json")];
const HANDOVER: &str = r#"{"do_remote_prefill":true,"remote_block_ids":[[1,2]],"remote_engine_id":"e","remote_request_id":"r","remote_host":"h","remote_port":1}"#;

/// Longer than any decode leg of these is waited for.
const OVERDUE: Duration = Duration::from_mins(1);
/// Requests at the decode engine that a prompt's computing there would hold up.
const BUSY: usize = 4;
/// Hostcalls of a streamed request in two legs, up to its last token: twice those of a whole one.
const HOSTCALLS_OF_LEGS_MAX: u64 = 32;
/// More than any response to a call that is of use, in bytes.
const TOO_LARGE_BYTES: usize = 16 * 1024 * 1024 + 1;

/// A VM whose pool has prefill engines 10.1.0.n and one decode engine, which is busy with the streams.
fn apart(host: &Host, prefill: usize, transfer: &Value) -> (Vm, Vec<Stream>) {
    apart_with(host, prefill, 1, transfer)
}

/// The same with decode engines 10.2.0.n.
fn apart_with(host: &Host, prefill: usize, decode: usize, transfer: &Value) -> (Vm, Vec<Stream>) {
    let engines = |net: usize, count: usize| -> Vec<_> {
        (1..=count).map(|at| format!("10.{net}.0.{at}:8000")).collect()
    };
    let pool = json!({
        "name": "llama", "models": ["llama"], "prefill": engines(1, prefill), "decode": engines(2, decode),
        "transfer": transfer,
    });
    let vm = vm(host, &json!({"pools": [pool], "explain": true}));
    let short = |at| chat_with(&format!("hi {at}"), &json!({})).to_string();
    let busy = (0..BUSY * decode).map(|at| {
        let mut stream = begin(&vm);
        stream.body(short(at).as_bytes(), true).unwrap();
        stream
    });
    let busy = busy.collect();
    (vm, busy)
}

fn nixl() -> Value {
    json!({"protocol": "nixl"})
}

fn long(topic: &str) -> String {
    chat_with(&text(topic, 40_000), &json!({"stream": true, "max_tokens": 50})).to_string()
}

/// A request up to its headers.
fn begin(vm: &Vm) -> Stream {
    let mut stream = vm.request();
    stream.set_property(&["xds", "cluster_name"], CLUSTER.as_bytes());
    let head = [
        (":method", "POST"),
        (":path", PATH),
        (":authority", "llm"),
        ("content-type", "application/json"),
        ("authorization", "Bearer key"),
    ];
    assert_eq!(stream.headers(&head, false).unwrap(), Action::Pause);
    stream
}

/// A request in pieces, up to its end, which trailers may be. What the filter does with it at its end.
fn send(vm: &Vm, body: &str, has_trailers: bool) -> (Stream, Action) {
    let mut stream = begin(vm);
    let (first, second) = body.as_bytes().split_at(body.len() / 2);
    assert_eq!(stream.body(first, false).unwrap(), Action::Pause);
    let mut action = stream.body(second, !has_trailers).unwrap();
    if has_trailers {
        assert_eq!(action, Action::Pause);
        action = stream.request_trailers(&[("x-sum", "1")]).unwrap();
    }
    (stream, action)
}

/// The last call, which nobody has responded to.
fn pending(vm: &Vm) -> HttpCall {
    let call = vm.http_calls().pop().expect("a call was made");
    assert_eq!(call.state, HttpCallState::Pending);
    call
}

fn handed_over() -> Vec<u8> {
    format!(r#"{{"choices":[{{"finish_reason":"length"}}],"kv_transfer_params":{HANDOVER}}}"#).into_bytes()
}

fn sent_to(stream: &Stream) -> String {
    let headers = stream.upstream().headers.expect("the request went on");
    headers.text(DESTINATION).unwrap_or_default().to_owned()
}

/// Ends everything, after which nothing may be booked.
fn end(host: &Host, vm: &Vm, streams: impl IntoIterator<Item = Stream>) {
    for stream in streams {
        stream.finish().unwrap();
    }
    // What is called goes on, whatever becomes of its request.
    host.advance(OVERDUE);
    vm.tick().unwrap();
    assert_eq!(explain(vm, &chat("hello")).sum("requests"), 0);
    assert_clean(host, &[vm]);
}

#[test]
fn a_prompt_is_computed_by_a_call_and_its_request_goes_on_with_what_that_hands_over() {
    for has_trailers in [false, true] {
        let host = Host::default();
        let (vm, mut streams) = apart(&host, 1, &nixl());
        let body = long("one");
        let (mut stream, action) = send(&vm, &body, has_trailers);
        assert_eq!((action, stream.upstream().headers), (Action::Pause, None));
        let call = pending(&vm);
        assert_eq!(call.cluster, CLUSTER);
        let named = [":method", ":path", ":authority", "authorization", DESTINATION]
            .map(|name| call.headers.text(name));
        let expected = ["POST", PATH, "llm", "Bearer key", "10.1.0.1:8000"];
        assert_eq!(named, expected.map(Some));
        assert_eq!(call.headers.text("content-length").map(str::to_owned), Some(call.body.len().to_string()));
        let leg: Value = serde_json::from_slice(&call.body).unwrap();
        assert_eq!((&leg["max_tokens"], &leg["stream"]), (&json!(1), &json!(false)));
        assert!(call.timeout_ms > 0, "it must end by itself");

        assert!(vm.http_respond(call.id, &OK, &handed_over(), &[]).unwrap());
        let expected = body.replacen('{', &format!(r#"{{"kv_transfer_params":{HANDOVER},"#), 1);
        let upstream = stream.upstream();
        assert_eq!(String::from_utf8_lossy(&upstream.body), expected);
        assert!(upstream.ended && upstream.trailers.is_some() == has_trailers);
        assert_eq!(sent_to(&stream), DECODE);
        respond_head(&mut stream, &EVENT_STREAM, false);
        stream.response_body(b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n", true).unwrap();
        streams.push(stream);
        end(&host, &vm, streams);
        assert_eq!(vm.http_calls().len(), 1);
    }
}

#[test]
fn a_request_whose_call_the_host_refuses_goes_on_by_the_result_of_its_callback() {
    for (has_trailers, is_known) in [(false, true), (true, true), (false, false), (true, false)] {
        let host = Host::default();
        let (vm, mut streams) = apart(&host, 3, &nixl());
        if is_known {
            host.set_cluster_down(CLUSTER, true);
        } else {
            host.set_clusters(&["other"]);
        }
        let body = long("refused");
        vm.reset_counts();
        let (stream, action) = send(&vm, &body, has_trailers);
        assert_eq!(action, Action::Continue, "trailers: {has_trailers}, cluster is known: {is_known}");
        assert_eq!(vm.counts().of("proxy_continue_stream"), 0, "Envoy would go on twice");
        assert!(vm.counts().of("proxy_http_call") > 1, "the others were tried");
        assert_eq!(String::from_utf8_lossy(&stream.upstream().body), body);
        assert_eq!(sent_to(&stream), DECODE);
        streams.push(stream);
        end(&host, &vm, streams);
        assert!(vm.http_calls().is_empty());
    }
}

#[test]
fn a_call_without_a_response_of_use_is_tried_elsewhere_and_then_not_again() {
    type Ending = fn(&Vm, u32);
    let endings: [(&str, &str, Ending); 6] = [
        ("none", "unreachable", |vm, id| assert!(vm.http_fail(id).unwrap())),
        ("too large", "unreachable", |vm, id| {
            assert!(vm.http_respond(id, &OK, &vec![b' '; TOO_LARGE_BYTES], &[]).unwrap());
        }),
        ("no status", "unreachable", |vm, id| {
            assert!(vm.http_respond(id, &[("x", "y")], &handed_over(), &[]).unwrap());
        }),
        ("the proxy's own", "unreachable", |vm, id| {
            assert!(vm.http_respond(id, &[(":status", "503")], b"no healthy upstream", &[]).unwrap());
        }),
        ("the engine's", "full", |vm, id| {
            let headers = [(":status", "503"), ("x-envoy-upstream-service-time", "1")];
            assert!(vm.http_respond(id, &headers, b"", &[]).unwrap());
        }),
        ("no body", "handover_unreadable", |vm, id| assert!(vm.http_respond(id, &OK, b"", &[]).unwrap())),
    ];
    for (name, reason, ending) in endings {
        let host = Host::default();
        let (vm, mut streams) = apart(&host, 2, &nixl());
        let body = long(name);
        let (stream, _) = send(&vm, &body, false);
        let first = pending(&vm);
        ending(&vm, first.id);
        let second = pending(&vm);
        assert_ne!(first.headers.text(DESTINATION), second.headers.text(DESTINATION), "{name}");
        assert_eq!(stream.upstream().headers, None, "{name}: it waits");
        ending(&vm, second.id);
        assert_eq!(String::from_utf8_lossy(&stream.upstream().body), body, "{name}");
        assert_eq!(sent_to(&stream), DECODE, "{name}");
        assert_eq!(vm.http_calls().len(), 2, "{name}");
        streams.push(stream);
        end(&host, &vm, streams);
        assert_eq!(counted(&host, &[&vm], &format!("warmpath.prefill_leg.{reason}")), 2, "{name}");
    }
}

#[test]
fn a_request_is_resumed_where_the_second_call_is_refused_in_the_callback_of_the_first() {
    let host = Host::default();
    let (vm, mut streams) = apart(&host, 2, &nixl());
    let body = long("second");
    let (stream, _) = send(&vm, &body, false);
    let call = pending(&vm);
    host.set_cluster_down(CLUSTER, true);
    vm.http_fail(call.id).unwrap();
    assert_eq!(String::from_utf8_lossy(&stream.upstream().body), body);
    assert!(stream.upstream().ended);
    streams.push(stream);
    end(&host, &vm, streams);
}

#[test]
fn nothing_stays_of_a_client_that_leaves_while_its_prompt_is_computed() {
    let host = Host::default();
    let (vm, streams) = apart(&host, 1, &nixl());
    let (stream, _) = send(&vm, &long("left"), false);
    let call = pending(&vm);
    stream.finish().unwrap();
    // Envoy keeps the call, and nobody waits for it.
    assert!(vm.http_respond(call.id, &OK, &handed_over(), &[]).unwrap());
    end(&host, &vm, streams);
}

#[test]
fn a_response_that_is_complete_after_its_first_token_comes_from_the_filter() {
    let host = Host::default();
    let (vm, mut streams) = apart(&host, 1, &json!({"protocol": "tensorrt-llm"}));
    let body = chat_with(&text("complete", 40_000), &json!({"max_tokens": 50})).to_string();
    let (stream, action) = send(&vm, &body, false);
    assert_eq!(action, Action::Pause);
    let response = br#"{"choices":[{"finish_reason":"stop","message":{"content":"No"}}]}"#;
    vm.http_respond(pending(&vm).id, &OK, response, &[]).unwrap();
    let local = stream.local_response().expect("the filter responds itself");
    assert_eq!((local.status, local.body.as_slice()), (200, response.as_slice()));
    streams.push(stream);
    end(&host, &vm, streams);
}

#[test]
fn legs_that_meet_go_at_once_and_the_call_ends_when_it_likes() {
    for is_late in [false, true] {
        let host = Host::default();
        let (vm, mut streams) = apart(&host, 1, &json!({"protocol": "sglang", "bootstrap_port": 8998}));
        let (mut stream, action) = send(&vm, &long("meet"), false);
        assert_eq!((action, sent_to(&stream).as_str()), (Action::Continue, DECODE));
        let call = pending(&vm);
        let [leg, own] =
            [&call.body, &stream.upstream().body].map(|body| serde_json::from_slice::<Value>(body).unwrap());
        assert_eq!((&leg, &leg["bootstrap_host"]), (&own, &json!("10.1.0.1")));
        if is_late {
            respond_head(&mut stream, &EVENT_STREAM, false);
        }
        vm.http_respond(call.id, &OK, b"{}", &[]).unwrap();
        streams.push(stream);
        end(&host, &vm, streams);
    }
}

/// A request up to its decode leg, and what has to be in the body of the call that would serve it whole.
fn decoding(host: &Host, topic: &str) -> (Vm, Vec<Stream>, Stream, String) {
    let (vm, streams) = apart_with(host, 1, 2, &nixl());
    let body = long(topic);
    let (stream, _) = send(&vm, &body, false);
    vm.http_respond(pending(&vm).id, &OK, &handed_over(), &[]).unwrap();
    (vm, streams, stream, body)
}

#[test]
fn the_response_of_a_call_takes_the_place_of_a_failed_decode_leg() {
    for has_trailers in [false, true] {
        let host = Host::default();
        let (vm, mut streams, mut stream, body) = decoding(&host, "rescued");
        let failed = sent_to(&stream);
        assert_eq!(respond_head(&mut stream, &[(":status", "503")], false), Action::Pause);
        assert_eq!(stream.response_body(b"oh", false).unwrap(), Action::Pause);
        if has_trailers {
            assert_eq!(stream.response_trailers(&[("x-sum", "1")]).unwrap(), Action::Pause);
        } else {
            assert_eq!(stream.response_body(b" no", true).unwrap(), Action::Pause);
        }
        let call = pending(&vm);
        assert_eq!(String::from_utf8_lossy(&call.body), body);
        assert_ne!(call.headers.text(DESTINATION), Some(failed.as_str()));
        vm.http_respond(call.id, &EVENT_STREAM, EVENTS, &[]).unwrap();
        let local = stream.local_response().expect("the filter responds itself");
        assert_eq!((local.status, local.body.as_slice()), (200, EVENTS));
        assert!(local.headers.text("content-type").unwrap().starts_with("text/event-stream"));
        assert_eq!(stream.downstream().headers, None);
        streams.push(stream);
        end(&host, &vm, streams);
        assert_eq!(counted(&host, &[&vm], "warmpath.decode_leg.rescued"), 1);
    }
}

#[test]
fn a_failure_that_nobody_can_mend_reaches_the_client_whole() {
    for is_refused in [false, true] {
        let host = Host::default();
        let (vm, mut streams, mut stream, _) = decoding(&host, "lost");
        host.set_cluster_down(CLUSTER, is_refused);
        let action = respond_head(&mut stream, &[(":status", "503"), ("x-why", "full")], false);
        assert_eq!(action, if is_refused { Action::Continue } else { Action::Pause });
        stream.response_body(b"oh", false).unwrap();
        stream.response_body(b" no", true).unwrap();
        while let Some(call) = vm.http_calls().into_iter().find(|call| call.state == HttpCallState::Pending) {
            vm.http_fail(call.id).unwrap();
        }
        let client = stream.downstream();
        assert_eq!(
            (client.body.as_slice(), client.ended),
            (b"oh no".as_slice(), true),
            "refused: {is_refused}"
        );
        assert_eq!(client.headers.unwrap().text("x-why"), Some("full"));
        streams.push(stream);
        end(&host, &vm, streams);
        assert_eq!(counted(&host, &[&vm], "warmpath.decode_leg.lost"), 1);
    }
}

#[test]
fn nothing_stays_of_a_client_that_leaves_while_its_request_is_served_anew() {
    let host = Host::default();
    let (vm, streams, mut stream, _) = decoding(&host, "gone");
    respond_head(&mut stream, &[(":status", "503")], true);
    let call = pending(&vm);
    stream.finish().unwrap();
    vm.http_respond(call.id, &EVENT_STREAM, b"data: [DONE]\n\n", &[]).unwrap();
    end(&host, &vm, streams);
}

const EVENTS: &[u8] = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n";

/// A request that has its response, so that one that was sent before and has none is stuck.
fn served_later(vm: &Vm) -> Stream {
    let mut stream = begin(vm);
    stream.body(chat("later").to_string().as_bytes(), true).unwrap();
    respond_head(&mut stream, &EVENT_STREAM, false);
    stream.response_body(EVENTS, true).unwrap();
    stream
}

/// A decode leg without a response, so long that a tick has had its request served anew.
fn overdue(host: &Host, topic: &str) -> (Vm, Vec<Stream>, Stream) {
    let (vm, mut streams, stream, body) = decoding(host, topic);
    streams.push(served_later(&vm));
    host.advance(OVERDUE);
    vm.tick().unwrap();
    let call = pending(&vm);
    assert_eq!(String::from_utf8_lossy(&call.body), body);
    assert_ne!(call.headers.text(DESTINATION), Some(sent_to(&stream).as_str()));
    (vm, streams, stream)
}

#[test]
fn the_response_of_a_call_that_a_tick_made_reaches_the_request_that_waits() {
    let host = Host::default();
    let (vm, mut streams, stream) = overdue(&host, "overdue");
    vm.http_respond(pending(&vm).id, &EVENT_STREAM, EVENTS, &[]).unwrap();
    let local = stream.local_response().expect("the filter responds itself");
    assert_eq!((local.status, local.body.as_slice()), (200, EVENTS));
    streams.push(stream);
    end(&host, &vm, streams);
}

#[test]
fn a_response_that_comes_late_and_yet_first_goes_on() {
    let host = Host::default();
    let (vm, mut streams, mut stream) = overdue(&host, "late");
    let call = pending(&vm);
    respond_head(&mut stream, &EVENT_STREAM, false);
    vm.http_respond(call.id, &EVENT_STREAM, EVENTS, &[]).unwrap();
    assert_eq!(stream.local_response(), None);
    stream.response_body(EVENTS, true).unwrap();
    assert_eq!(stream.downstream().body, EVENTS);
    streams.push(stream);
    end(&host, &vm, streams);
}

/// The engine fails while another one serves its request, and that one fails, too.
#[test]
fn a_failure_that_is_held_while_a_tick_has_others_called_reaches_the_client() {
    for ends in [false, true] {
        let host = Host::default();
        let (vm, mut streams, mut stream) = overdue(&host, "lost");
        assert_eq!(respond_head(&mut stream, &[(":status", "500"), ("x-why", "kv")], false), Action::Pause);
        assert_eq!(stream.response_body(b"oh", ends).unwrap(), Action::Pause);
        while let Some(call) = vm.http_calls().into_iter().find(|call| call.state == HttpCallState::Pending) {
            vm.http_fail(call.id).unwrap();
        }
        if !ends {
            assert_eq!(stream.response_body(b" no", true).unwrap(), Action::Continue);
        }
        let client = stream.downstream();
        let body: &[u8] = if ends { b"oh" } else { b"oh no" };
        assert_eq!((client.body.as_slice(), client.ended), (body, true));
        assert_eq!(client.headers.unwrap().text("x-why"), Some("kv"));
        streams.push(stream);
        end(&host, &vm, streams);
        assert_eq!(counted(&host, &[&vm], "warmpath.decode_leg.lost"), 1);
    }
}

#[test]
fn a_call_of_a_tick_may_be_refused_fail_or_outlive_its_request() {
    let host = Host::default();
    let (vm, mut streams, stream, _) = decoding(&host, "refused");
    streams.push(served_later(&vm));
    host.set_cluster_down(CLUSTER, true);
    host.advance(OVERDUE);
    vm.tick().unwrap();
    host.set_cluster_down(CLUSTER, false);
    assert!(
        !stream.upstream().body.is_empty() && stream.local_response().is_none(),
        "its own may still come"
    );
    streams.push(stream);
    end(&host, &vm, streams);

    let host = Host::default();
    let (vm, mut streams, stream) = overdue(&host, "failed");
    while let Some(call) = vm.http_calls().into_iter().find(|call| call.state == HttpCallState::Pending) {
        vm.http_fail(call.id).unwrap();
    }
    assert_eq!(stream.local_response(), None);
    streams.push(stream);
    end(&host, &vm, streams);

    let host = Host::default();
    let (vm, streams, stream) = overdue(&host, "gone");
    let call = pending(&vm);
    stream.finish().unwrap();
    vm.http_respond(call.id, &EVENT_STREAM, EVENTS, &[]).unwrap();
    end(&host, &vm, streams);
}

#[test]
fn what_two_legs_ask_of_the_host_does_not_grow() {
    let host = Host::default();
    let (vm, mut streams) = apart(&host, 1, &nixl());
    for topic in ["first", "second"] {
        vm.reset_counts();
        let (mut stream, _) = send(&vm, &long(topic), false);
        vm.http_respond(pending(&vm).id, &OK, &handed_over(), &[]).unwrap();
        respond_head(&mut stream, &EVENT_STREAM, false);
        stream.response_body(EVENTS, true).unwrap();
        streams.push(stream);
    }
    let counts = vm.counts();
    assert!(counts.total() <= HOSTCALLS_OF_LEGS_MAX, "{}: {:?}", counts.total(), counts.calls);
    end(&host, &vm, streams);
}
