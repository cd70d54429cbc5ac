//! Requests that wait for an endpoint: each goes on once, as if it had just come, or is refused when its time is up.

use crate::support::legs::{PATH, apart, busy, header, long, send};
use crate::support::{
    Controller, EVENT_STREAM, Host, Stream, TOKEN, Vm, chat, chosen, counted, destinations, finish_all, get,
    pools_of, post, serve, step, vm, with_controller,
};
use std::time::Duration;
use warmpath_core::ids::EndpointId;
use warmpath_core::router::DECISION_HEADER;
use warmpath_core::wire::{
    EngineStatus, Event, Health, Hold, Kind, Pool, PoolEndpoint, Pools, Rewrite, RewriteTarget,
    TransferProtocol, WakeTime,
};

const ENDPOINT_MS_MAX: u32 = 60_000;

/// The pool `llama` with so many endpoints, whose requests may wait for one.
fn pools(endpoints: usize) -> Pools {
    holding(pools_of(0..endpoints))
}

fn holding(mut pools: Pools) -> Pools {
    for pool in &mut pools.pools {
        pool.hold = Some(Hold { endpoint_ms_max: ENDPOINT_MS_MAX, ..Hold::default() });
    }
    pools
}

/// A host with so many VMs.
fn started<const VMS: usize>() -> (Host, [Vm; VMS]) {
    let host = Host::default();
    let vms = std::array::from_fn(|_| vm(&host, &with_controller()));
    (host, vms)
}

/// A controller that names a pool without endpoints to the VMs.
fn asleep<'a>(host: &Host, vms: &[&'a Vm]) -> Controller<'a> {
    let mut controller = Controller::accept(host, vms);
    controller.snapshot(vec![Kind::Pools(pools(0)).into()]);
    step(host, vms);
    controller
}

/// Each of the pools changes by itself, and the VM has its tick.
fn change(controller: &mut Controller<'_>, pools: Pools) {
    controller.delta(each(pools));
    controller.vm.tick();
}

fn each(pools: Pools) -> Vec<Event> {
    pools.pools.into_iter().map(|pool| Kind::Pool(pool).into()).collect()
}

fn is_held(stream: &Stream) -> bool {
    stream.is_paused && stream.reply.is_none() && stream.request_headers.is_empty()
}

#[test]
fn a_request_waits_for_the_first_endpoint_and_goes_there() {
    let (host, [vm]) = started();
    let mut controller = asleep(&host, &[&vm]);
    let mut stream = serve(&vm, &chat("hello"));
    for _ in 0..8 {
        step(&host, &[&vm]);
        stream.catch_up();
        assert!(is_held(&stream));
    }
    assert_eq!((vm.held(), host.metric("warmpath.held.endpoint")), (1, 1));
    assert_eq!(stream.properties["warmpath.decision"], "held_for=endpoint", "for the log, if it leaves");
    change(&mut controller, pools(2));
    stream.catch_up();
    assert!(!stream.is_paused);
    assert_eq!(destinations(&stream).len(), 2);
    assert_eq!((vm.held(), host.metric("warmpath.hold_resumed.endpoint")), (0, 1));
    stream.response_headers(&[(":status", "200")], true);
    let line = stream.response_headers.get(DECISION_HEADER).expect("decisions are explained");
    assert!(line.contains(" held_for=endpoint held_ms=2000 "), "{line}");
    stream.finish();
}

#[test]
fn endpoints_that_another_controller_brings_are_used_once_the_clusters_have_them() {
    let (host, [vm]) = started();
    let mut controller = asleep(&host, &[&vm]);
    let mut held = serve(&vm, &chat("hello"));
    controller.snapshot(vec![Kind::Pools(pools(2)).into()]);
    let mut later = serve(&vm, &chat("hello there"));
    for _ in 0..11 {
        step(&host, &[&vm]);
        held.catch_up();
        later.catch_up();
        assert!(is_held(&held) && is_held(&later), "the clusters may not have them yet");
    }
    for _ in 0..2 {
        step(&host, &[&vm]);
    }
    held.catch_up();
    later.catch_up();
    assert_eq!((destinations(&held).len(), destinations(&later).len(), vm.held()), (2, 2, 0));
    held.finish();
    later.finish();
}

