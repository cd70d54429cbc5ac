//! Where requests go: to the engine that has their beginning, by the model they name, or nowhere.

use crate::stack::{
    EXPLAIN, MODEL, PATH, Setup, Stack, cached_tokens, completion, engine_of, explain_anywhere, prompt,
};
use bytes::Bytes;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::{HeaderMatcher, RouteConfiguration};
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use warmpath_envoy::resources::{
    DESTINATION_HEADER, ENGINES, Policy, Retry, endpoints, engines, listener, route,
};
use warmpath_envoy::until;
use warmpath_http::{Client, Response};

const MODEL_HEADER: &str = "x-gateway-model-name";
const OTHER_CLUSTER: &str = "other";
/// With letters beyond ASCII, a slash, a space and a colon.
const OTHER_MODEL: &str = "org/模型 v2:latest";

#[tokio::test]
async fn a_conversation_stays_where_its_beginning_is_cached() {
    let stack = Stack::usual().await;
    let client = stack.client().await;
    for topic in ["whales", "bridges", "glass", "salt"] {
        let mut messages = vec![json!({ "role": "user", "content": prompt(topic) })];
        let mut served_by = None;
        for turn in 0..4 {
            let body = json!({ "model": MODEL, "messages": messages, "max_tokens": 32 });
            let response = client.post_json("/v1/chat/completions", &body).await.unwrap();
            assert_eq!(response.status, StatusCode::OK, "{}", response.text());
            let engine = engine_of(&response).to_owned();
            assert_eq!(*served_by.get_or_insert(engine.clone()), engine, "{topic}, turn {turn}");
            assert_eq!(cached_tokens(&response) > 400, turn > 0, "{topic}, turn {turn}");
            let said = response.json().pointer("/choices/0/message/content").cloned().unwrap();
            messages.push(json!({ "role": "assistant", "content": said }));
            messages.push(json!({ "role": "user", "content": format!("and more of {topic}") }));
        }
    }
    // The filter reads what engines say of their caches.
    stack.counted("tokens.cached", 1).await;
}

#[tokio::test]
async fn the_model_of_the_body_chooses_the_route() {
    let stack = two_pools().await;
    let client = stack.client().await;
    for turn in 0..20 {
        for (model, forged) in [(MODEL, OTHER_MODEL), (OTHER_MODEL, MODEL)] {
            let body = completion(model, &prompt(&format!("{turn}")));
            let response = client.post_json_with(PATH, &[(MODEL_HEADER, forged)], &body).await.unwrap();
            assert_eq!(response.status, StatusCode::OK, "{}", response.text());
            assert_eq!(is_other(&response), model == OTHER_MODEL, "{model}");
        }
    }
    // Without a body the header that the client set would be the only one.
    let forged = [(MODEL_HEADER, OTHER_MODEL)];
    let response = client.send(Method::GET, "/version", &forged, Bytes::new()).await.unwrap();
    assert!(!is_other(&response));
}

#[tokio::test]
async fn a_model_that_is_hard_to_find_leads_to_its_engines() {
    let stack = two_pools().await;
    let json = [("content-type", "application/json")];
    let large =
        format!(r#"{{"model":"{MODEL}","prompt":"{}","model":"{OTHER_MODEL}"}}"#, "a".repeat(40 << 20));
    let part = |name: &str, value: &str| {
        format!("--x7\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let form =
        [part("file\"; filename=\"a", "sound"), part("model", OTHER_MODEL), "--x7--\r\n".to_owned()].concat();
    let multipart = [("content-type", "multipart/form-data; boundary=x7")];
    for client in [stack.client().await, Client::h2c(stack.gateway(0).await)] {
        let send = async |path: &str, headers: &[(&str, &str)], body: &str| {
            client.send(Method::POST, path, headers, Bytes::from(body.to_owned())).await.unwrap()
        };
        assert!(is_other(&send(PATH, &json, &large).await), "of 40 MiB, in pieces");
        assert!(is_other(&send("/v1/audio/transcriptions", &multipart, &form).await));
        let curl = [("content-type", "application/x-www-form-urlencoded")];
        assert!(is_other(&send(PATH, &curl, &completion(OTHER_MODEL, "here").to_string()).await));
    }
}

#[tokio::test]
async fn a_client_of_several_pools_learns_of_all_and_of_its_own_faults() {
    let stack = two_pools().await;
    let client = stack.client().await;
    let of_script = [("origin", "https://a.example"), ("x-request-id", "id-1")];
    let models = client.send(Method::GET, "/v1/models", &of_script, Bytes::new()).await.unwrap();
    let ids: Vec<_> =
        models.json()["data"].as_array().unwrap().iter().map(|model| model["id"].clone()).collect();
    assert_eq!(ids, [MODEL, OTHER_MODEL]);
    assert_eq!(models.header("access-control-allow-origin"), Some("*"));

    let compressed = [&of_script[..], &[("content-encoding", "gzip")]].concat();
    let refused = client
        .send(Method::POST, "/v1/messages", &compressed, Bytes::from_static(b"\x1F\x8B"))
        .await
        .unwrap();
    assert_eq!(refused.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(refused.json()["type"], "error", "Anthropic's shape on Anthropic's path");
    assert_eq!(refused.header("x-warmpath-reason"), Some("encoded"));
    assert!(refused.header("x-request-id").is_some() && refused.header("request-id").is_some());
}

/// A stack with the usual pool and one for the other model, whose engines are a cluster of their own.
async fn two_pools() -> Stack {
    let setup = Setup {
        pools: vec![(MODEL, 0..2), (OTHER_MODEL, 2..4)],
        engines: 4,
        has_controller: false,
        ..Setup::default()
    };
    let stack = Stack::start(setup).await;
    let other = Cluster { name: OTHER_CLUSTER.to_owned(), ..engines(Policy::default()) };
    stack
        .plane
        .apply([
            other.into(),
            endpoints(OTHER_CLUSTER, &stack.addresses(2..4)).into(),
            endpoints(ENGINES, &stack.addresses(0..2)).into(),
            route_by_model().into(),
        ])
        .await
        .unwrap();
    let client = stack.client().await;
    until("the route by model", async || {
        let response = client.post_json(PATH, &completion(OTHER_MODEL, "here")).await.unwrap();
        (response.status == StatusCode::OK && is_other(&response)).then_some(())
    })
    .await
    .unwrap();
    stack
}

fn is_other(response: &Response) -> bool {
    ["engine-2", "engine-3"].contains(&engine_of(response))
}

/// Requests for the other model to the other cluster, all else as usual.
fn route_by_model() -> RouteConfiguration {
    let mut config = route(&Retry::default());
    let mut to_other = config.virtual_hosts[0].routes[0].clone();
    to_other.r#match.as_mut().unwrap().headers.push(HeaderMatcher {
        name: MODEL_HEADER.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(MatchPattern::Exact(OTHER_MODEL.to_owned())),
            ..StringMatcher::default()
        })),
        ..HeaderMatcher::default()
    });
    if let Some(Action::Route(action)) = &mut to_other.action {
        action.cluster_specifier = Some(ClusterSpecifier::Cluster(OTHER_CLUSTER.to_owned()));
    }
    config.virtual_hosts[0].routes.insert(0, to_other);
    config
}

