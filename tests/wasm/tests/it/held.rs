//! Requests that wait for an endpoint: what their bodies are when they go on in a tick, and what holding costs.

use crate::support::{
    CLUSTER, Controller, assert_clean, chat, complete, counted, destinations, endpoints, finish_all, pools,
    serve, step, text, vm,
};
use serde_json::{Value, json};
use std::time::Duration;
use warmpath_core::wire::{Hold, Kind, Pool, Pools, Rewrite, RewriteTarget};
use warmpath_host::{Host, Options, Stream, Vm};

/// Hostcalls of a tick in which nothing goes on, however many requests are held: the clock, the log, and the lease when that is due.
const HOSTCALLS_PER_WAITING_TICK_MAX: u64 = 4;
/// Hostcalls with which a request is held, its headers and its body included: the clock, the log, and what the access log shows. What
/// is published goes with the next tick.
const HOSTCALLS_PER_HOLD_MAX: u64 = 5;
/// Hostcalls of a held request that goes on: into its context and back twice, its body, its headers and its booking.
const HOSTCALLS_PER_RESUME_MAX: u64 = 15;
/// Memory of a held request whose headers are few, in bytes, in the VM that holds it. Its body is in the host.
const BYTES_PER_HELD_MAX: usize = 2_560;

fn config() -> Value {
    json!({"controller": {"cluster": CLUSTER}})
}

/// The pool `llama` with so many endpoints, whose requests may wait for one, and where `llama` is `llama-2` to the engines.
fn holding(count: usize) -> Pool {
    let Some(Kind::Pools(pools)) = pools(&endpoints(count)).kind else { panic!("these are pools") };
    let mut pool = pools.pools.into_iter().next().unwrap();
    pool.hold = Some(Hold { endpoint_ms_max: 60_000, ..Hold::default() });
    let target = RewriteTarget { model: "llama-2".to_owned(), weight: 1 };
    pool.rewrites = vec![Rewrite { model: "llama".to_owned(), targets: vec![target] }];
    pool
}

fn asleep<'a>(host: &Host, vm: &'a Vm) -> Controller<'a> {
    let mut controller = Controller::accept(host, &[vm]);
    controller.snapshot(vec![Kind::Pools(Pools { pools: vec![holding(0)] }).into()]);
    controller
}

fn is_held(stream: &Stream) -> bool {
    stream.upstream().headers.is_none() && stream.local_response().is_none()
}

/// A chat with its body in pieces and with trailers.
fn with_trailers(vm: &Vm, body: &[u8]) -> Stream {
    let mut stream = vm.request();
    stream.headers(&[(":method", "POST"), (":path", "/v1/chat/completions")], false).unwrap();
    for piece in body.chunks(10_000) {
        stream.body(piece, false).unwrap();
    }
    stream.request_trailers(&[("x-sum", "1")]).unwrap();
    stream
}

#[test]
fn a_held_request_goes_on_with_its_body_as_it_is_edited_then() {
    let host = Host::default();
    let vm = vm(&host, &config());
    let mut controller = asleep(&host, &vm);
    let body = chat(&text("whales", 300_000)).to_string();
    let whole = serve(&vm, &chat("hello"));
    let long = with_trailers(&vm, body.as_bytes());
    let mut empty = vm.request();
    empty.headers(&[(":method", "POST"), (":path", "/sleep")], true).unwrap();
    step(&host, &[&vm]);
    assert!([&whole, &long, &empty].into_iter().all(is_held));
    controller.delta(vec![Kind::Pool(holding(2)).into()]);
    vm.tick().unwrap();
    for stream in [&whole, &long, &empty] {
        assert_eq!(destinations(stream).len(), 2);
        assert!(stream.upstream().ended);
    }
    let edited = |body: String| body.replace("\"llama\"", "\"llama-2\"").into_bytes();
    assert_eq!(whole.upstream().body, edited(chat("hello").to_string()));
    assert_eq!(long.upstream().body, edited(body));
    assert!(long.upstream().trailers.is_some());
    [whole, long, empty].into_iter().for_each(complete);
    assert_eq!(counted(&host, &[&vm], "warmpath.hold_resumed.endpoint"), 3);
    assert_clean(&host, &[&vm]);
}

#[test]
fn clients_leave_and_times_are_up_while_others_go_on() {
    let host = Host::default();
    let vm = vm(&host, &config());
    let mut controller = asleep(&host, &vm);
    let (stays, leaves) = (serve(&vm, &chat("hello")), serve(&vm, &chat("good day")));
    for _ in 0..6 {
        host.advance(Duration::from_secs(10));
        vm.tick().unwrap();
    }
    leaves.finish().unwrap();
    let reply = stays.local_response().expect("its time is up");
    assert_eq!((reply.status, reply.headers.text("x-warmpath-reason")), (503, Some("hold_expired")));
    stays.finish().unwrap();
    let (stays, leaves) = (serve(&vm, &chat("hello")), serve(&vm, &chat("good day")));
    leaves.finish().unwrap();
    controller.delta(vec![Kind::Pool(holding(1)).into()]);
    vm.tick().unwrap();
    assert_eq!(destinations(&stays).len(), 1);
    complete(stays);
    assert_eq!(vm.open_streams(), 0);
    assert_clean(&host, &[&vm]);
}

