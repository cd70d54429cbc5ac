//! VMs of one process: what one does the others know before they next choose.

use crate::support::{
    assert_clean, chat, chosen, complete, counted, explain, serve, static_config, step, text, vm,
};
use serde_json::json;
use warmpath_host::Host;

#[test]
fn sibling_routes_by_what_was_routed_a_moment_before_without_a_tick() {
    let host = Host::default();
    let (one, two) = (vm(&host, &static_config(16)), vm(&host, &static_config(16)));
    for topic in ["whales", "sharks", "squids", "corals"] {
        let prompt = chat(&text(topic, 2000));
        let first = serve(&one, &prompt);
        let holder = chosen(&first);
        let decision = explain(&two, &prompt);
        assert_eq!((decision.holders(), decision.of(&holder, "requests")), (vec![holder.clone()], &json!(1)));
        complete(first);
        one.tick().unwrap();
        let second = serve(&two, &prompt);
        assert_eq!(chosen(&second), holder, "{topic}");
        second.finish().unwrap();
    }
    assert_eq!(counted(&host, &[&one, &two], "warmpath.decision.warm"), 4);
    assert_clean(&host, &[&one, &two]);
}

#[test]
fn strange_values_in_shared_data_do_not_trap() {
    let host = Host::default();
    let config = static_config(2);
    let (one, two) = (vm(&host, &config), vm(&host, &config));
    for value in [b"".as_slice(), b"short", &[0; 8], b"\0\0\0\0\0\0\0\0\x05\0\0\0\0\xff\xff\xff\xff\xff"] {
        for key in host.shared_keys() {
            host.set_shared(&key, value);
        }
        serve(&one, &chat("hello")).finish().unwrap();
        step(&host, &[&one, &two]);
        serve(&two, &chat("hello")).finish().unwrap();
    }
    let fresh = vm(&host, &config);
    serve(&fresh, &chat("hello")).finish().unwrap();
    assert!(counted(&host, &[&one, &two, &fresh], "warmpath.malformed") > 0);
    assert_clean(&host, &[&one, &two, &fresh]);
}
