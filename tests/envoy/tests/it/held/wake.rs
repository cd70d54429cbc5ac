//! A pool that has no endpoint gets one: over EDS to Envoy's cluster, over the state stream to the filter. Which of the two comes
//! first is chance, and no client may notice.

use super::{ask, pool, wait_at_rest, wait_counted, wait_held, wait_known};
use crate::eds::{addresses, engines, gateway, shipped, start, wait_connected, wait_hosts};
use crate::stack::Controller;
use futures::future::join_all;
use http::StatusCode;
use warmpath_envoy::process::Launch;

/// Requests of each kind.
const OF_EACH: usize = 8;

#[tokio::test]
async fn all_held_requests_are_served_when_endpoints_come() {
    let engines = engines(3).await;
    let controller = Controller::start(&pool(&[], 60)).await;
    let launch = Launch { workers: 2, ..Launch::default() };
    let envoy = start(&shipped(&[controller.addr()]), &launch).await;
    wait_hosts(&envoy, &[]).await;
    wait_connected(&envoy).await;
    let asked = ask(gateway(&envoy).await, OF_EACH);
    let count = asked.len();
    wait_held(&envoy, count).await;
    wait_known(controller.http_addr(), count.try_into().unwrap()).await;

    controller.set_pools(&pool(&addresses(&engines), 60));
    for response in join_all(asked).await {
        let response = response.unwrap().unwrap();
        assert_eq!(response.status, StatusCode::OK, "{}", response.text());
    }
    for engine in &engines {
        assert!(engine.state().finished > 0, "all of them went to the other engines");
    }
    wait_counted(&envoy, "hold_resumed.endpoint", count.try_into().unwrap()).await;
    wait_known(controller.http_addr(), 0).await;
    wait_at_rest(&envoy).await;
}

#[tokio::test]
async fn whoever_has_waited_for_as_long_as_the_pool_allows_gets_a_response_that_says_when_to_ask_again() {
    let controller = Controller::start(&pool(&[], 1)).await;
    let envoy = start(&shipped(&[controller.addr()]), &Launch::default()).await;
    wait_connected(&envoy).await;
    for response in join_all(ask(gateway(&envoy).await, 1)).await {
        let response = response.unwrap().unwrap();
        assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE, "{}", response.text());
        let seconds = response.header("retry-after").unwrap_or_else(|| panic!("{:?}", response.headers));
        assert!(seconds.parse::<u32>().is_ok(), "{seconds}");
    }
    wait_known(controller.http_addr(), 0).await;
    wait_at_rest(&envoy).await;
}