/// Both endpoints of the pool have a health.
fn healths(controller: &mut Controller<'_>, healths: [Health; 2]) {
    let status = |(endpoint, health): (&PoolEndpoint, Health)| {
        let endpoint = EndpointId::of(&endpoint.address).0;
        Kind::EngineStatus(EngineStatus { endpoint, health: health.into(), ..EngineStatus::default() }).into()
    };
    let endpoints = pools(2).pools[0].endpoints.clone();
    controller.delta(endpoints.iter().zip(healths).map(status).collect());
    controller.vm.tick();
}

#[test]
fn a_request_waits_where_nobody_listens_at_any_endpoint() {
    let (host, [vm]) = started();
    let mut controller = asleep(&host, &[&vm]);
    change(&mut controller, pools(2));
    healths(&mut controller, [Health::Absent; 2]);
    let mut stream = serve(&vm, &chat("hello"));
    for _ in 0..8 {
        step(&host, &[&vm]);
        stream.catch_up();
        assert!(is_held(&stream));
    }
    healths(&mut controller, [Health::Absent, Health::Healthy]);
    stream.catch_up();
    assert_eq!(chosen(&stream), pools(2).pools[0].endpoints[1].address);
    stream.complete();
}

#[test]
fn a_request_for_which_nobody_came_to_listen_is_sent_all_the_same() {
    let (host, [vm]) = started();
    let mut controller = asleep(&host, &[&vm]);
    change(&mut controller, pools(2));
    healths(&mut controller, [Health::Absent; 2]);
    let mut stream = serve(&vm, &chat("hello"));
    for _ in 0..6 {
        host.advance(Duration::from_secs(9));
        vm.tick();
        stream.catch_up();
        assert!(is_held(&stream));
    }
    host.advance(Duration::from_secs(7));
    vm.tick();
    stream.catch_up();
    assert_eq!(destinations(&stream).len(), 2, "the controller may be wrong");
    stream.response_headers(&EVENT_STREAM, false);
    stream.response_body(TOKEN, true);
    let served = chosen(&stream);
    stream.finish();
    let next = serve(&vm, &chat("good day"));
    assert_eq!(chosen(&next), served, "it was");
    next.complete();
}

#[test]
fn a_request_does_not_wait_for_engines_of_which_nobody_knows_whether_they_run() {
    let (host, [vm]) = started();
    let mut controller = asleep(&host, &[&vm]);
    change(&mut controller, pools(2));
    for known in [[Health::Unknown; 2], [Health::Absent, Health::Unknown], [Health::Unhealthy; 2]] {
        healths(&mut controller, known);
        let stream = serve(&vm, &chat("hello"));
        assert!(!destinations(&stream).is_empty(), "{known:?}");
        stream.finish();
    }
}

#[test]
fn a_request_is_routed_as_if_it_had_just_come() {
    let (host, [vm]) = started();
    let mut controller = asleep(&host, &[&vm]);
    let body = chat("hello").to_string();
    let mut stream = post(&vm, "/v1/chat/completions", &body);
    let mut awake = pools(2);
    let target = RewriteTarget { model: "llama-2".to_owned(), weight: 1 };
    awake.pools[0].rewrites.push(Rewrite { model: "llama".to_owned(), targets: vec![target] });
    change(&mut controller, awake);
    stream.catch_up();
    let edited = String::from_utf8(stream.edited.clone().expect("the model was replaced")).unwrap();
    assert_eq!(edited, body.replace("\"llama\"", "\"llama-2\""));
    stream.complete();
}

