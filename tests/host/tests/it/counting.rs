//! The books: hostcalls by name, bytes across the border, memory.

use crate::fixture::{stream, vm};
use warmpath_host::Host;

#[test]
fn hostcalls_and_payload_are_counted_for_each_vm() {
    let host = Host::default();
    let (vm, idle) = (vm(&host, ""), vm(&host, ""));
    idle.reset_counts();
    let mut stream = stream(&vm, "hold", false);
    vm.reset_counts();
    stream.body(&[b'x'; 1000], true).unwrap();

    let counts = vm.counts();
    assert_eq!(counts.of("proxy_get_buffer_bytes"), 1);
    assert_eq!(counts.of("proxy_log"), 1);
    assert_eq!(counts.total(), 2);
    assert_eq!(counts.entries(), 1, "{:?}", counts.callbacks);
    assert_eq!(counts.bytes_to_guest, 1000);
    assert_eq!(counts.bytes_from_guest, 1000 + 15, "the log line: `body 1000  true` and the body");
    assert_eq!(idle.counts().total(), 0);
}

#[test]
fn memory_grows_with_what_the_guest_holds() {
    let host = Host::default();
    let vm = vm(&host, "");
    let before = vm.memory_bytes();
    let mut stream = stream(&vm, "hold", false);
    stream.body(&vec![b'x'; 512 << 10], true).unwrap();
    assert!(before > 0);
    assert!(vm.memory_bytes() >= before + (512 << 10));
}
