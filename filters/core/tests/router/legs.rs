//! Requests in two legs: what goes where, and what happens when a leg does not do what it should.

use crate::support::{EVENT_STREAM, Host, Stream, Vm, chat_with, counted, post, static_config, text, vm};
use serde_json::{Value, json};
use std::time::Duration;
use warmpath_core::config::Config;
use warmpath_core::wire::{PoolEndpoint, Role, Transfer, TransferProtocol};

const PATH: &str = "/v1/chat/completions";
const DESTINATION: &str = "x-gateway-destination-endpoint";
const HANDOVER: &str = r#"{"remote_block_ids":[[1,2]],"remote_engine_id":"e","remote_request_id":"r","remote_host":"h","remote_port":1}"#;

/// The first token of a stream.
const TOKEN: &[u8] = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";

/// Prefill engines 10.1.0.n and decode engines 10.2.0.n.
fn apart(prefill: usize, decode: usize, protocol: TransferProtocol) -> Config {
    let mut config = static_config(0);
    let engines = |net: usize, count: usize, role: Role| {
        (1..=count).map(move |at| {
            let mut endpoint =
                PoolEndpoint { address: format!("10.{net}.0.{at}:8000"), ..PoolEndpoint::default() };
            endpoint.set_role(role);
            endpoint
        })
    };
    let pool = &mut config.pools.pools[0];
    pool.endpoints = engines(1, prefill, Role::Prefill).chain(engines(2, decode, Role::Decode)).collect();
    pool.transfer =
        Some(Transfer { protocol: protocol.into(), bootstrap_port: 8998, cluster: String::new() });
    config
}

/// The response of a prefill engine.
fn handed_over() -> String {
    format!(
        r#"{{"choices":[],"usage":{{"prompt_tokens":5000,"completion_tokens":1,"prompt_tokens_details":{{"cached_tokens":0}}}},"kv_transfer_params":{HANDOVER}}}"#
    )
}

fn long(topic: &str) -> Value {
    chat_with(&text(topic, 40_000), &json!({"stream": true, "max_tokens": 50}))
}

fn send(vm: &Vm, body: &str) -> Stream {
    let mut stream = vm.request();
    stream.cluster = Some("engines".to_owned());
    let length = body.len().to_string();
    let headers = [
        (":method", "POST"),
        (":path", PATH),
        (":authority", "llm"),
        ("content-type", "application/json"),
        ("content-length", length.as_str()),
        ("authorization", "Bearer key"),
        ("accept-encoding", "gzip"),
        ("x-data-parallel-rank", "1"),
    ];
    stream.headers(&headers, false);
    stream.body(body.as_bytes(), true);
    stream
}

/// Requests at the decode engine that a prefill there would hold up: without any, a prompt is best computed where its response is.
const BUSY: u32 = 4;

fn busy(vm: &Vm) -> Vec<Stream> {
    (0..BUSY).map(|number| send(vm, &chat_with(&format!("hi {number}"), &json!({})).to_string())).collect()
}

fn header<'a>(stream: &'a Stream, name: &str) -> &'a str {
    let call = stream.calls.last().expect("a call was made");
    let found = call.headers.iter().filter(|(header, _)| header == name);
    let values: Vec<_> = found.map(|(_, value)| std::str::from_utf8(value).unwrap()).collect();
    assert!(values.len() <= 1, "{name}: {values:?}");
    values.first().copied().unwrap_or_default()
}

fn in_flight(vm: &Vm, address: &str) -> (u32, u32) {
    let load = vm.endpoint(address).in_flight();
    (load.requests, load.prefills)
}

