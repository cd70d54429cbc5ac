//! A proxy that holds as much as it may refuses what comes then, at once, and serves those that it holds.

use super::disturbed::{asleep, wake};
use super::{ask, wait_counted, wait_held};
use crate::stack::Setup;
use futures::future::join_all;
use http::StatusCode;
use serde_json::json;

/// Requests that the proxy may hold, of the five that come.
const REQUESTS_MAX: usize = 3;

#[tokio::test]
async fn what_comes_beyond_the_bound_is_refused_with_the_time_after_which_to_ask_again() {
    let fields = json!({ "hold": { "requests_max": REQUESTS_MAX } });
    let mut stack = asleep(Setup { fields, ..Setup::default() }).await;
    let asked = ask(stack.gateway(0).await, 1);
    let beyond = asked.len() - REQUESTS_MAX;
    wait_held(stack.envoy(0), REQUESTS_MAX).await;
    wait_counted(stack.envoy(0), "rejected.hold_full", beyond.try_into().unwrap()).await;
    wake(&mut stack);
    let mut refused = 0;
    for response in join_all(asked).await {
        let response = response.unwrap().unwrap();
        if response.status != StatusCode::OK {
            assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE, "{}", response.text());
            assert!(response.header("retry-after").is_some(), "{:?}", response.headers);
            assert_eq!(response.header("x-llm-d-request-dropped-reason"), Some("rejected-no-endpoints"));
            refused += 1;
        }
    }
    assert_eq!(refused, beyond);
}