#[test]
fn requests_go_on_in_the_order_in_which_they_came() {
    let (host, [vm]) = started();
    let mut controller = asleep(&host, &[&vm]);
    let mut streams: Vec<Stream> = Vec::new();
    for number in 0..40 {
        streams.push(serve(&vm, &chat(&format!("topic {number}"))));
        host.advance(Duration::from_millis(1));
    }
    change(&mut controller, pools(2));
    let mut on = 0;
    for _ in 0..3 {
        streams.iter_mut().for_each(Stream::catch_up);
        let now_on = streams.iter().take_while(|stream| !stream.is_paused).count();
        assert!(now_on > on && streams[now_on..].iter().all(is_held), "{now_on} after {on}");
        on = now_on;
        step(&host, &[&vm]);
    }
    assert_eq!((on, vm.held()), (40, 0));
    streams.into_iter().for_each(Stream::complete);
}

#[test]
fn a_request_whose_time_is_up_is_refused() {
    let (host, [vm]) = started();
    let _controller = asleep(&host, &[&vm]);
    let mut stream = serve(&vm, &chat("hello"));
    host.advance(Duration::from_secs(9));
    vm.tick();
    for _ in 0..6 {
        stream.catch_up();
        assert!(is_held(&stream));
        host.advance(Duration::from_secs(10));
        vm.tick();
    }
    stream.catch_up();
    let reply = stream.reply.as_ref().expect("its time is up");
    let named =
        |name| reply.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str());
    assert_eq!(reply.status, 503);
    assert_eq!(named("x-warmpath-reason"), Some("hold_expired"));
    assert_eq!(named("x-llm-d-request-dropped-reason"), Some("rejected-ttl-expired"));
    assert!(named("retry-after").is_some());
    assert_eq!((vm.held(), host.metric("warmpath.rejected.hold_expired")), (0, 1));
    stream.finish();
    assert_eq!(host.metric("warmpath.hold_left.endpoint"), 0);
}

#[test]
fn a_refusal_while_a_model_wakes_says_when_it_will_be_there() {
    let (host, [vm]) = started();
    let mut controller = asleep(&host, &[&vm]);
    let pool = pools(0).pools.remove(0).name;
    let wake = WakeTime { pool, usual_ms: 100_000, passed_ms: Some(10_000), is_growing: false };
    controller.delta(vec![Kind::WakeTime(wake).into()]);
    let mut stream = serve(&vm, &chat("hello"));
    for _ in 0..7 {
        host.advance(Duration::from_secs(9));
        vm.tick();
    }
    stream.catch_up();
    let reply = stream.reply.as_ref().expect("its time is up");
    let retry_s =
        reply.headers.iter().find(|(name, _)| *name == "retry-after").map(|(_, value)| value.as_str());
    assert_eq!(retry_s, Some("27"), "100 s, of which 10 and 63 have passed");
    stream.finish();
}

#[test]
fn a_clock_that_is_set_back_or_ahead_refuses_nobody() {
    let (host, [vm]) = started();
    let mut controller = asleep(&host, &[&vm]);
    let mut stream = serve(&vm, &chat("hello"));
    step(&host, &[&vm]);
    host.set_back(Duration::from_hours(1));
    step(&host, &[&vm]);
    host.advance(Duration::from_hours(2));
    step(&host, &[&vm]);
    stream.catch_up();
    assert!(is_held(&stream));
    change(&mut controller, pools(2));
    stream.catch_up();
    assert_eq!(destinations(&stream).len(), 2);
    stream.complete();
}

#[test]
fn a_client_that_leaves_leaves_nothing() {
    let (host, [one, other]) = &started();
    let mut controller = asleep(host, &[one, other]);
    let streams = [serve(one, &chat("hello")), serve(one, &chat("good day"))];
    step(host, &[one, other]);
    assert_eq!((one.held(), other.held()), (2, 2), "all VMs know all of them");
    streams.into_iter().for_each(Stream::finish);
    step(host, &[one, other]);
    assert_eq!((one.held(), other.held()), (0, 0));
    assert_eq!(host.metric("warmpath.hold_left.endpoint"), 2);
    change(&mut controller, pools(2));
}

