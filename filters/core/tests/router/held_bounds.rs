//! How much a process holds: beyond its bounds the less important request is refused, and nobody else loses his place.

use crate::support::{
    Controller, Host, Stream, Vm, chat, counted, pools_of, post, serve, step, vm, with_controller,
};
use warmpath_core::config::{Config, HoldLimits};
use warmpath_core::wire::{Hold, Kind, Objective, Pools};

/// A configuration that lets the process hold so much.
fn bounded(requests_max: u64, body_bytes_max: u64) -> Config {
    Config { hold: HoldLimits { requests_max, body_bytes_max }, ..with_controller() }
}

/// The pool `llama` without endpoints, with the objectives `batch` and `offline`, which may be refused.
fn asleep() -> Pools {
    let mut pools = pools_of(0..0);
    let objective = |name: &str, priority| Objective { name: name.to_owned(), priority };
    pools.pools[0].objectives = vec![objective("batch", -1), objective("offline", -2)];
    pools.pools[0].hold = Some(Hold { endpoint_ms_max: 60_000, ..Hold::default() });
    pools
}

fn controller<'a>(host: &Host, vms: &[&'a Vm]) -> Controller<'a> {
    let mut controller = Controller::accept(host, vms);
    controller.snapshot(vec![Kind::Pools(asleep()).into()]);
    step(host, vms);
    controller
}

fn with_objective(vm: &Vm, objective: &str) -> Stream {
    let mut stream = vm.request();
    let path = "/v1/chat/completions";
    let headers = [(":method", "POST"), (":path", path), ("x-llm-d-inference-objective", objective)];
    stream.headers(&headers, false);
    stream.body(chat("hello").to_string().as_bytes(), true);
    stream
}

const FULL: Option<&str> = Some("503 hold_full");

/// The status and the reason of the router's response.
fn refused(stream: &mut Stream) -> Option<&'static str> {
    stream.catch_up();
    let reply = stream.reply.as_ref()?;
    let reason = reply.headers.iter().find(|(name, _)| *name == "x-warmpath-reason");
    match (reply.status, reason.map(|(_, reason)| reason.as_str())) {
        (503, Some("hold_full")) => FULL,
        (503, Some("hold_shed")) => Some("503 hold_shed"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_process_holds_so_many_requests_in_all_its_vms() {
    let host = Host::default();
    let config = bounded(3, u64::MAX);
    let (one, other) = (&vm(&host, &config), &vm(&host, &config));
    let _controller = controller(&host, &[one, other]);
    let mut held: Vec<Stream> = [one, one, other].into_iter().map(|vm| serve(vm, &chat("hello"))).collect();
    step(&host, &[one, other]);
    for vm in [one, other] {
        let mut stream = serve(vm, &chat("hello"));
        assert_eq!(refused(&mut stream), FULL);
        stream.finish();
    }
    assert!(held.iter_mut().all(|stream| refused(stream).is_none()));
    held.swap_remove(0).finish();
    step(&host, &[one, other]);
    held.push(serve(other, &chat("hello")));
    assert!(held.iter_mut().all(|stream| refused(stream).is_none()));
    assert_eq!(counted(&host, &[one, other], "warmpath.rejected.hold_full"), 2);
    for _ in 0..5 {
        step(&host, &[one, other]);
    }
    assert_eq!(host.metric("warmpath.holding.endpoint"), 3);
    held.into_iter().for_each(Stream::finish);
    for _ in 0..5 {
        step(&host, &[one, other]);
    }
    assert_eq!(
        (host.metric("warmpath.holding.endpoint"), host.metric("warmpath.holding_bytes.endpoint")),
        (0, 0)
    );
}

#[test]
fn the_process_holds_so_many_bytes_also_of_bodies_that_are_still_coming() {
    let host = Host::default();
    let vm = vm(&host, &bounded(u64::MAX, 3_000));
    let _controller = controller(&host, &[&vm]);
    let text = chat(&"x".repeat(2_000)).to_string();
    let first = post(&vm, "/v1/chat/completions", &text);
    let mut second = post(&vm, "/v1/chat/completions", &text);
    assert_eq!((first.is_paused, refused(&mut second)), (true, FULL));
    let mut upload = vm.request();
    let headers = [(":method", "POST"), (":path", "/v1/audio/transcriptions"), ("content-type", "audio/wav")];
    upload.headers(&headers, false);
    upload.body(&[0; 500], false);
    assert_eq!(refused(&mut upload), None);
    upload.body(&[0; 500], false);
    assert_eq!(refused(&mut upload), FULL);
    step(&host, &[&vm]);
    assert_eq!(vm.held(), 1);
    [first, second, upload].into_iter().for_each(Stream::finish);
}

#[test]
fn a_request_that_may_be_refused_makes_room_for_a_more_important_one() {
    let host = Host::default();
    let vm = vm(&host, &bounded(3, u64::MAX));
    let _controller = controller(&host, &[&vm]);
    let [mut batch, mut early, mut late] =
        ["batch", "offline", "offline"].map(|objective| with_objective(&vm, objective));
    let mut more = with_objective(&vm, "offline");
    assert_eq!(refused(&mut more), FULL, "none of them is less important");
    let mut shed = Vec::new();
    let mut important = Vec::new();
    for _ in 0..3 {
        important.push(serve(&vm, &chat("hello")));
        vm.tick();
        let order = [&mut late, &mut early, &mut batch].map(|stream| refused(stream).is_some());
        shed.push(order);
    }
    assert_eq!(shed, [[true, false, false], [true, true, false], [true; 3]], "the least important first");
    assert_eq!(refused(&mut batch), Some("503 hold_shed"));
    let mut one_more = serve(&vm, &chat("hello"));
    assert_eq!(refused(&mut one_more), FULL);
    assert!(important.iter_mut().all(|stream| refused(stream).is_none()));
    assert_eq!((vm.held(), host.metric("warmpath.rejected.hold_shed")), (3, 3));
    important.extend([batch, early, late, more, one_more]);
    important.into_iter().for_each(Stream::finish);
    assert_eq!(vm.held(), 0);
}

/// A header costs its client nothing.
#[test]
fn a_claimed_length_takes_no_room() {
    let host = Host::default();
    let config = bounded(100, 100_000);
    let vm = &vm(&host, &config);
    let _controller = controller(&host, &[vm]);
    let mut claim = vm.request();
    let path = "/v1/chat/completions";
    claim.headers(&[(":method", "POST"), (":path", path), ("content-length", "536000000")], false);
    assert!(claim.is_paused, "it is held");
    let mut other = serve(vm, &chat("hello"));
    assert_eq!(refused(&mut other), None);
    claim.body(&vec![b' '; 60_000], false);
    assert_eq!(refused(&mut claim), None);
    claim.body(&vec![b' '; 60_000], false);
    assert_eq!(refused(&mut claim), FULL, "what has come counts");
    claim.finish();
    other.finish();
}
