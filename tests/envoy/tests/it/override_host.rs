//! The header that says where a request goes: in its order, and never out of the cluster.

use crate::backend::{Backend, DeadAddress};
use bytes::Bytes;
use futures::future::join_all;
use http::{Method, StatusCode};
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::resources::{DESTINATION_HEADER, Filter, GATEWAY, Gateway, Retry, route};
use warmpath_envoy::until;
use warmpath_envoy::xds::ControlPlane;
use warmpath_http::{Client, Response};

/// Enough requests that a choice made by chance, between two engines, does not look like ours.
const REQUESTS: usize = 20;

/// Far more than the three retries that Envoy allows a cluster at once unless told otherwise.
const AT_ONCE: usize = 200;

async fn send_to(client: &Client, destination: &str) -> Response {
    client
        .send(Method::POST, "/v1/completions", &[(DESTINATION_HEADER, destination)], Bytes::from("prompt"))
        .await
        .unwrap()
}

fn served_by(response: &Response) -> String {
    response.json().get("served_by").unwrap().as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_header_chooses_in_the_cluster_and_reaches_nothing_outside() {
    let (other, chosen) = (Backend::start(StatusCode::OK).await, Backend::start(StatusCode::OK).await);
    let outside = Backend::start(StatusCode::OK).await;
    let gateway = Gateway::new(Filter::None, &[other.addr(), chosen.addr()]);
    let plane = ControlPlane::start(gateway.resources()).await.unwrap();
    let envoy = Envoy::from_control_plane(&plane, &Launch::default()).await.unwrap();
    let client = Client::http1(envoy.listener(GATEWAY).await.unwrap());

    for _ in 0..REQUESTS {
        let response = send_to(&client, &format!("{},{}", outside.addr(), chosen.addr())).await;
        assert_eq!(served_by(&response), chosen.addr().to_string());
    }
    for forged in [outside.addr().to_string(), "169.254.169.254:80".to_owned(), "nonsense".to_owned()] {
        assert_eq!(
            send_to(&client, &forged).await.status,
            StatusCode::OK,
            "{forged}: the fallback serves it"
        );
    }
    assert_eq!(outside.body_lengths(), [0; 0]);
}

#[tokio::test]
async fn a_retry_takes_the_next_endpoint_of_the_header() {
    let (other, chosen) = (Backend::start(StatusCode::OK).await, Backend::start(StatusCode::OK).await);
    let full = Backend::start(StatusCode::SERVICE_UNAVAILABLE).await;
    let dead = DeadAddress::new();
    let gateway = Gateway::new(Filter::None, &[other.addr(), chosen.addr(), full.addr(), dead.addr()]);
    let plane = ControlPlane::start(gateway.resources()).await.unwrap();
    let envoy = Envoy::from_control_plane(&plane, &Launch::default()).await.unwrap();
    let client = Client::http1(envoy.listener(GATEWAY).await.unwrap());

    let list = format!("{},{},{}", dead.addr(), full.addr(), chosen.addr());
    for _ in 0..REQUESTS {
        let response = send_to(&client, &list).await;
        assert_eq!((response.status, served_by(&response)), (StatusCode::OK, chosen.addr().to_string()));
    }
    assert_eq!(full.body_lengths().len(), REQUESTS);
    assert_eq!(
        envoy.admin().stat("cluster.engines.upstream_rq_retry").await.unwrap(),
        u64::try_from(2 * REQUESTS).unwrap()
    );

    // The retry is the route's: without it the first answer is the last.
    plane.apply([route(&Retry { retries_max: 0, ..Retry::default() }).into()]).await.unwrap();
    until("the route without retries", async || {
        let response = send_to(&client, &full.addr().to_string()).await;
        (response.status == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn many_retries_at_once_are_all_made() {
    let full = Backend::start(StatusCode::SERVICE_UNAVAILABLE).await;
    let free = Backend::start(StatusCode::OK).await;
    let plane = ControlPlane::start(Gateway::new(Filter::None, &[full.addr(), free.addr()]).resources());
    let plane = plane.await.unwrap();
    let envoy = Envoy::from_control_plane(&plane, &Launch::default()).await.unwrap();
    let client = Client::http1(envoy.listener(GATEWAY).await.unwrap());

    let list = format!("{},{}", full.addr(), free.addr());
    let responses = join_all((0..AT_ONCE).map(|_| send_to(&client, &list))).await;
    let failed = responses.iter().filter(|response| response.status != StatusCode::OK).count();
    assert_eq!(failed, 0, "of {AT_ONCE}");
}