#[test]
fn a_request_to_which_the_proxy_responds_is_not_held_any_more() {
    let (host, [vm]) = started();
    let mut controller = asleep(&host, &[&vm]);
    let mut stream = serve(&vm, &chat("hello"));
    stream.response_headers(&[(":status", "504")], true);
    assert_eq!(vm.held(), 0);
    change(&mut controller, pools(2));
    stream.catch_up();
    assert!(stream.request_headers.is_empty());
    stream.finish();
    assert_eq!(host.metric("warmpath.hold_left.endpoint"), 1);
}

#[test]
fn only_requests_for_work_wait_and_only_where_the_pool_says_so() {
    let (host, [vm]) = started();
    let mut controller = asleep(&host, &[&vm]);
    let list = get(&vm, "/v1/models");
    change(&mut controller, pools_of(0..0));
    let request = serve(&vm, &chat("hello"));
    for stream in [list, request] {
        assert_eq!(stream.reply.as_ref().map(|reply| reply.status), Some(503));
        stream.finish();
    }
    assert_eq!(counted(&host, &[&vm], "warmpath.held.endpoint"), 0);
}

#[test]
fn a_request_without_a_body_waits_as_well() {
    let (host, [vm]) = started();
    let mut controller = asleep(&host, &[&vm]);
    let mut stream = vm.request();
    stream.headers(&[(":method", "POST"), (":path", "/sleep")], true);
    assert!(is_held(&stream));
    change(&mut controller, pools(2));
    stream.catch_up();
    assert_eq!(destinations(&stream).len(), 2);
    stream.complete();
}

#[test]
fn a_body_that_is_not_read_comes_while_its_request_is_held() {
    let (host, [vm]) = started();
    let mut controller = asleep(&host, &[&vm]);
    let mut stream = vm.request();
    let headers = [(":method", "POST"), (":path", "/v1/audio/transcriptions"), ("content-type", "audio/wav")];
    stream.headers(&headers, false);
    assert!(is_held(&stream));
    for ends in [false, true] {
        stream.body(&[0; 1_000], ends);
        assert!(is_held(&stream));
    }
    change(&mut controller, pools(2));
    stream.catch_up();
    assert_eq!(destinations(&stream).len(), 2);
    stream.complete();
    assert_eq!(host.metric("warmpath.unread.content_type"), 1, "counted once");
}

#[test]
fn a_form_waits_without_being_read_again() {
    let (host, [vm]) = started();
    let mut controller = asleep(&host, &[&vm]);
    let mut two = pools(0);
    two.pools.push(Pool { name: "other".to_owned(), models: vec!["other".to_owned()], ..Pool::default() });
    change(&mut controller, two);
    let mut stream = vm.request();
    let form = "multipart/form-data; boundary=x";
    stream.headers(
        &[(":method", "POST"), (":path", "/v1/audio/transcriptions"), ("content-type", form)],
        false,
    );
    stream.body(b"--x\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nllama\r\n--x--\r\n", true);
    assert!(is_held(&stream));
    change(&mut controller, pools(2));
    stream.catch_up();
    assert_eq!(destinations(&stream).len(), 2);
    stream.complete();
}

/// A long request to a pool that lacks its engine for decode legs, which then comes.
fn split_later(protocol: TransferProtocol) -> (Host, Stream, Vm) {
    let (host, [vm]) = started();
    let mut controller = asleep(&host, &[&vm]);
    let apart = holding(apart(1, 1, protocol).pools);
    let mut lacking = apart.clone();
    lacking.pools[0].endpoints.clear();
    change(&mut controller, lacking);
    // Those that go on first: without any, a prompt is best computed where its response is.
    let others = busy(&vm);
    let mut stream = send(&vm, &long("whales").to_string());
    assert!(is_held(&stream));
    controller.delta(each(apart));
    stream.take_call(vm.tick_with_calls());
    stream.catch_up();
    assert_eq!((header(&stream, ":path"), vm.held()), (PATH, 0));
    finish_all(others);
    (host, stream, vm)
}

