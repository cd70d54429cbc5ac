//! Decode legs that fail or are overdue: others serve their requests, and clients see nothing of it while anybody can.

use crate::support::legs::{
    DESTINATION, TOKEN, apart, handed_over, header, in_flight, long, send, two_that_decode,
};
use crate::support::{EVENT_STREAM, Host, Stream, Vm, chat_with, counted, vm};
use serde_json::{Value, json};
use std::time::Duration;
use warmpath_core::wire::TransferProtocol;

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
        assert_nothing_stays(&host, &vm, !is_rescued);
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

/// A rescue would bypass the filter behind this one that denies the request.
#[test]
fn a_decode_leg_that_another_filter_denies_is_served_by_nobody() {
    for status in ["403", "429", "503"] {
        let (host, vm, others) = two_that_decode();
        let mut stream = send(&vm, &long("denied").to_string());
        stream.called(Some((200, &handed_over())));
        stream.local_response(status);
        assert_eq!((stream.is_paused, stream.calls.len()), (false, 1), "{status}: the client gets it");
        stream.finish();
        others.into_iter().for_each(Stream::finish);
        assert_eq!(counted(&host, &[&vm], "warmpath.failed"), 0, "{status}");
    }
}

/// The same where the prefill leg has failed before, so that others are called already.
#[test]
fn a_rescue_under_way_does_not_replace_a_denial() {
    let host = Host::default();
    let vm = vm(&host, &apart(2, 2, TransferProtocol::Bootstrap));
    let mut stream = send(&vm, &long("denied").to_string());
    stream.called(None);
    stream.local_response("403");
    assert!(!stream.is_paused, "the client gets it");
    let (prefill, decode) = (stream.calls[1].id, stream.calls[2].id);
    stream.called_of(prefill, Some((200, "{}")));
    stream.called_of(decode, Some((200, "data: [DONE]\n\n")));
    assert!(stream.reply.is_none());
    stream.finish();
    host.advance(Duration::from_mins(1));
    vm.tick();
    for address in ["10.1.0.1:8000", "10.1.0.2:8000", "10.2.0.1:8000", "10.2.0.2:8000"] {
        assert_eq!(in_flight(&vm, address), (0, 0), "{address}");
    }
}

#[test]
fn a_client_that_leaves_a_rescue_leaves_nothing_booked_but_what_the_engine_goes_on_with() {
    let (host, vm, others) = two_that_decode();
    let mut stream = send(&vm, &long("left").to_string());
    stream.called(Some((200, &handed_over())));
    stream.served_by = Some(stream.request_headers[DESTINATION].clone());
    stream.response_headers(&[(":status", "503")], true);
    stream.finish();
    others.into_iter().for_each(Stream::finish);
    assert_nothing_stays(&host, &vm, true);
}

/// All requests are over. `is_called`: but for a call that cannot be taken back.
fn assert_nothing_stays(host: &Host, vm: &Vm, is_called: bool) {
    let booked = || {
        let requests = ["10.1.0.1:8000", "10.2.0.1:8000", "10.2.0.2:8000"].map(|one| in_flight(vm, one).0);
        requests.iter().sum::<u32>()
    };
    assert_eq!(booked(), u32::from(is_called));
    host.advance(Duration::from_mins(1));
    vm.tick();
    assert_eq!(booked(), 0);
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

/// Engines that cannot reach each other respond so to each decode leg: to a stream with an error in place of its first token.
#[test]
fn decode_engines_that_never_fetch_do_not_cost_every_request() {
    for is_stream in [true, false] {
        let (host, vm, others) = two_that_decode();
        let is_split = |topic: &str| {
            let mut body = long(topic);
            body["stream"] = json!(is_stream);
            let mut stream = send(&vm, &body.to_string());
            let is_split = !stream.calls.is_empty();
            if is_split {
                stream.called(Some((200, &handed_over())));
            }
            stream.served_by = Some(stream.request_headers[DESTINATION].clone());
            match (is_split, is_stream) {
                (false, _) => {
                    stream.response_headers(&EVENT_STREAM, false);
                    stream.response_body(TOKEN, true);
                }
                (true, true) => {
                    stream.response_headers(&EVENT_STREAM, false);
                    stream.response_body(b"data: {\"error\":{\"code\":500}}\n\ndata: [DONE]\n\n", true);
                }
                (true, false) => {
                    stream.response_headers(&[(":status", "500")], true);
                    stream.called(Some((200, r#"{"choices":[]}"#)));
                }
            }
            stream.finish();
            is_split
        };
        let split = (0..12).filter(|number| is_split(&format!("unfetched {number}"))).count();
        assert!((1..=4).contains(&split), "{is_stream}: {split}");
        host.advance(Duration::from_mins(2));
        assert!(is_split("later"), "they may be mended");
        others.into_iter().for_each(Stream::finish);
    }
}

/// Nothing is wrong with their engines: a stop string has cut all away.
#[test]
fn empty_responses_to_decode_legs_do_not_keep_a_pool_whole() {
    let (_, vm, others) = two_that_decode();
    for number in 0..6 {
        let mut stream = send(&vm, &long(&format!("stopped {number}")).to_string());
        assert_eq!(stream.calls.len(), 1, "{number}: it is split");
        stream.called(Some((200, &handed_over())));
        stream.response_headers(&EVENT_STREAM, false);
        stream.response_body(
            b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
            true,
        );
        stream.finish();
    }
    others.into_iter().for_each(Stream::finish);
}
