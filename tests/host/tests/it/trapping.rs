//! A trap ends the VM, its streams get 503, and a rebuilt one goes on over the same shared data.

use crate::fixture::{logged, stream, vm};
use warmpath_host::{Host, LogLevel};

#[test]
fn a_trap_fails_the_vm_and_a_rebuilt_one_finds_the_shared_data() {
    let host = Host::default();
    let failing = vm(&host, "tick");
    failing.tick().unwrap();
    let mut bystander = stream(&failing, "hold", false);
    let mut stream = failing.request();
    let trap = stream.headers(&[("x-do", "panic")], true).unwrap_err();
    assert_eq!(trap.callback, "proxy_on_request_headers");
    assert!(host.log_from(LogLevel::Critical).concat().contains("asked to"));
    assert_eq!(stream.local_response().unwrap().status, 503);

    assert_eq!(bystander.body(b"one", true).unwrap_err(), trap, "every later call gives the same trap");
    assert_eq!(bystander.local_response().unwrap().status, 503);
    assert_eq!(failing.tick().unwrap_err(), trap);
    assert_eq!(failing.trap(), Some(trap));

    let fresh = host.rebuild(&failing).unwrap();
    assert_eq!(fresh.worker(), failing.worker());
    logged(&host);
    assert_eq!(fresh.tick().unwrap(), 1, "it was configured as its predecessor");
    assert_eq!(host.shared("count").unwrap().0, [2]);
}

#[test]
fn queue_wake_ups_of_a_rebuilt_vm_come_to_its_successor() {
    let host = Host::default();
    let (listener, writer) = (vm(&host, "listen"), vm(&host, ""));
    stream(&writer, "enqueue", true);
    listener.request().headers(&[("x-do", "exit")], true).unwrap_err();
    let fresh = host.rebuild(&listener).unwrap();
    logged(&host);
    assert_eq!(fresh.deliver_queues().unwrap(), 1);
    assert_eq!(logged(&host), ["queue item", "drained"]);
}
