//! What a request costs: hostcalls, bytes, memory. Counts, not clocks, so that a slower filter fails here on
//! any machine. A change that needs more must raise the number and justify it.

use crate::support::{
    EVENT_STREAM, JSON, assert_clean, chat, chat_with, get, respond_head, serve, sharing_config,
    static_config, step, text, vm,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use warmpath_host::{Counts, Host, Vm};

/// Hostcalls of a chat whose response is one piece, metrics and usage included. Two of them say for what Envoy may retry it,
/// and what its access log may show.
const HOSTCALLS_PER_CHAT_MAX: u64 = 14;
/// Hostcalls of a streamed chat whose usage was not asked for, whatever its length. One of them is the look at the piece that
/// holds the first token: its first byte may be a comment or a role.
const HOSTCALLS_PER_STREAM_MAX: u64 = 15;
/// Hostcalls of a request without a body.
const HOSTCALLS_PER_GET_MAX: u64 = 8;
/// Callbacks of a chat whose response is one piece: creation, headers and body, headers and body, and the three of
/// the end (`on_done`, `on_log`, `on_delete`), which the SDK exports all. Each enters V8 and returns, at a higher price than
/// most hostcalls.
const CALLBACKS_PER_CHAT_MAX: u64 = 8;
/// Hostcalls of a tick in which nothing happened.
const HOSTCALLS_PER_IDLE_TICK_MAX: u64 = 2;
/// Bytes copied for a request beside its body and its chain, while the open page of the log is nearly empty:
/// headers, keys, names, and the content of the page. At its fullest the page adds twice 4 KiB.
const BYTES_PER_REQUEST_EXTRA_MAX: u64 = 3_000;

fn served(vm: &Vm, body: &Value) -> Counts {
    vm.reset_counts();
    let mut stream = serve(vm, body);
    respond_head(&mut stream, &JSON, false);
    let usage =
        json!({"choices": [], "usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}});
    stream.response_body(usage.to_string().as_bytes(), true).unwrap();
    stream.finish().unwrap();
    vm.counts()
}

fn streamed(vm: &Vm, body: &Value, chunks: usize) -> Counts {
    vm.reset_counts();
    let mut stream = serve(vm, body);
    respond_head(&mut stream, &EVENT_STREAM, false);
    for _ in 0..chunks {
        stream.response_body(b"data: {\"choices\":[{\"delta\":{\"content\":\" a\"}}]}\n\n", false).unwrap();
    }
    stream.response_body(b"data: [DONE]\n\n", true).unwrap();
    stream.finish().unwrap();
    vm.counts()
}

/// A VM whose metrics are all defined, configured as a production one: without explanations.
fn warmed_up(host: &Host) -> Vm {
    let mut config = static_config(4);
    config["explain"] = json!(false);
    let vm = vm(host, &config);
    for _ in 0..2 {
        served(&vm, &chat(&text("whales", 2000)));
        streamed(&vm, &chat_with(&text("whales", 2000), &json!({"stream": true})), 1);
        get(&vm, "/").finish().unwrap();
    }
    step(host, &[&vm]);
    vm
}

#[test]
fn hostcalls_of_a_chat_do_not_grow() {
    let host = Host::default();
    let vm = warmed_up(&host);
    let counts = served(&vm, &chat(&text("whales", 2000)));
    assert!(counts.total() <= HOSTCALLS_PER_CHAT_MAX, "{}: {:?}", counts.total(), counts.calls);
    assert!(counts.entries() <= CALLBACKS_PER_CHAT_MAX, "{}: {:?}", counts.entries(), counts.callbacks);
    assert_clean(&host, &[&vm]);
}

#[test]
fn hostcalls_of_a_stream_do_not_grow() {
    let host = Host::default();
    let vm = warmed_up(&host);
    let counts = streamed(&vm, &chat_with(&text("whales", 2000), &json!({"stream": true})), 1);
    assert!(counts.total() <= HOSTCALLS_PER_STREAM_MAX, "{}: {:?}", counts.total(), counts.calls);
    assert_clean(&host, &[&vm]);
}

#[test]
fn hostcalls_without_a_body_do_not_grow() {
    let host = Host::default();
    let vm = warmed_up(&host);
    vm.reset_counts();
    get(&vm, "/v1/models").finish().unwrap();
    let counts = vm.counts();
    assert!(counts.total() <= HOSTCALLS_PER_GET_MAX, "{}: {:?}", counts.total(), counts.calls);
    assert_clean(&host, &[&vm]);
}

#[test]
fn the_cluster_of_the_route_is_read_only_where_pools_share_a_model() {
    let host = Host::default();
    let mut apart = sharing_config(["a", "b"]);
    apart["pools"][1]["rewrites"] = json!([]);
    for (config, reads) in [(apart, 0), (sharing_config(["a", "b"]), 1)] {
        let vm = vm(&host, &config);
        serve(&vm, &chat("hello")).finish().unwrap();
        vm.reset_counts();
        serve(&vm, &chat("hello")).finish().unwrap();
        assert_eq!(vm.counts().of("proxy_get_property"), reads, "{config}");
        assert_clean(&host, &[&vm]);
    }
}

#[test]
fn chunk_of_a_stream_costs_one_callback_and_nothing_more() {
    let host = Host::default();
    let vm = warmed_up(&host);
    let plain = chat_with("hello", &json!({"stream": true}));
    let (many, one) = (streamed(&vm, &plain, 500), streamed(&vm, &plain, 1));
    assert_eq!(many.total(), one.total());
    assert_eq!(many.entries() - one.entries(), 499, "one callback a piece");
    assert_clean(&host, &[&vm]);
}

/// Streams of a VM whose usage is read, before only one in so many is.
const USAGE_STREAMS_FIRST: usize = 64;
const USAGE_STREAMS_EACH: u64 = 8;

#[test]
fn pieces_of_a_stream_with_usage_are_looked_at_in_one_stream_of_eight() {
    let host = Host::default();
    let vm = warmed_up(&host);
    let asked = chat_with("hello", &json!({"stream": true, "stream_options": {"include_usage": true}}));
    for _ in 0..USAGE_STREAMS_FIRST {
        let (many, one) = (streamed(&vm, &asked, 3).total(), HOSTCALLS_PER_STREAM_MAX);
        // A page of the log that is full costs a read and a write more.
        assert!(many <= one + 4 + 2, "at first one look at each piece, not {many} hostcalls");
    }
    let looks = |chunks| {
        let streams = (0..USAGE_STREAMS_EACH).map(|_| streamed(&vm, &asked, chunks));
        streams.map(|counts| counts.of("proxy_get_buffer_bytes")).sum::<u64>()
    };
    // Each of the eight has its request's body and its first token, and one of them its other pieces and the closing one.
    assert_eq!(looks(500), 2 * USAGE_STREAMS_EACH + 500);
    assert_clean(&host, &[&vm]);
}

#[test]
fn idle_tick_costs_next_to_nothing() {
    let host = Host::default();
    let vm = warmed_up(&host);
    vm.reset_counts();
    vm.tick().unwrap();
    assert!(vm.counts().total() <= HOSTCALLS_PER_IDLE_TICK_MAX, "{:?}", vm.counts().calls);
    assert_clean(&host, &[&vm]);
}

#[test]
fn body_is_copied_once_and_pieces_are_not_copied_at_all_before_the_end() {
    for body_bytes in [2_000, 20_000, 200_000_usize] {
        let host = Host::default();
        let vm = warmed_up(&host);
        let body = chat(&text(&format!("whales {body_bytes}"), body_bytes)).to_string();
        vm.reset_counts();
        let mut stream = vm.request();
        stream.headers(&[(":method", "POST"), (":path", "/v1/chat/completions")], false).unwrap();
        let pieces: Vec<&[u8]> = body.as_bytes().chunks(1000).collect();
        for piece in &pieces {
            stream.body(piece, false).unwrap();
        }
        stream.body(b"", true).unwrap();
        stream.finish().unwrap();
        let copied = vm.counts().bytes_to_guest + vm.counts().bytes_from_guest;
        let body_bytes = u64::try_from(body.len()).unwrap();
        // The chain has 8 bytes for each cell of 256 and is written to the log once.
        let known = body_bytes + body_bytes / 32;
        assert!(copied <= known + BYTES_PER_REQUEST_EXTRA_MAX, "{copied} bytes for a body of {body_bytes}");
        assert_clean(&host, &[&vm]);
    }
}

/// Linear memory that 15,000 further requests may add once the caches are full: the allocator's slack.
const MEMORY_GROWTH_BYTES_MAX: usize = 512 << 10;
/// The whole of it, with prefixes of four endpoints at their default capacity.
const MEMORY_BYTES_MAX: usize = 16 << 20;
/// Shared data of one process: 1,024 pages of 4 KiB, each with the record that sealed it, and two checkpoints of those
/// endpoints.
const SHARED_BYTES_MAX: usize = 8 << 20;

#[test]
fn memory_and_log_do_not_grow_with_requests() {
    let host = Host::default();
    let vm = warmed_up(&host);
    let mut sizes = BTreeMap::new();
    for number in 0..45_000_u32 {
        // Half are conversations that go on, half are new; every seventh client leaves early.
        let topic = if number % 2 == 0 { number % 50 } else { number };
        let mut stream = serve(&vm, &chat(&text(&format!("topic {topic}"), 1200)));
        if number % 7 != 0 {
            respond_head(&mut stream, &JSON, false);
            stream.response_body(b"{\"usage\":{\"prompt_tokens\":300}}", true).unwrap();
        }
        stream.finish().unwrap();
        if number % 50 == 0 {
            step(&host, &[&vm]);
        }
        if number % 15_000 == 14_999 {
            sizes.insert(number, vm.memory_bytes());
        }
    }
    let (half, all) = (sizes[&29_999], sizes[&44_999]);
    assert!(all - half <= MEMORY_GROWTH_BYTES_MAX, "{half} bytes, later {all}");
    assert!(all <= MEMORY_BYTES_MAX, "{all} bytes");
    assert!(host.shared_bytes() <= SHARED_BYTES_MAX, "{} bytes", host.shared_bytes());
    assert_eq!(vm.open_streams(), 0);
    assert_clean(&host, &[&vm]);
}
