//! A stream's end, and responses that do not come from the upstream.

use crate::fixture::{logged, stream, vm};
use warmpath_host::{Action, Host, LogLevel, Options};

#[test]
fn a_stream_is_logged_then_done_then_deleted() {
    let host = Host::default();
    let vm = vm(&host, "");
    let mut stream = stream(&vm, "", true);
    stream.response_headers(&[(":status", "200")], false).unwrap();
    stream.response_body(b"hi", true).unwrap();
    stream.set_property(&["upstream", "address"], b"10.0.0.1:80");
    assert_eq!(stream.downstream().headers.unwrap().text("x-seen"), Some("yes"));
    assert_eq!(vm.open_streams(), 1);
    logged(&host);
    stream.finish().unwrap();
    let log = r#"log Some("/v1") Some("200") Some("10.0.0.1:80")"#;
    assert_eq!(logged(&host), [log, "done", "delete"]);
    assert_eq!(vm.open_streams(), 0);
}

#[test]
fn the_log_of_a_stream_without_a_response_finds_no_status() {
    let host = Host::default();
    let vm = vm(&host, "");
    let stream = stream(&vm, "hold", false);
    logged(&host);
    stream.finish().unwrap();
    assert_eq!(logged(&host), [r#"log Some("/v1") None None"#, "done", "delete"]);
}

#[test]
fn a_local_response_stops_the_request_and_runs_through_the_response_callbacks() {
    let host = Host::default();
    let vm = vm(&host, "");
    let mut stream = vm.request();
    let action = stream.headers(&[(":path", "/"), ("x-do", "reply")], false).unwrap();
    assert_eq!(action, Action::Pause, "whatever the callback returned");
    assert_eq!(logged(&host), ["response 4 429 false", "response body 9 true"]);

    let local = stream.local_response().unwrap();
    assert_eq!(
        (local.status, local.body.as_slice(), local.grpc_status),
        (429, b"slow down".as_slice(), None)
    );
    assert_eq!(local.headers.text("retry-after"), Some("1"));
    assert_eq!(local.headers.text("content-length"), Some("9"));
    assert_eq!(local.headers.text("x-seen"), Some("yes"));
    assert_eq!(stream.upstream().headers, None);
    assert_eq!(stream.body(b"late", true).unwrap(), Action::Pause);
    assert!(logged(&host).is_empty());
}

#[test]
fn a_reset_stream_reaches_nobody() {
    let host = Host::default();
    let vm = vm(&host, "");
    let mut stream = stream(&vm, "reset", false);
    assert!(stream.is_reset());
    stream.body(b"late", true).unwrap();
    assert_eq!(stream.upstream(), warmpath_host::Forwarded::default());
}

#[test]
fn the_rest_of_the_abi_behaves_as_in_envoy() {
    let environment = vec![("POD".to_owned(), "gw-0".to_owned())];
    let host = Host::new(Options { environment: environment.clone(), seed: 7, ..Options::default() });
    let vm = vm(&host, "");
    stream(&vm, "odds", true);
    let lines: Vec<_> = host.log().into_iter().map(|line| (line.level, line.text)).collect();
    let [stdout, stderr, (_, odds)] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(*stdout, (LogLevel::Info, "to stdout".to_owned()));
    assert_eq!(*stderr, (LogLevel::Error, "to stderr".to_owned()));
    let plugin = format!("{:?}", Some(b"warmpath"));
    let expected = format!("odds Err(NotFound) Some([49]) None {plugin} Some(\"gw-0\") Info ");
    assert!(odds.starts_with(&expected), "{odds}");

    let again = Host::new(Options { environment, seed: 7, ..Options::default() });
    stream(&crate::fixture::vm(&again, ""), "odds", true);
    assert_eq!(logged(&again).last(), Some(odds), "the same seed gives the same bytes");
}
