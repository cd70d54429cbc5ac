//! What the router says to the proxy beside the endpoint: how often to retry, and the decision for its log.

use crate::support::{Host, chat, destinations, finish_all, serve, static_config, text, vm, with_controller};
use serde_json::json;
use warmpath_core::config::{Config, Explain};

#[test]
fn a_full_endpoint_is_not_asked_again_for_the_same_request() {
    for (endpoints, retries) in [(1, Some("1")), (2, Some("1")), (3, Some("2")), (4, None), (9, None)] {
        let stream = serve(&vm(&Host::default(), &static_config(endpoints)), &chat("hello"));
        let header = |name| stream.request_headers.get(name).map(String::as_str);
        assert_eq!(header("x-envoy-max-retries"), retries, "{endpoints} endpoints; the route says three");
        // Alone, an endpoint that reports that it is full has the last word.
        let by_status = (endpoints > 1).then_some("retriable-status-codes");
        assert_eq!(header("x-envoy-retry-on"), by_status, "{endpoints} endpoints");
        finish_all([stream]);
    }
}

#[test]
fn the_decision_is_for_the_log_and_not_for_the_client() {
    let silent = vm(&Host::default(), &Config { explain: Explain::Nobody, ..static_config(2) });
    let stream = serve(&silent, &chat(&text("whales", 2_000)));
    let decision = stream.properties.get("warmpath.decision").unwrap();
    assert!(decision.starts_with("reason=cold cached=0/"), "{decision}");
    assert!(decision.contains(&destinations(&stream).join(",")), "{decision}");
    assert_eq!(stream.response_headers.get("x-warmpath-decision"), None);
    finish_all([stream]);

    let refused = serve(&silent, &json!({ "model": "unheard-of", "messages": [] }));
    assert_eq!(refused.properties.get("warmpath.decision").unwrap(), "rejected=model_not_found");
}

#[test]
fn a_request_is_counted_in_its_pool_and_never_under_a_name_that_a_client_made_up() {
    let host = Host::default();
    let mut stream = serve(&vm(&host, &static_config(2)), &chat(&text("whales", 2_000)));
    stream.response_headers(&[(":status", "500")], true);
    stream.finish();
    assert_eq!(
        host.metrics_in_pools(),
        ["llama warmpath.decision.cold 1", "llama warmpath.outcome.faulty 1"]
    );

    // Nobody knows any pool yet: Envoy chooses.
    let host = Host::default();
    let stream = serve(&vm(&host, &with_controller()), &json!({ "model": "unheard-of", "messages": [] }));
    assert_eq!(stream.properties.get("warmpath.decision").unwrap(), "fallback");
    stream.finish();
    assert_eq!(host.metrics_in_pools(), [""; 0]);
}
