//! Requests in two legs: what goes where, and what happens when a leg does not do what it should.

use crate::support::legs::{
    BUSY, DESTINATION, HANDOVER, PATH, TOKEN, apart, busy, handed_over, header, in_flight, long, send,
};
use crate::support::{EVENT_STREAM, Host, Stream, chat_with, counted, post, vm};
use serde_json::{Value, json};
use std::time::Duration;
use warmpath_core::view::Fitness;
use warmpath_core::wire::TransferProtocol;

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

/// Engines read it, so both legs have it, and neither in another encoding.
#[test]
fn a_body_behind_a_byte_order_mark_is_split_like_any() {
    let host = Host::default();
    let vm = vm(&host, &apart(1, 1, TransferProtocol::Pull));
    let others = busy(&vm);
    let body = long("marked").to_string();
    let mut stream = send(&vm, &format!("\u{feff}{body}"));
    stream.called(Some((200, &handed_over())));
    let expected = body.replacen('{', &format!(r#"{{"kv_transfer_params":{HANDOVER},"#), 1);
    assert_eq!(String::from_utf8_lossy(stream.edited.as_deref().unwrap()), expected);
    stream.finish();
    others.into_iter().for_each(Stream::finish);
    assert_eq!(counted(&host, &[&vm], "warmpath.prefill_leg.replaced_by_local"), 0);
}

/// A stream with a token, and its end.
fn respond(mut stream: Stream) {
    stream.response_headers(&EVENT_STREAM, false);
    stream.response_body(TOKEN, true);
    stream.finish();
}

/// As behind a route that rewrites paths: a leg has the client's.
#[test]
fn legs_that_every_engine_rejects_blame_no_engine_and_do_not_cost_every_request() {
    let host = Host::default();
    let vm = vm(&host, &apart(2, 1, TransferProtocol::Pull));
    let others = busy(&vm);
    let mut split = 0;
    for number in 0..8 {
        let mut stream = send(&vm, &long(&format!("rewritten {number}")).to_string());
        let legs = stream.calls.len();
        for _ in 0..2 * legs {
            stream.called(Some((404, "{}")));
        }
        split += legs;
        respond(stream);
    }
    assert!((1..=4).contains(&split), "{split} of 8 were split");
    for address in ["10.1.0.1:8000", "10.1.0.2:8000"] {
        assert_eq!(vm.endpoint(address).fitness(host.now()), Fitness::Fit, "{address}");
    }
    others.into_iter().for_each(Stream::finish);
}

#[test]
fn an_engine_that_alone_rejects_legs_is_avoided() {
    let host = Host::default();
    let vm = vm(&host, &apart(3, 1, TransferProtocol::Pull));
    let others = busy(&vm);
    let broken = "10.1.0.2:8000";
    let mut there = 0;
    for number in 0..60 {
        let mut stream = send(&vm, &long(&format!("rejected {number}")).to_string());
        while stream.is_paused {
            let is_broken = header(&stream, DESTINATION) == broken;
            there += u32::from(is_broken);
            let response = if is_broken { (404, "{}".to_owned()) } else { (200, handed_over()) };
            stream.called(Some((response.0, response.1.as_str())));
        }
        respond(stream);
        host.advance(Duration::from_millis(50));
        vm.tick();
    }
    assert!((2..12).contains(&there), "{there} of 60");
    others.into_iter().for_each(Stream::finish);
}

/// A proxy sends elsewhere what is for an engine that is not in its cluster.
#[test]
fn an_engine_that_leaves_during_a_leg_does_not_get_the_whole_request() {
    for left in ["10.2.0.1:8000", "10.2.0.2:8000"] {
        let host = Host::default();
        let mut config = apart(1, 2, TransferProtocol::Pull);
        let vm = vm(&host, &config);
        let others: Vec<Stream> = (0..2).flat_map(|_| busy(&vm)).collect();
        let mut stream = send(&vm, &long("left").to_string());
        config.pools.pools[0].endpoints.retain(|endpoint| endpoint.address != left);
        vm.configure(&config);
        stream.called(None);
        let destinations = &stream.request_headers[DESTINATION];
        assert!(!destinations.contains(left) && !destinations.is_empty(), "{destinations}");
        stream.finish();
        others.into_iter().for_each(Stream::finish);
    }
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
