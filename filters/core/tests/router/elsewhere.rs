//! Responses of other endpoints than the chosen ones: after a retry, or because the route led to other endpoints.

use crate::support::{Host, JSON, Stream, Vm, chat, chosen, endpoints, serve, static_config, text, vm};
use serde_json::json;
use warmpath_core::config::Config;
use warmpath_core::view::Fitness;
use warmpath_core::wire::{Pool, PoolEndpoint, Pools};

/// Serves a chat at another endpoint than the chosen one. Returns both.
fn served_elsewhere(vm: &Vm, prompt: &str, others: &[String]) -> (String, String) {
    let mut stream = serve(vm, &chat(prompt));
    let first = chosen(&stream);
    let other = others.iter().find(|other| **other != first).unwrap().clone();
    stream.served_by = Some(other.clone());
    stream.response_headers(&JSON, false);
    end(stream);
    (first, other)
}

/// The body of a response that found nothing in the cache, and the end.
fn end(mut stream: Stream) {
    let usage = json!({"prompt_tokens": 1_000, "prompt_tokens_details": {"cached_tokens": 0}});
    stream.response_body(json!({"choices": [], "usage": usage}).to_string().as_bytes(), true);
    stream.finish();
}

/// Two pools of two engines each, which serve the same model.
fn two_pools() -> Config {
    let pool = |(name, addresses): (&str, &[String])| Pool {
        name: name.to_owned(),
        models: vec!["llama".to_owned()],
        endpoints: addresses
            .iter()
            .map(|address| PoolEndpoint { address: address.clone(), ..PoolEndpoint::default() })
            .collect(),
        ..Pool::default()
    };
    let addresses = endpoints(4);
    let pools = [("a", &addresses[..2]), ("b", &addresses[2..])].map(pool).into();
    Config { pools: Pools { pools }, ..static_config(0) }
}

#[test]
fn an_endpoint_is_blamed_only_if_envoy_has_tried_it() {
    for (attempts, fitness) in
        [(Some(1), Fitness::Fit), (Some(2), Fitness::Avoided), (None, Fitness::Avoided)]
    {
        let host = Host::default();
        host.set_attempts(attempts);
        let vm = vm(&host, &static_config(2));
        let (first, other) = served_elsewhere(&vm, "hello", &endpoints(2));
        assert_eq!(vm.endpoint(&first).fitness(host.now()), fitness, "{attempts:?}");
        assert_eq!(vm.endpoint(&other).fitness(host.now()), Fitness::Fit);
        assert_eq!(host.metric("warmpath.retried"), u64::from(fitness == Fitness::Avoided));
    }
}

#[test]
fn an_endpoint_is_not_blamed_for_a_response_of_another_pool() {
    let host = Host::default();
    host.set_attempts(Some(2));
    let vm = vm(&host, &two_pools());
    let prompt = text("whales", 4_000);
    let mut stream = serve(&vm, &chat(&prompt));
    let first = chosen(&stream);
    let addresses = endpoints(4);
    let is_in_a = addresses[..2].contains(&first);
    let other = if is_in_a { &addresses[2] } else { &addresses[0] };
    stream.served_by = Some(other.clone());
    stream.response_headers(&JSON, false);
    assert_eq!(vm.endpoint(&first).in_flight().requests, 0);
    assert_eq!(vm.endpoint(other).in_flight().requests, 1);
    end(stream);
    assert_eq!(vm.endpoint(&first).fitness(host.now()), Fitness::Fit);
    assert_eq!(vm.endpoint(other).in_flight().requests, 0);
    assert_eq!(host.metric("warmpath.retried"), 0);
    assert_eq!(vm.cells(), 0, "a chain of one pool means nothing in another");
    let counted = host.metrics_in_pools();
    let served = format!("{} warmpath.outcome.served 1", if is_in_a { "b" } else { "a" });
    assert!(counted.contains(&served), "{counted:?}");
}

#[test]
fn a_response_after_a_retry_says_nothing_of_what_its_endpoint_holds() {
    let host = Host::default();
    host.set_attempts(Some(1));
    let vm = vm(&host, &static_config(2));
    let prompt = text("whales", 4_000);
    for _ in 0..30 {
        let (first, other) = served_elsewhere(&vm, &prompt, &endpoints(2));
        for endpoint in [first, other] {
            assert_eq!(vm.endpoint(&endpoint).believed_tokens(1_000), 1_000, "{endpoint}");
        }
    }
}