#[test]
fn a_long_prompt_is_computed_on_one_engine_and_continued_on_another() {
    let host = Host::default();
    let vm = vm(&host, &apart(1, 1, TransferProtocol::Pull));
    let others = busy(&vm);
    let body = long("one").to_string();
    let mut stream = send(&vm, &body);
    assert!(stream.is_paused);
    let call = stream.calls.last().unwrap();
    let leg: Value = serde_json::from_slice(&call.body).unwrap();
    assert_eq!(call.cluster, "engines");
    assert_eq!((&leg["max_tokens"], &leg["stream"]), (&json!(1), &json!(false)));
    assert_eq!(leg["kv_transfer_params"]["do_remote_decode"], true);
    assert_eq!(header(&stream, DESTINATION), "10.1.0.1:8000");
    let passed = [":method", ":path", ":authority", "authorization", "content-type"];
    assert_eq!(
        passed.map(|name| header(&stream, name)),
        ["POST", PATH, "llm", "Bearer key", "application/json"]
    );
    for left in ["content-length", "accept-encoding", "x-data-parallel-rank"] {
        assert_eq!(header(&stream, left), "", "{left}");
    }
    // The room that the response needs is taken already.
    assert_eq!(in_flight(&vm, "10.1.0.1:8000"), (1, 1));
    assert_eq!(in_flight(&vm, "10.2.0.1:8000"), (BUSY + 1, 0));
    host.advance(Duration::from_millis(300));
    stream.called(Some((200, &handed_over())));
    assert!(!stream.is_paused);
    let expected = body.replacen('{', &format!(r#"{{"kv_transfer_params":{HANDOVER},"#), 1);
    assert_eq!(String::from_utf8_lossy(stream.edited.as_deref().unwrap()), expected);
    assert_eq!(stream.request_headers["content-length"], expected.len().to_string());
    assert_eq!(stream.request_headers[DESTINATION], "10.2.0.1:8000");
    // Used twice, it could be another prompt's.
    assert_eq!(stream.request_headers["x-envoy-max-retries"], "0");
    assert_eq!((in_flight(&vm, "10.1.0.1:8000"), in_flight(&vm, "10.2.0.1:8000").0), ((0, 0), BUSY + 1));
    stream.served_by = Some("10.2.0.1:8000".to_owned());
    stream.response_headers(&EVENT_STREAM, false);
    host.advance(Duration::from_millis(40));
    stream.response_body(TOKEN, false);
    assert_eq!(host.recorded("warmpath.prefill_leg_ms"), [300]);
    assert_eq!(host.recorded("warmpath.transfer_ms"), [40]);
    assert_eq!(host.recorded("warmpath.ttft_ms"), [340], "what the client has waited");
    stream.finish();
    assert_eq!(in_flight(&vm, "10.2.0.1:8000").0, BUSY);
    assert_eq!(counted(&host, &[&vm], "warmpath.split"), 1);
    assert_eq!(counted(&host, &[&vm], "warmpath.tokens.prompt"), 5000);
    others.into_iter().for_each(Stream::finish);
}

#[test]
fn a_short_prompt_stays_whole() {
    let host = Host::default();
    let vm = vm(&host, &apart(1, 1, TransferProtocol::Pull));
    let stream = send(&vm, &chat_with("hi", &json!({})).to_string());
    assert!(stream.calls.is_empty() && !stream.is_paused);
    assert_eq!(stream.request_headers[DESTINATION], "10.2.0.1:8000");
    stream.finish();
    assert_eq!(counted(&host, &[&vm], "warmpath.whole.cheaper"), 1);
}

#[test]
fn what_needs_more_than_the_prompts_kv_stays_whole_for_its_reason() {
    let host = Host::default();
    let vm = vm(&host, &apart(1, 1, TransferProtocol::Pull));
    let others = busy(&vm);
    let mut body = long("choices");
    body["n"] = json!(2);
    let stream = send(&vm, &body.to_string());
    assert!(stream.calls.is_empty() && stream.edited.is_none());
    stream.finish();
    assert_eq!(counted(&host, &[&vm], "warmpath.whole.choices"), 1);
    // Without a cluster nobody can be called.
    let stream = post(&vm, PATH, &long("cluster").to_string());
    assert!(stream.calls.is_empty());
    stream.finish();
    assert_eq!(counted(&host, &[&vm], "warmpath.whole.no_cluster"), 1);
    others.into_iter().for_each(Stream::finish);
}

#[test]
fn a_leg_that_fails_goes_to_another_engine_and_then_the_decode_engine_computes_the_prompt() {
    let cases = [
        (None, "unreachable"),
        (Some((503, "")), "full"),
        (Some((500, "oops")), "faulty"),
        (Some((404, "{}")), "rejected"),
        (Some((200, "<html>")), "handover_unreadable"),
        (Some((200, "{\"choices\":[]}")), "handover_absent"),
    ];
    for (response, name) in cases {
        let host = Host::default();
        let vm = vm(&host, &apart(2, 1, TransferProtocol::Pull));
        let others = busy(&vm);
        let body = long(name).to_string();
        let mut stream = send(&vm, &body);
        let first = header(&stream, DESTINATION).to_owned();
        stream.called(response);
        let second = header(&stream, DESTINATION).to_owned();
        assert_eq!(stream.calls.len(), 2, "{name}");
        assert_ne!(first, second, "{name}");
        assert_eq!(stream.calls[0].body, stream.calls[1].body, "{name}");
        assert!(stream.is_paused && in_flight(&vm, &first) == (0, 0), "{name}");
        stream.called(response);
        assert!(!stream.is_paused, "{name}");
        assert_eq!(stream.request_headers[DESTINATION], "10.2.0.1:8000", "{name}");
        assert_eq!(stream.edited, None, "{name}: the engine gets what the client sent");
        stream.finish();
        others.into_iter().for_each(Stream::finish);
        for address in ["10.1.0.1:8000", "10.1.0.2:8000", "10.2.0.1:8000"] {
            assert_eq!(in_flight(&vm, address), (0, 0), "{name}: {address}");
        }
        assert_eq!(counted(&host, &[&vm], &format!("warmpath.prefill_leg.{name}")), 2);
        assert_eq!(counted(&host, &[&vm], "warmpath.prefill_leg.retried"), 1, "{name}");
        assert_eq!(counted(&host, &[&vm], "warmpath.prefill_leg.replaced_by_local"), 1, "{name}");
    }
}

#[test]
fn engines_that_never_hand_over_do_not_compute_every_prompt_twice() {
    let host = Host::default();
    let vm = vm(&host, &apart(1, 1, TransferProtocol::Pull));
    let others = busy(&vm);
    let is_split = |topic: &str| {
        let mut stream = send(&vm, &long(topic).to_string());
        let is_split = !stream.calls.is_empty();
        if is_split {
            stream.called(Some((200, r#"{"choices":[]}"#)));
        }
        stream.finish();
        is_split
    };
    let split = (0..8).filter(|number| is_split(&format!("without {number}"))).count();
    // Where others serve, the engine itself is avoided; where none hands over, none is asked.
    assert!((1..=4).contains(&split), "{split}");
    host.advance(Duration::from_mins(2));
    assert!(is_split("later"));
    others.into_iter().for_each(Stream::finish);
}

#[test]
fn a_request_that_is_wrong_in_itself_is_not_tried_twice_before_the_client_sees_it() {
    let host = Host::default();
    let vm = vm(&host, &apart(2, 1, TransferProtocol::Pull));
    let others = busy(&vm);
    let mut stream = send(&vm, &long("wrong").to_string());
    stream.called(Some((400, r#"{"error":{}}"#)));
    assert_eq!(stream.calls.len(), 1);
    assert_eq!(stream.request_headers[DESTINATION], "10.2.0.1:8000");
    stream.finish();
    assert_eq!(counted(&host, &[&vm], "warmpath.prefill_leg.refused"), 1);
    others.into_iter().for_each(Stream::finish);
}

#[test]
fn a_client_that_leaves_leaves_nothing_booked() {
    let host = Host::default();
    let vm = vm(&host, &apart(1, 1, TransferProtocol::Pull));
    let others = busy(&vm);
    let stream = send(&vm, &long("gone").to_string());
    assert_eq!(stream.calls.len(), 1);
    stream.finish();
    others.into_iter().for_each(Stream::finish);
    // A call cannot be taken back: the engine goes on with it.
    assert_eq!(in_flight(&vm, "10.1.0.1:8000"), (1, 1));
    assert_eq!(in_flight(&vm, "10.2.0.1:8000"), (0, 0));
    host.advance(Duration::from_mins(1));
    vm.tick();
    assert_eq!((in_flight(&vm, "10.1.0.1:8000"), in_flight(&vm, "10.2.0.1:8000")), ((0, 0), (0, 0)));
    assert_eq!(counted(&host, &[&vm], "warmpath.aborted"), u64::from(BUSY) + 1);
}

/// One prefill engine and two decode engines, both of which are busy.
fn two_that_decode() -> (Host, Vm, Vec<Stream>) {
    let host = Host::default();
    let vm = vm(&host, &apart(1, 2, TransferProtocol::Pull));
    let others: Vec<Stream> = (0..2).flat_map(|_| busy(&vm)).collect();
    (host, vm, others)
}

#[test]
fn a_decode_leg_that_fails_is_served_whole_by_another_engine() {
    for status in ["503", "500", "404"] {
        let (host, vm, others) = two_that_decode();
        let mut stream = send(&vm, &long(status).to_string());
        stream.called(Some((200, &handed_over())));
        let failed = stream.request_headers[DESTINATION].clone();
        stream.served_by = Some(failed.clone());
        stream.response_headers(&[(":status", status)], true);
        assert!(stream.is_paused, "the client sees nothing of it");
        let call = stream.calls.last().unwrap();
        assert_eq!(String::from_utf8_lossy(&call.body), long(status).to_string(), "what the client sent");
        assert_ne!(header(&stream, DESTINATION), failed);
        stream.called(Some((200, "data: [DONE]\n\n")));
        let reply = stream.reply.take().unwrap();
        assert_eq!((reply.status, reply.body.as_slice()), (200, b"data: [DONE]\n\n".as_slice()));
        let content_type = reply.headers.iter().find(|(name, _)| *name == "content-type");
        assert_eq!(content_type.map(|(_, value)| value.as_str()), Some("text/event-stream; charset=utf-8"));
        stream.finish();
        others.into_iter().for_each(Stream::finish);
        for address in ["10.1.0.1:8000", "10.2.0.1:8000", "10.2.0.2:8000"] {
            assert_eq!(in_flight(&vm, address), (0, 0), "{status}: {address}");
        }
        assert_eq!(counted(&host, &[&vm], "warmpath.decode_leg.rescued"), 1);
        assert_eq!(counted(&host, &[&vm], "warmpath.failed"), 0, "{status}");
    }
}

#[test]
fn a_failure_reaches_the_client_when_nobody_else_can_serve() {
    let (host, vm, others) = two_that_decode();
    let mut stream = send(&vm, &long("lost").to_string());
    stream.called(Some((200, &handed_over())));
    stream.served_by = Some(stream.request_headers[DESTINATION].clone());
    stream.response_headers(&[(":status", "503")], false);
    stream.called(None);
    assert!(stream.reply.is_none() && !stream.is_paused, "the first response goes on");
    stream.response_body(b"oops", true);
    stream.finish();
    others.into_iter().for_each(Stream::finish);
    for address in ["10.1.0.1:8000", "10.2.0.1:8000", "10.2.0.2:8000"] {
        assert_eq!(in_flight(&vm, address), (0, 0), "{address}");
    }
    assert_eq!(counted(&host, &[&vm], "warmpath.decode_leg.lost"), 1);
    assert_eq!(counted(&host, &[&vm], "warmpath.failed"), 1);
}

/// A decode engine whose prefill engine has stopped waits for its KV for ever.
#[test]
fn an_overdue_decode_leg_is_served_by_whoever_responds_first() {
    for is_rescued in [true, false] {
        let (host, vm, others) = two_that_decode();
        let mut stream = send(&vm, &long("late").to_string());
        stream.called(Some((200, &handed_over())));
        let first = stream.request_headers[DESTINATION].clone();
        host.advance(Duration::from_secs(12));
        stream.take_call(vm.tick_with_calls());
        assert_eq!(stream.calls.len(), 1, "nobody has responded since: all may be full");
        let mut later = send(&vm, &chat_with("later", &json!({"stream": true})).to_string());
        let elsewhere = later.request_headers[DESTINATION].split(',').next().unwrap().to_owned();
        later.served_by = Some(elsewhere);
        later.response_headers(&EVENT_STREAM, false);
        later.response_body(TOKEN, true);
        later.finish();
        host.advance(Duration::from_secs(2));
        stream.take_call(vm.tick_with_calls());
        assert_eq!(stream.calls.len(), 2, "it is stuck");
        assert_ne!(header(&stream, DESTINATION), first);
        if is_rescued {
            stream.called(Some((200, "data: [DONE]\n\n")));
            assert_eq!(stream.reply.as_ref().map(|reply| reply.status), Some(200));
        } else {
            stream.served_by = Some(first);
            stream.response_headers(&EVENT_STREAM, false);
            stream.response_body(TOKEN, false);
            stream.called(Some((200, "data: [DONE]\n\n")));
            assert!(stream.reply.is_none(), "a response has begun");
        }
        stream.finish();
        others.into_iter().for_each(Stream::finish);
        for address in ["10.1.0.1:8000", "10.2.0.1:8000", "10.2.0.2:8000"] {
            assert_eq!(in_flight(&vm, address), (0, 0), "{address}");
        }
        assert_eq!(counted(&host, &[&vm], "warmpath.decode_leg.rescued"), u64::from(is_rescued));
    }
}

#[test]
fn what_is_wrong_with_a_request_is_not_asked_of_another_engine() {
    let (host, vm, others) = two_that_decode();
    let mut stream = send(&vm, &long("wrong").to_string());
    stream.called(Some((200, &handed_over())));
    stream.served_by = Some(stream.request_headers[DESTINATION].clone());
    stream.response_headers(&[(":status", "400")], false);
    assert_eq!((stream.is_paused, stream.calls.len()), (false, 1));
    stream.finish();
    others.into_iter().for_each(Stream::finish);
    assert_eq!(counted(&host, &[&vm], "warmpath.decode_leg.failed"), 0);
}

#[test]
fn a_client_that_leaves_a_rescue_leaves_nothing_booked() {
    let (_, vm, others) = two_that_decode();
    let mut stream = send(&vm, &long("left").to_string());
    stream.called(Some((200, &handed_over())));
    stream.served_by = Some(stream.request_headers[DESTINATION].clone());
    stream.response_headers(&[(":status", "503")], true);
    stream.finish();
    others.into_iter().for_each(Stream::finish);
    for address in ["10.1.0.1:8000", "10.2.0.1:8000", "10.2.0.2:8000"] {
        assert_eq!(in_flight(&vm, address), (0, 0), "{address}");
    }
}

#[test]
fn a_body_that_cannot_be_searched_does_not_reach_engines_that_pass_kv_on() {
    let host = Host::default();
    let vm = vm(&host, &apart(1, 1, TransferProtocol::Pull));
    let large =
        |field: &str| format!(r#"{{"model":"llama","messages":[],"pad":"{}"{field}}}"#, "x".repeat(17 << 20));
    let stream = send(&vm, &large(r#","kv_transfer_params":{"do_remote_prefill":true}"#));
    assert_eq!(stream.reply.as_ref().map(|reply| reply.status), Some(400));
    stream.finish();
    let stream = send(&vm, &large(""));
    assert_eq!((stream.reply.is_none(), stream.calls.len()), (true, 0));
    stream.finish();
    let mut stream = vm.request();
    let headers = [(":method", "POST"), (":path", PATH), ("content-length", "67108865")];
    stream.headers(&headers, false);
    assert_eq!(stream.reply.as_ref().map(|reply| reply.status), Some(413));
    stream.finish();
    assert_eq!(counted(&host, &[&vm], "warmpath.rejected.transfer_fields"), 2);
}

#[test]
fn both_legs_go_at_once_where_engines_meet() {
    let host = Host::default();
    let vm = vm(&host, &apart(1, 1, TransferProtocol::Bootstrap));
    for body in [long("one").to_string(), chat_with("hi", &json!({"n": 2})).to_string()] {
        let mut stream = send(&vm, &body);
        assert!(!stream.is_paused, "the decode engine waits, not the proxy");
        let leg: Value = serde_json::from_slice(&stream.calls[0].body).unwrap();
        let own: Value = serde_json::from_slice(stream.edited.as_deref().unwrap()).unwrap();
        assert_eq!(leg, own);
        assert_eq!((&leg["bootstrap_host"], &leg["bootstrap_port"]), (&json!("10.1.0.1"), &json!(8998)));
        assert!(leg["bootstrap_room"].is_u64());
        assert_eq!(stream.request_headers[DESTINATION], "10.2.0.1:8000");
        assert_eq!(in_flight(&vm, "10.1.0.1:8000"), (1, 1));
        stream.called(Some((200, "{}")));
        assert_eq!(in_flight(&vm, "10.1.0.1:8000"), (0, 0));
        stream.finish();
        assert_eq!(in_flight(&vm, "10.2.0.1:8000"), (0, 0));
    }
    assert_eq!(counted(&host, &[&vm], "warmpath.split"), 2, "no engine takes a whole request");
}

/// Neither leg can do without the other, so both are sent again.
#[test]
fn legs_that_run_together_are_sent_again_together() {
    // What fails: the prefill leg before the response, or the decode leg.
    for prefill_fails in [true, false] {
        let host = Host::default();
        let vm = vm(&host, &apart(2, 2, TransferProtocol::Bootstrap));
        let mut stream = send(&vm, &long("both").to_string());
        let first_decode = stream.request_headers[DESTINATION].clone();
        let first_prefill = header(&stream, DESTINATION).to_owned();
        stream.served_by = Some(first_decode.clone());
        if prefill_fails {
            stream.called(None);
            assert!(!stream.is_paused, "the decode engine may still respond");
        } else {
            stream.called(Some((200, "{}")));
            stream.response_headers(&[(":status", "500")], true);
            assert!(stream.is_paused);
        }
        assert_eq!(stream.calls.len(), 3);
        let to = |call: usize| {
            let (_, value) = stream.calls[call].headers.iter().find(|(name, _)| name == DESTINATION).unwrap();
            String::from_utf8(value.clone()).unwrap()
        };
        assert_ne!(to(1), first_prefill);
        assert_ne!(to(2), first_decode);
        let bodies: Vec<Value> =
            stream.calls.iter().map(|call| serde_json::from_slice(&call.body).unwrap()).collect();
        assert_eq!(bodies[1], bodies[2], "they meet in one room");
        assert_ne!(bodies[0]["bootstrap_room"], bodies[1]["bootstrap_room"], "and not in the old one");
        assert_eq!(bodies[1]["messages"], long("both")["messages"]);
        let (prefill, decode) = (stream.calls[1].id, stream.calls[2].id);
        stream.called_of(prefill, Some((200, "{}")));
        stream.called_of(decode, Some((200, "data: [DONE]\n\n")));
        assert_eq!(stream.reply.as_ref().map(|reply| reply.status), Some(200));
        stream.finish();
        host.advance(Duration::from_mins(1));
        vm.tick();
        for address in ["10.1.0.1:8000", "10.1.0.2:8000", "10.2.0.1:8000", "10.2.0.2:8000"] {
            assert_eq!(in_flight(&vm, address), (0, 0), "{prefill_fails}: {address}");
        }
        assert_eq!(counted(&host, &[&vm], "warmpath.decode_leg.rescued"), 1);
    }
}

/// The engine that decodes finds out, too, that its prompt does not come, and fails before the others respond.
#[test]
fn a_decode_leg_that_fails_behind_its_prefill_leg_waits_for_the_others() {
    let host = Host::default();
    let vm = vm(&host, &apart(2, 2, TransferProtocol::Bootstrap));
    let mut stream = send(&vm, &long("both").to_string());
    stream.served_by = Some(stream.request_headers[DESTINATION].clone());
    stream.called(None);
    assert!(!stream.is_paused, "the decode engine may still respond");
    stream.response_headers(&[(":status", "500")], false);
    assert!(stream.is_paused, "its failure is held");
    let (prefill, decode) = (stream.calls[1].id, stream.calls[2].id);
    stream.called_of(prefill, Some((200, "{}")));
    stream.called_of(decode, Some((200, "data: [DONE]\n\n")));
    assert_eq!(stream.reply.as_ref().map(|reply| reply.status), Some(200));
    stream.finish();
    for address in ["10.1.0.1:8000", "10.1.0.2:8000", "10.2.0.1:8000", "10.2.0.2:8000"] {
        assert_eq!(in_flight(&vm, address), (0, 0), "{address}");
    }
    assert_eq!(counted(&host, &[&vm], "warmpath.decode_leg.rescued"), 1);
}

#[test]
fn a_writing_connector_is_named_to_the_decode_engine() {
    let host = Host::default();
    let mut config = apart(1, 1, TransferProtocol::Push);
    let vm_without = vm(&host, &config);
    let others = busy(&vm_without);
    let stream = send(&vm_without, &long("unnamed").to_string());
    assert!(stream.calls.is_empty(), "nobody knows its id yet");
    stream.finish();
    others.into_iter().for_each(Stream::finish);
    config.pools.pools[0].endpoints[0].engine = "engine-1".to_owned();
    let vm = vm(&host, &config);
    let others = busy(&vm);
    let stream = send(&vm, &long("named").to_string());
    let leg: Value = serde_json::from_slice(&stream.calls[0].body).unwrap();
    let own: Value = serde_json::from_slice(stream.edited.as_deref().unwrap()).unwrap();
    let (from, to) = (&leg["kv_transfer_params"], &own["kv_transfer_params"]);
    assert_eq!(from["transfer_id"], to["transfer_id"]);
    assert_eq!(to["remote_engine_id"], "engine-1");
    assert_eq!(to["remote_bootstrap_addr"], "http://10.1.0.1:8998");
    assert_eq!((&leg["ignore_eos"], own.get("ignore_eos")), (&json!(true), None));
    stream.finish();
    others.into_iter().for_each(Stream::finish);
}
