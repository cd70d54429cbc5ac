//! Long prompts: held by a filter that waits for the whole body, and sent again on a retry.

use crate::backend::Backend;
use bytes::Bytes;
use http::{Method, StatusCode};
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::resources::{BUFFER_BYTES_MAX, DESTINATION_HEADER, Filter, GATEWAY, Gateway};
use warmpath_envoy::xds::ControlPlane;
use warmpath_http::Client;

/// Longer than the longest body that must pass, and than any default of Envoy's.
const BODY_BYTES: usize = 24 << 20;

#[tokio::test]
async fn a_body_reaches_the_second_engine_whole_when_the_first_is_full() {
    let full = Backend::start(StatusCode::SERVICE_UNAVAILABLE).await;
    let free = Backend::start(StatusCode::OK).await;
    let list = format!("{},{}", full.addr(), free.addr());
    let mut sent = Vec::new();
    for filter in [Filter::None, Filter::Buffer] {
        let gateway = Gateway::new(filter, &[full.addr(), free.addr()]);
        let plane = ControlPlane::start(gateway.resources()).await.unwrap();
        let envoy = Envoy::from_control_plane(&plane, &Launch::default()).await.unwrap();
        let address = envoy.listener(GATEWAY).await.unwrap();

        for client in [Client::http1(address), Client::h2c(address)] {
            for bytes in [1 << 20, BODY_BYTES] {
                let body = Bytes::from(vec![b'a'; bytes]);
                let response = client
                    .send(Method::POST, "/v1/completions", &[(DESTINATION_HEADER, &list)], body)
                    .await
                    .unwrap();
                assert_eq!(response.status, StatusCode::OK, "{bytes} bytes: {}", response.text());
                sent.push(bytes);
            }
        }
    }
    assert_eq!(full.body_lengths(), sent);
    assert_eq!(free.body_lengths(), sent);
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_refused_and_the_proxy_lives() {
    let engine = Backend::start(StatusCode::OK).await;
    let gateway = Gateway::new(Filter::Buffer, &[engine.addr()]);
    let plane = ControlPlane::start(gateway.resources()).await.unwrap();
    let envoy = Envoy::from_control_plane(&plane, &Launch::default()).await.unwrap();
    let client = Client::http1(envoy.listener(GATEWAY).await.unwrap());

    let too_long = vec![b'a'; usize::try_from(BUFFER_BYTES_MAX).unwrap() + (1 << 20)];
    // Envoy answers and closes while the client still writes, so the client may see either.
    if let Ok(response) = client.send(Method::POST, "/v1/completions", &[], too_long.into()).await {
        assert_eq!(response.status, StatusCode::PAYLOAD_TOO_LARGE);
    }
    let too_large = format!("http.{GATEWAY}.downstream_rq_too_large");
    assert_eq!(envoy.admin().stat(&too_large).await.unwrap(), 1);
    assert_eq!(client.get("/v1/models").await.unwrap().status, StatusCode::OK);
    assert_eq!(engine.body_lengths(), [0]);
}
