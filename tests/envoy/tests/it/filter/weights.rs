//! A weighted route to several clusters, each with a pool that serves the model: Envoy draws a cluster for each request, and
//! ignores endpoints of the others.

use crate::stack::{MODEL, PATH, Setup, Stack, cached_tokens, completion, engine_of, prompt};
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::{HeaderMatcher, RouteConfiguration, WeightedCluster};
use envoy_types::pb::google::protobuf::UInt32Value;
use http::StatusCode;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use warmpath_envoy::resources::{Policy, Retry, endpoints, engines, listener, route};
use warmpath_envoy::until;

/// Each pool, its cluster by the names of two gateways, and its engines.
const POOLS: [(&str, &str, Range<usize>); 2] = [
    ("llm/first", "outbound|54321||first-ip-a7937b64.llm.svc.cluster.local", 0..3),
    ("llm/second", "llm/second", 3..6),
];
const TOPICS: usize = 8;
const TURNS: usize = 8;

#[tokio::test]
async fn the_filter_chooses_in_the_cluster_that_the_route_has_drawn() {
    let stack = weighted(route_by_weight()).await;
    let client = stack.client().await;
    let mut holders: BTreeMap<(usize, usize), String> = BTreeMap::new();
    for turn in 0..TURNS {
        for topic in 0..TOPICS {
            let body = completion(MODEL, &prompt(&format!("topic {topic}")));
            let response = client.post_json(PATH, &body).await.unwrap();
            assert_eq!(response.status, StatusCode::OK, "{}", response.text());
            let engine = engine_of(&response).to_owned();
            let at = (0..6).find(|at| stack.engine(*at).name() == engine).unwrap();
            let chosen = response.header("x-warmpath-decision").unwrap();
            let address = stack.engine(at).addr().to_string();
            assert!(chosen.contains(&format!("endpoints={address}")), "{engine} {address}: {chosen}");
            // Where Envoy draws the same pool again, the turn finds its prefix.
            let pool = POOLS.iter().position(|(.., members)| members.contains(&at)).unwrap();
            let is_later = holders.contains_key(&(topic, pool));
            assert_eq!(cached_tokens(&response) > 400, is_later, "turn {turn} of topic {topic}");
            assert_eq!(*holders.entry((topic, pool)).or_insert(engine.clone()), engine);
        }
    }
    let drawn: BTreeSet<usize> = holders.keys().map(|(_, pool)| *pool).collect();
    assert_eq!(drawn.len(), POOLS.len(), "both are drawn");
    stack.counted("decision.warm", u64::try_from(TOPICS * TURNS - holders.len()).unwrap()).await;
    assert_eq!(stack.metric("retried").await, 0);
}

#[tokio::test]
async fn an_engine_is_not_avoided_because_the_route_leads_elsewhere() {
    // The route is chosen by what the filter finds in the body, so that the filter sees the cluster of another one.
    let mut config = route(&Retry::default());
    let mut by_model = route_by_weight().virtual_hosts.remove(0).routes.remove(0);
    by_model.r#match.as_mut().unwrap().headers.push(HeaderMatcher {
        name: "x-gateway-model-name".to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::PresentMatch(true)),
        ..HeaderMatcher::default()
    });
    config.virtual_hosts[0].routes.insert(0, by_model);
    let stack = weighted(config).await;
    let client = stack.client().await;
    let mut misled = 0;
    for topic in 0..TOPICS * TURNS {
        let body = completion(MODEL, &prompt(&format!("topic {topic}")));
        let response = client.post_json(PATH, &body).await.unwrap();
        assert_eq!(response.status, StatusCode::OK, "{}", response.text());
        let address = stack.engine_named(engine_of(&response)).addr().to_string();
        let decision = response.header("x-warmpath-decision").unwrap();
        misled += usize::from(!decision.contains(&format!("endpoints={address}")));
        assert!(decision.contains("considered=3"), "{decision}");
    }
    assert!(misled > 0, "the dice of Envoy and the weights of the pools agree by chance only");
    stack.counted("decision.cold", 1).await;
    assert_eq!(stack.metric("retried").await, 0);
}

/// A stack with these routes, which lead to one cluster for each pool.
async fn weighted(config: RouteConfiguration) -> Stack {
    let setup = Setup { pools: vec![(MODEL, 0..6)], engines: 6, has_controller: false, ..Setup::default() };
    let stack = Stack::start(setup).await;
    let mut plugin = stack.plugin();
    plugin["pools"] = POOLS
        .map(|(name, _, members)| {
            let addresses: Vec<_> = stack.addresses(members).iter().map(ToString::to_string).collect();
            // A configuration may name a model in one pool only, but an alias in several.
            let rewrites = json!([{ "model": MODEL, "targets": [{ "model": MODEL }] }]);
            json!({ "name": name, "models": [name], "rewrites": rewrites, "endpoints": addresses })
        })
        .into();
    let mut resources = vec![listener(&stack.filter(plugin)).into(), config.into()];
    for (_, cluster, members) in POOLS {
        resources.push(Cluster { name: cluster.to_owned(), ..engines(Policy::default()) }.into());
        resources.push(endpoints(cluster, &stack.addresses(members)).into());
    }
    stack.plane.apply(resources).await.unwrap();
    until("the route by weight and the pools", async || {
        // A connection of its own: those that are open keep the configuration that they began with.
        let client = stack.client().await;
        let response = client.post_json(PATH, &completion(MODEL, "here")).await.unwrap();
        let decision = response.header("x-warmpath-decision")?;
        (response.status == StatusCode::OK && decision.contains("considered=3")).then_some(())
    })
    .await
    .unwrap();
    stack
}

fn route_by_weight() -> RouteConfiguration {
    let mut config = route(&Retry::default());
    let cluster = |(_, name, _): (&str, &str, Range<usize>)| ClusterWeight {
        name: name.to_owned(),
        weight: Some(UInt32Value { value: 1 }),
        ..ClusterWeight::default()
    };
    let clusters = WeightedCluster { clusters: POOLS.map(cluster).into(), ..WeightedCluster::default() };
    if let Some(Action::Route(action)) = &mut config.virtual_hosts[0].routes[0].action {
        action.cluster_specifier = Some(ClusterSpecifier::WeightedClusters(clusters));
    }
    config
}
