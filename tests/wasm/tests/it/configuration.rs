//! Configurations: refused with every reason, accepted, and renewed under traffic.

use crate::support::{
    CLUSTER, assert_clean, chat, chosen, complete, destinations, endpoints, explain, filter, serve,
    static_config, step, text, vm,
};
use serde_json::{Value, json};
use warmpath_host::{Host, LogLevel, Vm};

/// Gives a VM that is configured already another configuration, and takes the old one away.
fn renew(vm: &Vm, configuration: &Value) {
    let old = vm.roots();
    assert!(vm.configure(configuration.to_string().as_bytes()).unwrap());
    for root in old {
        assert!(vm.retire(root).unwrap());
    }
}

#[test]
fn wrong_configuration_is_refused_with_every_error_and_its_path() {
    let host = Host::default();
    let vm = host.vm(&filter()).unwrap();
    let wrong = json!({
        "pools": [{"name": "a", "models": [], "endpoints": ["10.0.0.1"], "weight": 3}],
        "controler": {},
        "cell_bytes": 1,
        "explain": "yes",
    });
    assert!(!vm.configure(wrong.to_string().as_bytes()).unwrap());
    let log = host.log_from(LogLevel::Error).join("\n");
    for path in
        ["pools[0].models", "pools[0].endpoints[0]", "pools[0].weight", "controler", "cell_bytes", "explain"]
    {
        assert!(log.contains(path), "{path} is not reported in:\n{log}");
    }
    assert_clean(&host, &[&vm]);
}

/// A configuration that is refused fails all requests in some proxies: a Secret that is not there yet must not.
#[test]
fn a_token_that_the_environment_lacks_is_done_without() {
    let host = Host::default();
    let vm = host.vm(&filter()).unwrap();
    let config = json!({"controller": {"cluster": CLUSTER, "token_env": "WARMPATH_TOKEN"}});
    assert!(vm.configure(config.to_string().as_bytes()).unwrap());
    assert_clean(&host, &[&vm]);
}

#[test]
fn bytes_that_are_no_configuration_are_refused() {
    let host = Host::default();
    let vm = host.vm(&filter()).unwrap();
    for wrong in [b"".as_slice(), b"{", b"[]", b"\xff\xfe", b"null", b"{}"] {
        assert!(!vm.configure(wrong).unwrap(), "{}", String::from_utf8_lossy(wrong));
    }
    assert_clean(&host, &[&vm]);
}

/// In Envoy 1.34 a filter that stops at the headers never sees the body: every request would hang.
#[test]
fn an_envoy_that_is_too_old_is_refused_and_named() {
    for (major, minor, is_accepted) in [(1_u64, 34_u64, false), (1, 35, true), (2, 0, true)] {
        let host = Host::default();
        for (part, number) in [("major_number", major), ("minor_number", minor)] {
            let path = ["xds", "node", "user_agent_build_version", "version", part];
            host.set_property(&path, &number.to_le_bytes());
        }
        let vm = host.vm(&filter()).unwrap();
        assert_eq!(vm.configure(static_config(1).to_string().as_bytes()).unwrap(), is_accepted);
        let log = host.log_from(LogLevel::Error).join("\n");
        assert_eq!(log.contains(&format!("Envoy {major}.{minor}")), !is_accepted, "{log}");
    }
}

#[test]
fn refused_renewal_leaves_the_old_configuration_at_work() {
    let host = Host::default();
    let vm = vm(&host, &static_config(4));
    assert!(!vm.configure(b"{}").unwrap());
    serve(&vm, &chat("hello")).finish().unwrap();
    assert_clean(&host, &[&vm]);
}

#[test]
fn renewal_in_the_same_vm_keeps_what_was_learned() {
    let host = Host::default();
    let vm = vm(&host, &static_config(8));
    let prompt = chat(&text("whales", 2000));
    let first = serve(&vm, &prompt);
    let holder = chosen(&first);
    complete(first);
    renew(&vm, &static_config(8));
    let decision = explain(&vm, &prompt);
    assert_eq!(decision.holders(), std::slice::from_ref(&holder));
    assert_eq!(decision.candidates()[0], holder);
    assert_clean(&host, &[&vm]);
}

#[test]
fn renewal_with_other_pools_takes_effect_and_drops_who_left() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let mut config = static_config(0);
    config["pools"][0]["endpoints"] = json!(["10.9.9.9:80"]);
    renew(&vm, &config);
    let stream = serve(&vm, &chat("hello"));
    assert_eq!(destinations(&stream), ["10.9.9.9:80"]);
    stream.finish().unwrap();
    assert_clean(&host, &[&vm]);
}

#[test]
fn renewal_with_other_pools_takes_effect_while_the_controller_has_named_none() {
    let host = Host::default();
    let config = |endpoints: &[String]| {
        json!({
            "pools": [{"name": "llama", "models": ["llama"], "endpoints": endpoints}],
            "controller": {"cluster": CLUSTER},
        })
    };
    let vm = vm(&host, &config(&endpoints(2)));
    renew(&vm, &config(&["10.9.9.9:80".to_owned()]));
    let stream = serve(&vm, &chat("hello"));
    assert_eq!(destinations(&stream), ["10.9.9.9:80"]);
    stream.finish().unwrap();
    assert_clean(&host, &[&vm]);
}

#[test]
fn stream_of_a_retired_configuration_ends_in_the_books_of_the_new_one() {
    let host = Host::default();
    let vm = vm(&host, &static_config(4));
    let prompt = chat("hello");
    let stream = serve(&vm, &prompt);
    renew(&vm, &static_config(4));
    assert_eq!(explain(&vm, &prompt).sum("requests"), 1);
    stream.finish().unwrap();
    assert_eq!(explain(&vm, &prompt).sum("requests"), 0);
    assert_clean(&host, &[&vm]);
}

#[test]
fn renewal_with_another_cell_size_starts_anew_and_ends_old_streams_where_they_began() {
    let host = Host::default();
    let vm = vm(&host, &static_config(4));
    let prompt = chat(&text("whales", 2000));
    let stream = serve(&vm, &prompt);
    let mut config = static_config(4);
    config["cell_bytes"] = json!(64);
    renew(&vm, &config);
    assert_eq!(explain(&vm, &prompt).holders(), [""; 0], "cells of another size mean nothing");
    complete(stream);
    step(&host, &[&vm]);
    complete(serve(&vm, &prompt));
    assert_eq!(explain(&vm, &prompt).holders().len(), 1);
    assert_clean(&host, &[&vm]);
}