#[tokio::test]
async fn a_request_that_nobody_can_serve_is_told_why() {
    let mut stack = Stack::usual().await;
    let client = stack.client().await;

    let unknown = client.post_json(PATH, &completion("unheard-of", "hello")).await.unwrap();
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(unknown.header("content-type"), Some("application/json"));
    assert_eq!(unknown.json().pointer("/error/code"), Some(&json!("model_not_found")));
    assert_eq!(unknown.json().pointer("/error/param"), Some(&json!("model")));

    let nobody = stack.pools(&[(MODEL, 0..0)]);
    stack.controller().set_pools(&nobody);
    let refused = until("the pool to be empty", async || {
        let response = client.post_json(PATH, &completion(MODEL, "hello")).await.unwrap();
        (response.status != StatusCode::OK).then_some(response)
    })
    .await
    .unwrap();
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.json().pointer("/error/code"), Some(&json!("no_endpoint_known")));
}

#[tokio::test]
async fn an_explanation_names_who_holds_the_prompt_and_sends_nothing() {
    let stack = Stack::usual().await;
    let client = stack.client().await;
    let body = completion(MODEL, &prompt("amber"));
    let served_by = client.post_json(PATH, &body).await.unwrap();
    let holder = stack.engine_named(engine_of(&served_by)).addr().to_string();

    let explanation = client.post_json_with(PATH, &[EXPLAIN], &body).await.unwrap();
    assert_eq!(explanation.status, StatusCode::OK);
    assert_eq!(explanation.json().get("pool"), Some(&json!(format!("pool-{MODEL}"))));
    assert_eq!(explanation.json().get("reason"), Some(&json!("warm")));
    assert_eq!(explanation.header("x-engine"), None);
    let candidates = explain_anywhere(&client, &body).await.unwrap();
    assert_eq!(candidates.len(), 3);
    assert_eq!(candidates[0].endpoint, holder);
    assert!(candidates[0].cells > 0 && candidates[1].cells == 0 && candidates[2].cells == 0);

    // Where the configuration does not allow it, a client learns nothing.
    let mut silent = stack.plugin();
    silent["explain"] = Value::Bool(false);
    stack.plane.apply([listener(&stack.filter(silent)).into()]).await.unwrap();
    until("the silent configuration", async || {
        // A connection of its own: those that are open keep the configuration that they began with.
        let client = Client::http1(stack.gateway(0).await);
        let response = client.post_json_with(PATH, &[EXPLAIN], &body).await.unwrap();
        (response.header("x-engine").is_some() && response.header("x-warmpath-decision").is_none())
            .then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_forged_destination_does_not_choose() {
    let stack = Stack::usual().await;
    let client = stack.client().await;
    let body = completion(MODEL, &prompt("forged"));
    let first = client.post_json(PATH, &body).await.unwrap();
    let holder = engine_of(&first).to_owned();
    for at in 0..3 {
        let wanted = stack.engine(at).addr().to_string();
        let forged = (DESTINATION_HEADER, wanted.as_str());
        let headers = [forged, forged, ("x-warmpath-decision", "forged")];
        let response = client.post_json_with(PATH, &headers, &body).await.unwrap();
        assert_eq!(engine_of(&response), holder);
        assert!(response.header("x-warmpath-decision").unwrap().contains("reason=warm"));
    }
}
