//! One model in several pools: conversations are divided by the pools' weights, and stay.

use crate::support::{
    Host, Vm, chat, chosen, endpoints, post, serve, static_config, text, vm, with_controller,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use warmpath_core::config::Config;
use warmpath_core::router::MODEL_HEADER;
use warmpath_core::wire::{Pool, PoolEndpoint, Pools, Rewrite, RewriteTarget};

/// Endpoints of each pool.
const EACH: usize = 3;

/// Pools that serve `llama`, with these weights.
fn shared(weights: &[u32]) -> Config {
    let addresses = endpoints(EACH * weights.len());
    let pool = |(at, weight): (usize, &u32)| Pool {
        name: format!("pool {at}"),
        models: vec!["llama".to_owned()],
        endpoints: addresses[EACH * at..EACH * (at + 1)]
            .iter()
            .map(|address| PoolEndpoint { address: address.clone(), ..PoolEndpoint::default() })
            .collect(),
        weight: *weight,
        ..Pool::default()
    };
    let pools = Pools { pools: weights.iter().enumerate().map(pool).collect() };
    Config { pools, ..static_config(0) }
}

/// The number of the pool in which a chat was served.
fn pool_of(vm: &Vm, body: &Value) -> usize {
    let stream = serve(vm, body);
    let pool = pool_at(&chosen(&stream));
    stream.complete();
    pool
}

/// The number of the pool that an endpoint is in.
fn pool_at(destination: &str) -> usize {
    endpoints(EACH * 9).iter().position(|address| address == destination).unwrap() / EACH
}

/// Two pools that give the name `chat` a model of their own each.
fn aliased() -> Config {
    let mut config = shared(&[1, 1]);
    for (at, pool) in config.pools.pools.iter_mut().enumerate() {
        let target = RewriteTarget { model: format!("of pool {at}"), weight: 1 };
        pool.rewrites = vec![Rewrite { model: "chat".to_owned(), targets: vec![target] }];
    }
    config
}

/// A conversation in which the user has spoken so many times.
fn conversation(topic: &str, turns: usize) -> Value {
    let said = |turn: usize| json!({"role": "user", "content": text(&format!("{topic} {turn}"), 500)});
    let mut body = chat("");
    body["messages"] = (0..turns).map(said).collect();
    body
}

fn shares(vm: &Vm, conversations: usize) -> BTreeMap<usize, usize> {
    let mut shares = BTreeMap::new();
    for number in 0..conversations {
        *shares.entry(pool_of(vm, &conversation(&format!("topic {number}"), 1))).or_default() += 1;
    }
    shares
}

#[test]
fn conversations_follow_the_weights_and_their_turns_stay() {
    let host = Host::default();
    let vm = vm(&host, &shared(&[3, 1]));
    let mut shares = [0; 2];
    for number in 0..200 {
        let topic = format!("topic {number}");
        let pools: BTreeSet<_> = (1..4).map(|turns| pool_of(&vm, &conversation(&topic, turns))).collect();
        assert_eq!(pools.len(), 1, "{topic}: {pools:?}");
        shares[pools.into_iter().next().unwrap()] += 1;
    }
    assert!((30..=70).contains(&shares[1]), "a fourth of 200: {shares:?}");
}

#[test]
fn of_pools_of_one_model_the_one_whose_cluster_the_route_has_drawn_is_taken() {
    let mut config = shared(&[1, 1, 1]);
    for (at, pool) in config.pools.pools.iter_mut().enumerate() {
        pool.name = format!("llm/{at}");
    }
    let vm = vm(&Host::default(), &config);
    // Headers of the client, the cluster, and the pool that it stands for.
    let istio = "outbound|54321||2-ip-d4735e3a.llm.svc.cluster.local";
    let own = |model: &'static str| Some((MODEL_HEADER, model));
    for (header, cluster, expected) in [
        (None, "llm/1", Some(1)),
        (None, istio, Some(2)),
        (own("llama"), "llm/1", Some(1)),
        // The route will be another one when the header names the model of the body.
        (own("qwen"), "llm/1", None),
        (None, "httproute/llm/route/rule/0", None),
    ] {
        let mut seen = BTreeSet::new();
        for number in 0..30 {
            let mut stream = vm.request();
            stream.cluster = Some(cluster.to_owned());
            let head = [(":method", "POST"), (":path", "/v1/chat/completions")];
            let head: Vec<_> = head.into_iter().chain(header).collect();
            stream.headers(&head, false);
            stream.body(conversation(&format!("topic {number}"), 1).to_string().as_bytes(), true);
            seen.insert(pool_at(&chosen(&stream)));
            stream.complete();
        }
        let expected = expected.map_or_else(|| BTreeSet::from([0, 1, 2]), |pool| BTreeSet::from([pool]));
        assert_eq!(seen, expected, "{header:?}, {cluster}");
    }
}

#[test]
fn the_rule_of_the_pool_that_the_route_has_drawn_applies() {
    let vm = vm(&Host::default(), &aliased());
    for at in [0, 1, 0, 1] {
        let mut stream = vm.request();
        stream.cluster = Some(format!("pool {at}"));
        stream.headers(&[(":method", "POST"), (":path", "/v1/chat/completions")], false);
        let mut body = conversation("topic", 1);
        body["model"] = json!("chat");
        stream.body(body.to_string().as_bytes(), true);
        let asked: Value = serde_json::from_slice(stream.edited.as_ref().unwrap()).unwrap();
        assert_eq!(asked["model"], format!("of pool {at}"));
        assert_eq!(pool_at(&chosen(&stream)), at);
        stream.complete();
    }
}

#[test]
fn a_body_that_is_not_read_goes_to_the_pool_that_the_route_has_drawn() {
    let vm = vm(&Host::default(), &Config { model_header: Some(MODEL_HEADER.to_owned()), ..shared(&[1, 1]) });
    for at in [0, 1, 0, 1] {
        let mut stream = vm.request();
        stream.cluster = Some(format!("pool {at}"));
        let head = [(":method", "POST"), (":path", "/v1/chat/completions"), ("content-encoding", "gzip")];
        stream.headers(&[&head[..], &[(MODEL_HEADER, "llama")]].concat(), false);
        stream.body(b"\x1F\x8B", true);
        assert_eq!(pool_at(&chosen(&stream)), at);
        stream.complete();
    }
}

#[test]
fn every_proxy_divides_them_alike() {
    let config = shared(&[1, 1, 1]);
    let (one, two) = (vm(&Host::default(), &config), vm(&Host::default(), &config));
    for number in 0..50 {
        let body = conversation(&format!("topic {number}"), 2);
        assert_eq!(pool_of(&one, &body), pool_of(&two, &body));
    }
}

#[test]
fn a_pool_whose_endpoints_all_fail_gets_no_conversation_and_the_others_keep_theirs() {
    let host = Host::default();
    let config = shared(&[1, 1, 1]);
    let vm = vm(&host, &config);
    let before: Vec<_> = (0..60).map(|n| pool_of(&vm, &conversation(&format!("topic {n}"), 1))).collect();
    let mut failing = BTreeSet::new();
    // Requests of a conversation of the first pool, until each of its endpoints has failed one.
    let lost = before.iter().position(|pool| *pool == 0).unwrap();
    for _ in 0..20 {
        if failing.len() == EACH {
            break;
        }
        let mut stream = serve(&vm, &conversation(&format!("topic {lost}"), 2));
        failing.insert(chosen(&stream));
        stream.response_headers(&[(":status", "503")], true);
        stream.finish();
    }
    assert_eq!(
        failing.into_iter().collect::<Vec<_>>(),
        endpoints(EACH),
        "all of the first pool, and no other"
    );
    for (number, before) in before.into_iter().enumerate() {
        let after = pool_of(&vm, &conversation(&format!("topic {number}"), 1));
        assert!(if before == 0 { after != 0 } else { after == before }, "{number}: {before}, then {after}");
    }
}

#[test]
fn a_pool_without_endpoints_gets_no_conversation() {
    let mut config = shared(&[1, 1]);
    config.pools.pools[0].endpoints.clear();
    let host = Host::default();
    let vm = vm(&host, &Config { controller: with_controller().controller, ..config });
    assert!(host.metric("warmpath.rejected.no_endpoint_known") == 0);
    assert!(!shares(&vm, 20).contains_key(&0));
}

#[test]
fn a_stored_response_is_continued_in_the_pool_that_has_it() {
    let host = Host::default();
    let vm = vm(&host, &shared(&[1, 1]));
    for number in 0..20 {
        let first =
            json!({"model": "llama", "input": text(&format!("topic {number}"), 500), "stream": false});
        let mut stream = post(&vm, "/v1/responses", &first.to_string());
        let keeper = chosen(&stream);
        let id = format!("resp_{number}");
        stream.response_headers(&[(":status", "200"), ("content-type", "application/json")], false);
        stream.response_body(json!({"id": id, "object": "response"}).to_string().as_bytes(), true);
        stream.finish();
        let next = json!({"model": "llama", "input": "and more", "previous_response_id": id});
        let stream = post(&vm, "/v1/responses", &next.to_string());
        assert_eq!(chosen(&stream), keeper, "{id}");
        stream.complete();
    }
}

#[test]
fn a_rule_of_the_pool_that_serves_the_conversation_applies() {
    let vm = vm(&Host::default(), &aliased());
    let mut seen = BTreeSet::new();
    for number in 0..30 {
        let mut body = conversation(&format!("topic {number}"), 1);
        body["model"] = json!("chat");
        let stream = serve(&vm, &body);
        let asked: Value = serde_json::from_slice(stream.edited.as_ref().unwrap()).unwrap();
        let at = pool_at(&chosen(&stream));
        assert_eq!(asked["model"], format!("of pool {at}"));
        seen.insert(at);
        stream.complete();
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn the_list_has_a_shared_model_once() {
    let host = Host::default();
    let vm = vm(&host, &shared(&[1, 1]));
    let mut stream = vm.request();
    stream.headers(&[(":method", "GET"), (":path", "/v1/models")], true);
    let list: Value = serde_json::from_slice(&stream.reply.as_ref().unwrap().body).unwrap();
    assert_eq!(list["data"].as_array().unwrap().len(), 1, "{list}");
    stream.finish();
}