#[test]
fn a_request_goes_on_in_two_legs_one_after_the_other() {
    let (_host, mut stream, _vm) = split_later(TransferProtocol::ContextFirst);
    assert!(stream.is_paused);
    stream.called(Some((200, r#"{"choices":[{"disaggregated_params":{"ctx_request_id":1}}]}"#)));
    assert!(!stream.is_paused);
    assert_eq!(destinations(&stream), ["10.2.0.1:8000"]);
    stream.complete();
}

#[test]
fn a_request_goes_on_in_two_legs_together() {
    let (_host, stream, _vm) = split_later(TransferProtocol::Bootstrap);
    assert!(!stream.is_paused);
    assert_eq!(destinations(&stream), ["10.2.0.1:8000"]);
    stream.complete();
}

#[test]
fn a_pool_that_is_gone_holds_nobody() {
    let (host, [vm]) = started();
    let mut controller = asleep(&host, &[&vm]);
    let mut stream = serve(&vm, &chat("hello"));
    let mut others = pools(1);
    others.pools[0].name = "another".to_owned();
    others.pools[0].models = vec!["another".to_owned()];
    controller.delta(vec![Kind::Pools(others).into()]);
    step(&host, &[&vm]);
    stream.catch_up();
    let status = stream.reply.as_ref().map(|reply| reply.status);
    assert_eq!(status, Some(404), "nobody will ever serve it");
    stream.finish();
}

#[test]
fn a_controller_that_comes_back_learns_who_waits() {
    let (host, [one, other]) = &started();
    let controller = asleep(host, &[one, other]);
    let streams = [serve(one, &chat("hello")), serve(other, &chat("good day"))];
    step(host, &[one, other]);
    controller.close();
    let again = Controller::accept(host, &[one, other]);
    let held = again.events().into_iter().filter(|kind| matches!(kind, Kind::Held(_)));
    assert_eq!(held.count(), 2, "with the first messages, those of all VMs");
    streams.into_iter().for_each(Stream::finish);
}

#[test]
fn a_vm_that_only_holds_is_alive() {
    let (host, [one, other]) = &started();
    let _controller = asleep(host, &[one, other]);
    let stream = serve(one, &chat("hello"));
    for _ in 0..40 {
        step(host, &[one, other]);
    }
    assert_eq!((one.held(), other.held()), (1, 1));
    stream.finish();
}

#[test]
fn requests_held_in_a_vm_that_is_gone_are_forgotten() {
    let (host, [one, other]) = &started();
    let mut controller = asleep(host, &[one, other]);
    let gone = if one.holds_lease() { other } else { one };
    let left = if one.holds_lease() { one } else { other };
    let _stuck = serve(gone, &chat("hello"));
    let mut waits = serve(left, &chat("good day"));
    step(host, &[left]);
    assert_eq!(left.held(), 2);
    for _ in 0..24 {
        step(host, &[left]);
    }
    assert_eq!(left.held(), 1, "it is silent");
    change(&mut controller, pools(1));
    waits.catch_up();
    assert_eq!(destinations(&waits).len(), 1);
    waits.complete();
}

#[test]
fn workers_do_not_wait_for_each_other_when_a_pool_wakes() {
    let (host, [one, other]) = &started();
    let mut controller = asleep(host, &[one, other]);
    // The other one's come first, and it has no tick.
    let (left, gone) = if one.holds_lease() { (one, other) } else { (other, one) };
    let theirs: Vec<Stream> = (0..8).map(|_| serve(gone, &chat("hello"))).collect();
    host.advance(Duration::from_millis(10));
    let mut ours = serve(left, &chat("good day"));
    change(&mut controller, pools(2));
    ours.catch_up();
    assert_eq!(destinations(&ours).len(), 2);
    ours.complete();
    finish_all(theirs);
}

#[test]
fn a_vm_that_starts_knows_who_waits() {
    let (host, [one]) = &started();
    let _controller = asleep(host, &[one]);
    let streams: Vec<Stream> = (0..3).map(|_| serve(one, &chat("hello"))).collect();
    step(host, &[one]);
    let fresh = vm(host, &with_controller());
    assert_eq!(fresh.held(), 3);
    finish_all(streams);
    step(host, &[one, &fresh]);
    step(host, &[one, &fresh]);
    assert_eq!(fresh.held(), 0);
}
