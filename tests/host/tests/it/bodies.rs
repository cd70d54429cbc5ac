//! Buffering: what the filter sees of a body, and what goes on.

use crate::fixture::{logged, stream, vm};
use warmpath_host::{Action, Host, Options, Violation};

#[test]
fn a_paused_body_is_seen_whole_and_headers_can_be_set_until_it_goes_on() {
    let host = Host::default();
    let vm = vm(&host, "");
    let mut stream = stream(&vm, "pick", false);
    assert_eq!(stream.body(b"one ", false).unwrap(), Action::Pause);
    assert_eq!(stream.body(b"two ", false).unwrap(), Action::Pause);
    assert_eq!(stream.upstream().headers, None, "the headers wait for the choice");
    assert_eq!(stream.body(b"three", true).unwrap(), Action::Continue);

    assert_eq!(logged(&host), ["body 4 one  false", "body 8 one two  false", "body 13 one two three true"]);
    let upstream = stream.upstream();
    assert_eq!(upstream.headers.unwrap().text("x-picked"), Some("a"));
    assert_eq!(upstream.body, b"one two three");
    assert!(upstream.ended);
}

#[test]
fn a_body_that_goes_through_is_seen_piece_by_piece() {
    let host = Host::default();
    let vm = vm(&host, "");
    let mut stream = stream(&vm, "", false);
    stream.body(b"one", false).unwrap();
    assert_eq!(stream.upstream().body, b"one");
    stream.body(b"two", true).unwrap();
    assert_eq!(logged(&host), ["body 3 one false", "body 3 two true"]);
    assert_eq!(stream.upstream().body, b"onetwo");
}

#[test]
fn a_rewritten_body_replaces_everything_that_was_held() {
    let host = Host::default();
    let vm = vm(&host, "");
    let mut stream = stream(&vm, "rewrite", false);
    stream.body(b"one", false).unwrap();
    stream.body(b"two", true).unwrap();
    assert_eq!(stream.upstream().body, b"new");
}

#[test]
fn without_the_flag_a_pause_at_the_headers_keeps_the_body_from_the_filter() {
    let host = Host::new(Options { allow_on_headers_stop_iteration: false, ..Options::default() });
    let vm = vm(&host, "");
    let mut stream = stream(&vm, "call", false);
    stream.body(b"one", false).unwrap();
    stream.body(b"two", true).unwrap();
    assert!(logged(&host).iter().all(|line| !line.starts_with("body")));

    vm.http_respond(vm.http_calls().first().unwrap().id, &[(":status", "200")], b"", &[]).unwrap();
    assert_eq!(logged(&host).last().unwrap(), "body 6 onetwo true");
    assert_eq!(stream.upstream().body, b"onetwo");
}

#[test]
fn a_body_held_beyond_the_buffer_gets_413() {
    let host = Host::new(Options { buffer_bytes_max: 5, ..Options::default() });
    let vm = vm(&host, "");
    let mut stream = stream(&vm, "hold", false);
    stream.body(b"12345", false).unwrap();
    assert_eq!(stream.local_response(), None);
    stream.body(b"6", false).unwrap();
    assert_eq!(stream.local_response().unwrap().status, 413);
    logged(&host);
    stream.body(b"7", true).unwrap();
    assert!(logged(&host).is_empty(), "a stream with a local response no longer reaches the filter");
}

#[test]
fn request_headers_are_out_of_reach_once_they_went_on() {
    let host = Host::default();
    let vm = vm(&host, "");
    let mut stream = vm.request();
    stream.headers(&[("x-do", "")], false).unwrap();
    // The SDK panics on BadArgument, which is how a filter finds out with Envoy too.
    let mut late = vm.request();
    late.headers(&[("x-do", "late-header")], false).unwrap();
    assert!(late.body(b"one", false).is_ok(), "paused at the headers: they are still there");
    let trap = late.body(b"two", true).unwrap_err();
    assert_eq!(trap.callback, "proxy_on_request_body");
    assert!(host.log().last().unwrap().text.contains("unexpected status: 2"));
}

#[test]
fn reading_beyond_the_end_is_refused_and_booked() {
    let host = Host::default();
    let vm = vm(&host, "");
    let mut stream = stream(&vm, "beyond", false);
    stream.body(b"one", true).unwrap_err();
    assert_eq!(vm.violations(), [Violation::BufferStartBeyondEnd]);
}

#[test]
fn trailers_that_go_on_take_a_held_body_with_them() {
    let host = Host::default();
    let vm = vm(&host, "");
    let mut stream = stream(&vm, "hold", false);
    stream.body(b"one", false).unwrap();
    stream.request_trailers(&[("t", "1")]).unwrap();
    let upstream = stream.upstream();
    assert_eq!(upstream.body, b"one");
    assert_eq!(upstream.trailers.unwrap().text("t"), Some("1"));
    assert!(upstream.ended);
}
