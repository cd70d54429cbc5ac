//! Clients that leave, at every stage: nothing stays booked, nothing traps.

use crate::support::{
    EVENT_STREAM, assert_clean, chat, chat_with, counted, explain, respond_head, serve, static_config, step,
    text, vm,
};
use serde_json::json;
use warmpath_host::{Host, Stream, Vm};

const HEADERS: [(&str, &str); 2] = [(":method", "POST"), (":path", "/v1/chat/completions")];

/// A request that has come so far, and whether its leaving counts as one that was cut short.
type Stage = (&'static str, bool, fn(&Vm) -> Stream);

fn sent(vm: &Vm) -> Stream {
    serve(vm, &chat_with(&text("whales", 2000), &json!({"stream": true})))
}

const STAGES: [Stage; 9] = [
    ("before its headers", false, Vm::request),
    ("after its headers", false, |vm| {
        let mut stream = vm.request();
        stream.headers(&HEADERS, false).unwrap();
        stream
    }),
    ("in its body", false, |vm| {
        let mut stream = vm.request();
        stream.headers(&HEADERS, false).unwrap();
        stream.body(b"{\"model\":", false).unwrap();
        stream
    }),
    ("waiting for the response", true, sent),
    ("after the response's headers", true, |vm| {
        let mut stream = sent(vm);
        respond_head(&mut stream, &EVENT_STREAM, false);
        stream
    }),
    ("after the first byte", true, |vm| {
        let mut stream = sent(vm);
        respond_head(&mut stream, &EVENT_STREAM, false);
        stream.response_body(b"data: {", false).unwrap();
        stream
    }),
    ("after a retry", true, |vm| {
        let mut stream = sent(vm);
        stream.set_property(&["upstream", "address"], b"10.0.0.99:8000");
        stream.response_headers(&EVENT_STREAM, false).unwrap();
        stream
    }),
    ("after the whole response", false, |vm| {
        let mut stream = sent(vm);
        respond_head(&mut stream, &EVENT_STREAM, false);
        stream.response_body(b"data: [DONE]\n\n", true).unwrap();
        stream
    }),
    ("after a refusal", false, |vm| serve(vm, &chat_with("hello", &json!({"model": "none"})))),
];

#[test]
fn nothing_stays_booked_at_whatever_stage_a_client_leaves() {
    for (stage, is_cut_short, reach) in STAGES {
        let host = Host::default();
        let (vm, sibling) = (vm(&host, &static_config(3)), vm(&host, &static_config(3)));
        reach(&vm).finish().unwrap();
        assert_eq!(vm.open_streams(), 0, "{stage}");
        assert_eq!(explain(&vm, &chat("hello")).sum("requests"), 0, "{stage}");
        step(&host, &[&vm]);
        let seen = explain(&sibling, &chat("hello"));
        assert_eq!(seen.sum("requests"), 0, "{stage}, as a sibling sees it");
        assert_eq!(counted(&host, &[&vm], "warmpath.aborted"), u64::from(is_cut_short), "{stage}");
        assert_clean(&host, &[&vm, &sibling]);
    }
}

#[test]
fn one_that_leaves_does_not_take_others_promises_along() {
    let host = Host::default();
    let vm = vm(&host, &static_config(1));
    for (stage, _, reach) in STAGES {
        let stays = sent(&vm);
        let leaves = reach(&vm);
        leaves.finish().unwrap();
        assert_eq!(explain(&vm, &chat("hello")).sum("requests"), 1, "{stage}");
        stays.finish().unwrap();
    }
    assert_eq!(explain(&vm, &chat("hello")).sum("requests"), 0);
    assert_clean(&host, &[&vm]);
}
