//! Clients that leave while their requests are held. Nothing of them may stay: no stream, no place in the queue, no request that an
//! engine gets later.

use super::{Kind, ask, pool, wait_at_rest, wait_counted, wait_held, wait_known};
use crate::eds::{addresses, engines, gateway, shipped, start, wait_connected, wait_hosts};
use crate::stack::Controller;
use futures::future::join_all;
use http::StatusCode;
use warmpath_envoy::process::Launch;

/// Requests of each kind that stay, and as many that leave.
const OF_EACH: usize = 4;

#[tokio::test]
async fn nothing_stays_of_clients_that_left_while_held() {
    let engines = engines(2).await;
    let controller = Controller::start(&pool(&[], 60)).await;
    let launch = Launch { workers: 2, ..Launch::default() };
    let envoy = start(&shipped(&[controller.addr()]), &launch).await;
    wait_hosts(&envoy, &[]).await;
    wait_connected(&envoy).await;
    let gateway = gateway(&envoy).await;
    let (staying, leaving) = (ask(gateway, OF_EACH), ask(gateway, OF_EACH));
    let count = staying.len();
    wait_held(&envoy, 2 * count).await;
    // A client ends with its request: HTTP/1.1 closes the connection, HTTP/2 resets the stream.
    for request in &leaving {
        request.abort();
    }
    wait_counted(&envoy, "hold_left.endpoint", count.try_into().unwrap()).await;
    wait_known(controller.http_addr(), count.try_into().unwrap()).await;

    controller.set_pools(&pool(&addresses(&engines), 60));
    for response in join_all(staying).await {
        let response = response.unwrap().unwrap();
        assert_eq!(response.status, StatusCode::OK, "{}", response.text());
    }
    wait_at_rest(&envoy).await;
    let finished: u64 = engines.iter().map(|engine| engine.state().finished).sum();
    assert_eq!(finished, u64::try_from(OF_EACH * Kind::ALL.len()).unwrap(), "those that left are not asked");
}