#[test]
fn hostcalls_of_holding_do_not_grow() {
    let host = Host::default();
    let vm = vm(&host, &config());
    let mut controller = asleep(&host, &vm);
    // A pool's metrics are defined at its first request.
    controller.delta(vec![Kind::Pool(holding(2)).into()]);
    complete(serve(&vm, &chat("hello")));
    controller.delta(vec![Kind::Pool(holding(0)).into()]);
    let mut streams: Vec<Stream> = (0..8).map(|_| serve(&vm, &chat("hello"))).collect();
    step(&host, &[&vm]);
    vm.reset_counts();
    streams.push(serve(&vm, &chat("hello")));
    assert!(vm.counts().total() <= HOSTCALLS_PER_HOLD_MAX, "{:?}", vm.counts().calls);
    vm.tick().unwrap();
    vm.reset_counts();
    vm.tick().unwrap();
    assert!(vm.counts().total() <= HOSTCALLS_PER_WAITING_TICK_MAX, "{:?}", vm.counts().calls);
    controller.delta(vec![Kind::Pool(holding(2)).into()]);
    vm.reset_counts();
    vm.tick().unwrap();
    let each = vm.counts().total() / 9;
    assert!(each <= HOSTCALLS_PER_RESUME_MAX, "{each}: {:?}", vm.counts().calls);
    assert!(!streams.iter().any(is_held));
    streams.into_iter().for_each(complete);
    assert_clean(&host, &[&vm]);
}

#[test]
fn a_pool_that_may_hold_costs_nothing_while_nothing_is_held() {
    let hostcalls = |hold: Option<Hold>| {
        let host = Host::default();
        let vm = vm(&host, &config());
        let mut controller = Controller::accept(&host, &[&vm]);
        let mut event = pools(&endpoints(2));
        if let Some(Kind::Pools(pools)) = &mut event.kind {
            pools.pools[0].hold = hold;
        }
        controller.snapshot(vec![event]);
        for _ in 0..2 {
            complete(serve(&vm, &chat("hello")));
            step(&host, &[&vm]);
        }
        vm.reset_counts();
        complete(serve(&vm, &chat("hello")));
        vm.tick().unwrap();
        vm.counts().total()
    };
    let hold = Hold { room_ms_max: 60_000, endpoint_ms_max: 60_000, ..Hold::default() };
    assert_eq!(hostcalls(Some(hold)), hostcalls(None));
}

#[test]
fn a_held_request_takes_little_memory() {
    const HELD: usize = 4_000;
    let host = Host::default();
    let mut config = config();
    config["hold"] = json!({"requests_max": HELD});
    let vm = vm(&host, &config);
    let _controller = asleep(&host, &vm);
    let body = chat(&text("whales", 20_000));
    finish_all((0..16).map(|_| serve(&vm, &body)));
    let before = vm.memory_bytes();
    let streams: Vec<Stream> = (0..HELD).map(|_| serve(&vm, &body)).collect();
    vm.tick().unwrap();
    assert!(streams.iter().all(is_held));
    let each = (vm.memory_bytes() - before) / HELD;
    assert!(each <= BYTES_PER_HELD_MAX, "{each} bytes");
    finish_all(streams);
    assert_eq!(vm.open_streams(), 0);
    assert_clean(&host, &[&vm]);
}

/// Of a request whose body the host withholds nothing is read, neither when it comes nor when it goes on.
#[test]
fn a_request_whose_body_is_withheld_waits_and_goes_on() {
    let host = Host::new(Options { allow_on_headers_stop_iteration: false, ..Options::default() });
    let vm = vm(&host, &config());
    let mut controller = asleep(&host, &vm);
    let body = chat(&text("whales", 20_000)).to_string();
    let held = with_trailers(&vm, body.as_bytes());
    for _ in 0..4 {
        step(&host, &[&vm]);
        assert!(is_held(&held));
    }
    assert_eq!(counted(&host, &[&vm], "warmpath.held.endpoint"), 1);
    controller.delta(vec![Kind::Pool(holding(2)).into()]);
    vm.tick().unwrap();
    assert_eq!(destinations(&held).len(), 2);
    assert_eq!((held.upstream().body.len(), held.upstream().ended), (body.len(), true));
    assert!(held.upstream().trailers.is_some());
    complete(held);
    assert_clean(&host, &[&vm]);
}
