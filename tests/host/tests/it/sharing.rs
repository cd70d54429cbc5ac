//! What VMs of one process share: data, queues, metrics, the clock.

use crate::fixture::{logged, module, stream, vm};
use std::time::Duration;
use warmpath_host::Host;

#[test]
fn compare_and_swap_refuses_a_stale_number_and_takes_any_for_a_missing_key() {
    let host = Host::default();
    let (one, two) = (vm(&host, "tick"), vm(&host, "tick"));
    one.tick().unwrap();
    assert_eq!(logged(&host).last().unwrap(), "cas None wrong Ok(()) right Ok(())");
    two.tick().unwrap();
    assert_eq!(logged(&host).last().unwrap(), "cas Some(2) wrong Err(CasMismatch) right Ok(())");
    let (value, number) = host.shared("count").unwrap();
    assert_eq!((value.as_slice(), number), ([2].as_slice(), 3));
}

#[test]
fn a_queue_wakes_the_vm_that_registered_last_once_an_item() {
    let host = Host::default();
    let (first, last, writer) = (vm(&host, "listen"), vm(&host, "listen"), vm(&host, ""));
    stream(&writer, "enqueue", true);
    stream(&writer, "enqueue", true);
    assert_eq!(logged(&host), ["resolved true false", "resolved true false"]);
    assert_eq!(host.queue_len("updates"), 2);
    assert_eq!(first.deliver_queues().unwrap(), 0);

    assert_eq!(last.deliver_queues().unwrap(), 2);
    let expected = ["queue item", "queue item", "drained", "drained"];
    assert_eq!(logged(&host), expected, "the first wake-up took both, the second found nothing");
    assert_eq!(host.queue_len("updates"), 0);
    assert!(host.enqueue("updates", b"from the test"));
    assert_eq!(last.deliver_queues().unwrap(), 1);
    assert!(!host.enqueue("unheard of", b""));
}

#[test]
fn metrics_of_one_name_are_one_stat() {
    let host = Host::default();
    let (one, two) = (vm(&host, ""), vm(&host, ""));
    stream(&one, "metrics", true);
    assert_eq!(logged(&host), ["metrics Ok(2) Err(BadArgument) Err(BadArgument)"]);
    stream(&two, "metrics", true);
    assert_eq!(host.metric("requests"), Some(4));
    assert_eq!(host.metric("open"), Some(4));
    assert_eq!(host.records("took_us"), [17, 17]);
    assert_eq!(host.metric("absent"), None);
}

#[test]
fn ticks_come_to_roots_that_asked_and_see_the_hosts_clock() {
    let host = Host::default();
    let quiet = vm(&host, "");
    let ticking = vm(&host, "tick");
    assert_eq!(quiet.tick().unwrap(), 0);
    assert_eq!(ticking.tick_period(), Some(Duration::from_millis(250)));
    host.advance(Duration::from_secs(7));
    assert_eq!(ticking.tick().unwrap(), 1);
    assert_eq!(logged(&host).first().unwrap(), "tick 1 true");
}

#[test]
fn a_second_configuration_gets_its_own_root_and_the_new_streams() {
    let host = Host::default();
    let vm = host.vm(&module()).unwrap();
    assert!(vm.configure(b"linger").unwrap());
    assert!(vm.configure(b"tick").unwrap());
    assert!(!vm.configure(b"refuse").unwrap());
    assert_eq!(vm.roots(), [1, 2], "a refused root is gone");
    assert_eq!(logged(&host), ["vm start 1 true", "vm start 2 true", "vm start 3 true"]);
    assert!(!vm.retire(1).unwrap(), "this root asked for time");
    assert!(vm.retire(2).unwrap());
    assert_eq!(vm.roots(), [1]);
}
