//! A host without `allow_on_headers_stop_iteration`, as with Istio's WasmPlugin: the filter continues without the body.

use crate::support::{assert_clean, chat, counted, destinations, static_config, text, vm};
use serde_json::json;
use std::time::Duration;
use warmpath_host::{Action, Host, LogLevel, Options, Stream, Vm};

const HEAD: [(&str, &str); 3] =
    [(":method", "POST"), (":path", "/v1/chat/completions"), ("content-type", "application/json")];
/// More than the first requests are paused for.
const MOMENT: Duration = Duration::from_millis(60);

fn withholding() -> Host {
    Host::new(Options { allow_on_headers_stop_iteration: false, ..Options::default() })
}

/// The first request of a VM, which two ticks look after.
fn paused(host: &Host, vm: &Vm, body: &str) -> Stream {
    let mut stream = vm.request();
    assert_eq!(stream.headers(&HEAD, false).unwrap(), Action::Pause);
    stream.body(body.as_bytes(), true).unwrap();
    assert!(stream.upstream().headers.is_none());
    vm.tick().unwrap();
    host.advance(MOMENT);
    vm.tick().unwrap();
    stream
}

#[test]
fn no_request_hangs_and_none_but_the_first_is_paused() {
    let host = withholding();
    let vm = vm(&host, &static_config(3));
    let body = chat(&text("whales", 100_000)).to_string();
    for _ in 0..2 {
        let stream = paused(&host, &vm, &body);
        assert_eq!(destinations(&stream).len(), 3);
        assert_eq!((stream.upstream().body.len(), stream.upstream().ended), (body.len(), true));
        stream.finish().unwrap();
    }
    let mut stream = vm.request();
    assert_eq!(stream.headers(&HEAD, false).unwrap(), Action::Continue);
    assert_eq!(stream.body(body.as_bytes(), true).unwrap(), Action::Continue);
    assert_eq!((destinations(&stream).len(), stream.upstream().body.len()), (3, body.len()));
    stream.finish().unwrap();
    assert_eq!(counted(&host, &[&vm], "warmpath.unread.withheld"), 3);
    assert_eq!(counted(&host, &[&vm], "warmpath.resumed"), 2);
    let warnings = host.log_from(LogLevel::Warn);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("allow_on_headers_stop_iteration"), "{warnings:?}");
    assert_clean(&host, &[&vm]);
}

#[test]
fn trailers_that_were_withheld_follow() {
    let host = withholding();
    let vm = vm(&host, &static_config(3));
    let mut stream = vm.request();
    stream.headers(&HEAD, false).unwrap();
    stream.body(b"{}", false).unwrap();
    stream.request_trailers(&[("x-sum", "1")]).unwrap();
    vm.tick().unwrap();
    host.advance(MOMENT);
    vm.tick().unwrap();
    assert!(stream.upstream().ended && stream.upstream().trailers.is_some());
    stream.finish().unwrap();
    assert_clean(&host, &[&vm]);
}

#[test]
fn a_decision_is_explained_without_the_body() {
    let host = withholding();
    let vm = vm(&host, &static_config(3));
    for _ in 0..3 {
        let mut stream = vm.request();
        let headers: Vec<_> = HEAD.into_iter().chain([("x-warmpath-explain", "1")]).collect();
        stream.headers(&headers, false).unwrap();
        stream.body(b"{}", true).unwrap();
        vm.tick().unwrap();
        host.advance(MOMENT);
        vm.tick().unwrap();
        assert_eq!(stream.local_response().unwrap().status, 200);
        stream.finish().unwrap();
    }
    assert_clean(&host, &[&vm]);
}

#[test]
fn a_session_stays_where_it_is() {
    let host = withholding();
    let mut config = static_config(8);
    config["affinity_headers"] = json!(["X-Session-Id"]);
    let vm = vm(&host, &config);
    for _ in 0..2 {
        paused(&host, &vm, "{}").finish().unwrap();
    }
    let mut homes = Vec::new();
    for turn in 1..9 {
        let body = chat(&text("whales", 3_000 * turn)).to_string();
        let length = body.len().to_string();
        let headers: Vec<_> =
            HEAD.into_iter().chain([("content-length", length.as_str()), ("x-session-id", "s")]).collect();
        let mut stream = vm.request();
        stream.headers(&headers, false).unwrap();
        stream.body(body.as_bytes(), true).unwrap();
        homes.push(destinations(&stream).swap_remove(0));
        crate::support::complete(stream);
    }
    homes.dedup();
    assert_eq!(homes.len(), 1, "{homes:?}");
    assert_clean(&host, &[&vm]);
}

#[test]
fn a_host_that_shows_bodies_is_not_asked_for_them() {
    let host = Host::default();
    let vm = vm(&host, &static_config(3));
    let mut stream = vm.request();
    stream.headers(&HEAD, false).unwrap();
    stream.body(b"{}", true).unwrap();
    stream.finish().unwrap();
    let mut slow = vm.request();
    slow.headers(&HEAD, false).unwrap();
    for _ in 0..100 {
        host.advance(MOMENT);
        vm.tick().unwrap();
    }
    assert!(slow.upstream().headers.is_none(), "its client sends the body later");
    slow.finish().unwrap();
    assert_eq!(counted(&host, &[&vm], "warmpath.resumed"), 0);
    assert_clean(&host, &[&vm]);
}
