//! The stream to the controller over the host's gRPC: opened, read, cancelled, handed on.

use crate::support::{
    CLUSTER, Controller, assert_clean, chat, counted, endpoints, explain, load_of, pools, routed, serve,
    step, text, vm,
};
use serde_json::{Value, json};
use warmpath_core::ids::CellHash;
use warmpath_core::limits::CELL_BYTES_DEFAULT;
use warmpath_core::prompt::{Api, Request, Root, cells_of};
use warmpath_core::wire::{STREAM_METHOD, STREAM_SERVICE};
use warmpath_host::{GrpcState, Host, LogLevel, Options, Vm};

fn config() -> Value {
    json!({"controller": {"cluster": CLUSTER}, "explain": true})
}

/// A chat's chain, as another proxy would compute it.
fn chain(body: &Value) -> Vec<CellHash> {
    let bytes = body.to_string();
    let request = Request::parse(Api::Chat, bytes.as_bytes()).unwrap();
    let mut chain = Vec::new();
    cells_of(&request, Root::new("llama", "", ""), CELL_BYTES_DEFAULT, &mut chain);
    chain
}

fn open_streams(vms: &[&Vm]) -> usize {
    let all = vms.iter().flat_map(|vm| vm.grpc_streams());
    all.filter(|stream| stream.state == GrpcState::Open).count()
}

#[test]
fn hello_says_who_opens_the_stream() {
    let host = Host::default();
    host.set_property(&["xds", "node", "id"], b"gateway-1");
    let vm = vm(&host, &config());
    let controller = Controller::accept(&host, &[&vm]);
    let stream = vm.grpc_streams().remove(0);
    assert_eq!((stream.service.as_str(), stream.method.as_str()), (STREAM_SERVICE, STREAM_METHOD));
    let hello = controller.received().remove(0).hello.expect("the first message is a hello");
    assert_eq!((hello.node.as_str(), hello.resume), ("gateway-1", None));
    assert_eq!(hello.version, env!("CARGO_PKG_VERSION"));
    assert_ne!(hello.process, 0);
    assert!(controller.received().iter().skip(1).all(|up| up.hello.is_none()), "one hello a stream");
    assert_clean(&host, &[&vm]);
}

#[test]
fn the_stream_presents_the_token_and_the_log_never_shows_it() {
    let environment = vec![("WARMPATH_TOKEN".to_owned(), "t0ken\n".to_owned())];
    let host = Host::new(Options { environment, ..Options::default() });
    let config = json!({"controller": {"cluster": CLUSTER, "token_env": "WARMPATH_TOKEN"}});
    let vm = vm(&host, &config);
    Controller::accept(&host, &[&vm]);
    let stream = vm.grpc_streams().remove(0);
    assert_eq!(stream.initial_metadata.text("authorization"), Some("Bearer t0ken"));
    for (status, meaning) in [(16, "unauthenticated: `controller.token`"), (7, "permission denied")] {
        let stream = vm.grpc_streams().into_iter().find(|stream| stream.state == GrpcState::Open).unwrap();
        vm.grpc_close(stream.id, status, "").unwrap();
        assert!(host.log_from(LogLevel::Warn).last().unwrap().contains(meaning));
        Controller::accept(&host, &[&vm]);
    }
    assert!(host.log().iter().all(|line| !line.text.contains("t0ken")), "{:#?}", host.log());
    assert_clean(&host, &[&vm]);
}

#[test]
fn the_log_shows_the_message_of_a_status_as_it_was_meant() {
    let host = Host::default();
    let vm = vm(&host, &config());
    let stream = Controller::accept(&host, &[&vm]).stream;
    vm.grpc_close(stream, 3, "100%25 of %22%E6%A8%A1%22%0Aare unknown").unwrap();
    let line = host.log_from(LogLevel::Warn).pop().unwrap();
    assert!(line.ends_with("(invalid argument): 100% of \"模\" are unknown"), "{line}");
    assert_clean(&host, &[&vm]);
}

#[test]
fn a_stream_without_a_token_has_no_metadata() {
    let host = Host::default();
    let vm = vm(&host, &config());
    Controller::accept(&host, &[&vm]);
    assert_eq!(vm.grpc_streams().remove(0).initial_metadata.len(), 0);
}

#[test]
fn snapshot_is_applied_and_siblings_see_it() {
    let host = Host::default();
    let (one, two) = (vm(&host, &config()), vm(&host, &config()));
    let mut controller = Controller::accept(&host, &[&one, &two]);
    let names = endpoints(3);
    let prompt = chat(&text("whales", 2000));
    controller.snapshot(vec![pools(&names), routed(&names[1], &chain(&prompt)), load_of(5, &names[2], 4)]);
    for vm in [&one, &two] {
        let decision = explain(vm, &prompt);
        assert_eq!(decision.candidates().len(), 3);
        assert_eq!(decision.holders(), [names[1].clone()], "the filter's cells are the core's");
        assert_eq!(decision.of(&names[2], "requests"), 4);
    }
    assert_eq!(counted(&host, &[&one, &two], "warmpath.feed.snapshot"), 1);
    assert_clean(&host, &[&one, &two]);
}

#[test]
fn garbage_closes_the_stream_and_nothing_else() {
    let host = Host::default();
    let vm = vm(&host, &config());
    let mut controller = Controller::accept(&host, &[&vm]);
    controller.snapshot(vec![pools(&endpoints(2))]);
    for garbage in [b"\xff\xff\xff\xff".as_slice(), b"\x22\x7f", b"hello"] {
        let controller = Controller::accept(&host, &[&vm]);
        assert!(vm.grpc_message(controller.stream, garbage).unwrap());
        assert_eq!(controller.state(), GrpcState::Cancelled);
        serve(&vm, &chat("hello")).finish().unwrap();
    }
    assert_eq!(counted(&host, &[&vm], "warmpath.malformed"), 3);
    let mut again = Controller::accept(&host, &[&vm]);
    again.delta(vec![pools(&endpoints(3))]);
    assert_eq!(explain(&vm, &chat("hello")).candidates().len(), 3);
    assert_clean(&host, &[&vm]);
}

#[test]
fn one_vm_of_a_process_holds_the_stream() {
    let host = Host::default();
    let vms: Vec<Vm> = (0..4).map(|_| vm(&host, &config())).collect();
    let all: Vec<&Vm> = vms.iter().collect();
    let controller = Controller::accept(&host, &all);
    let holder = controller.vm.worker();
    for _ in 0..20 {
        step(&host, &all);
        assert_eq!(open_streams(&all), 1);
    }
    assert_eq!(Controller::accept(&host, &all).vm.worker(), holder, "it stays where it is");
    assert_eq!(counted(&host, &all, "warmpath.feed.opened"), 1);
    assert_eq!(host.metric("warmpath.feed.connected"), Some(1));
    assert_clean(&host, &all);
}

#[test]
fn configuration_that_is_taken_away_hands_the_lease_on_at_once() {
    let host = Host::default();
    let (one, two) = (vm(&host, &config()), vm(&host, &config()));
    let controller = Controller::accept(&host, &[&one, &two]);
    let (holder, other) = if controller.vm.worker() == one.worker() { (&one, &two) } else { (&two, &one) };
    assert!(holder.retire(holder.roots()[0]).unwrap());
    assert_eq!(open_streams(&[holder]), 0);
    step(&host, &[other]);
    assert_eq!(open_streams(&[other]), 1);
    assert_clean(&host, &[&one, &two]);
}
