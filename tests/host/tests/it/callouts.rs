//! gRPC streams and HTTP calls, with the test as the other end.

use crate::fixture::{logged, module, stream, vm};
use warmpath_host::{GrpcState, Host, HttpCallState, Violation, Vm};

fn feed(host: &Host) -> (Vm, u32) {
    let vm = vm(host, "grpc");
    let id = vm.grpc_streams().first().unwrap().id;
    (vm, id)
}

#[test]
fn a_grpc_stream_carries_messages_both_ways_until_it_closes() {
    let host = Host::default();
    let (vm, id) = feed(&host);
    assert!(vm.grpc_initial_metadata(id, &[("server", "s1")]).unwrap());
    assert!(vm.grpc_message(id, b"delta").unwrap());
    assert!(vm.grpc_trailing_metadata(id, &[("a", "1"), ("b", "2")]).unwrap());
    assert!(vm.grpc_close(id, 14, "gone").unwrap());
    let expected = [
        format!("grpc {id} metadata 1 Some(\"s1\")"),
        format!("grpc {id} message delta"),
        "replied Ok(())".to_owned(),
        format!("grpc {id} trailers 2"),
        format!("grpc {id} closed 14 14 gone"),
        "late send Err(NotFound)".to_owned(),
    ];
    assert_eq!(logged(&host), expected);

    let opened = vm.grpc_streams();
    let [record] = opened.as_slice() else { panic!("{opened:?}") };
    assert_eq!(record.upstream, b"controller");
    assert_eq!((record.service.as_str(), record.method.as_str()), ("warmpath.Feed", "Open"));
    assert_eq!(record.initial_metadata.text("node"), Some("n1"));
    assert_eq!(record.sent, [b"hello".to_vec(), b"ack".to_vec()]);
    assert_eq!(record.state, GrpcState::Closed(14));
    assert_eq!(vm.violations(), [Violation::SendOnClosedStream]);
    assert!(!vm.grpc_message(id, b"delta").unwrap(), "nothing comes after the close");
}

#[test]
fn a_cancelled_stream_receives_nothing_a_half_closed_one_still_does() {
    let host = Host::default();
    let (vm, id) = feed(&host);
    vm.grpc_message(id, b"close").unwrap();
    assert!(vm.grpc_streams().first().unwrap().local_end);
    assert!(vm.grpc_message(id, b"cancel").unwrap());
    assert_eq!(vm.grpc_streams().first().unwrap().state, GrpcState::Cancelled);
    assert!(!vm.grpc_close(id, 0, "").unwrap());
}

#[test]
fn retiring_a_root_cancels_its_streams() {
    let host = Host::default();
    let (vm, id) = feed(&host);
    assert!(vm.retire(1).unwrap());
    assert!(!vm.grpc_message(id, b"delta").unwrap());
}

#[test]
fn callouts_to_clusters_that_are_unknown_or_down_fail_at_once() {
    let host = Host::default();
    host.set_clusters(&["other"]);
    let vm = host.vm(&module()).unwrap();
    vm.configure(b"grpc").unwrap();
    stream(&vm, "call", true);
    host.set_clusters(&["controller", "prefill"]);
    host.set_cluster_down("controller", true);
    host.set_cluster_down("prefill", true);
    vm.configure(b"grpc").unwrap();
    stream(&vm, "call", true);
    let outcomes: Vec<_> = logged(&host).into_iter().filter(|line| line.contains("Err")).collect();
    let expected = [
        "opened Err(ParseFailure)",
        "dispatched Err(BadArgument)",
        "opened Err(InternalFailure)",
        "dispatched Err(InternalFailure)",
    ];
    assert_eq!(outcomes, expected);
}

#[test]
fn an_http_call_resumes_its_stream_with_the_response_or_the_failure() {
    let host = Host::default();
    let vm = vm(&host, "");
    let (completed, failed) = (stream(&vm, "call", true), stream(&vm, "call", true));
    let calls = vm.http_calls();
    let [first, second] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!((first.cluster.as_str(), first.timeout_ms), ("prefill", 3000));
    assert_eq!(first.headers.text("content-length"), Some("4"));
    assert_eq!(completed.upstream().headers, None);

    logged(&host);
    vm.http_respond(first.id, &[(":status", "200"), ("a", "b")], b"{}", &[("t", "1")]).unwrap();
    assert!(completed.upstream().ended);
    vm.http_fail(second.id).unwrap();
    assert!(failed.upstream().ended);
    assert_eq!(logged(&host), ["call 2 2 1 Some(2) 2", "call 0 0 0 None 0"]);
    assert!(vm.http_calls().iter().all(|call| call.state == HttpCallState::Done));
    assert!(!vm.http_fail(second.id).unwrap());
}

#[test]
fn a_response_to_a_stream_that_is_gone_has_no_effect() {
    let host = Host::default();
    let vm = vm(&host, "");
    stream(&vm, "call", true).finish().unwrap();
    logged(&host);
    assert!(vm.http_respond(vm.http_calls().first().unwrap().id, &[(":status", "200")], b"", &[]).unwrap());
    assert!(logged(&host).is_empty());
}

#[test]
fn a_paused_request_is_edited_whole_when_its_call_has_ended() {
    let host = Host::default();
    let vm = vm(&host, "");
    let mut stream = stream(&vm, "splice", false);
    stream.body(b"one ", false).unwrap();
    stream.body(b"two", true).unwrap();
    vm.http_respond(vm.http_calls().first().unwrap().id, &[(":status", "200")], b"{}", &[]).unwrap();
    let upstream = stream.upstream();
    assert_eq!(upstream.body, b"<one two>");
    assert_eq!(upstream.headers.unwrap().text("x-spliced"), Some("yes"));
    assert!(upstream.ended);
    assert!(vm.violations().is_empty());
}

#[test]
fn the_body_of_a_request_that_was_resumed_is_out_of_reach() {
    let host = Host::default();
    let vm = vm(&host, "");
    let mut stream = stream(&vm, "splice", false);
    stream.body(b"one", true).unwrap();
    vm.http_fail(vm.http_calls().first().unwrap().id).unwrap();
    stream.response_headers(&[(":status", "200")], true).unwrap_err();
    assert_eq!(vm.violations(), [Violation::BodyAfterResume]);
}
