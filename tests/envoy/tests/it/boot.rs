//! An Envoy that knows only its control plane serves whatever HTTP a client speaks.

use crate::backend::Backend;
use http::StatusCode;
use serde_json::json;
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::resources::{Filter, GATEWAY, Gateway};
use warmpath_envoy::xds::ControlPlane;
use warmpath_http::{Client, RawConnection};

#[tokio::test]
async fn boots_from_the_control_plane_and_serves_every_http() {
    let engine = Backend::start(StatusCode::OK).await;
    let plane = ControlPlane::start(Gateway::new(Filter::None, &[engine.addr()]).resources()).await.unwrap();
    let envoy = Envoy::from_control_plane(&plane, &Launch { workers: 2, ..Launch::default() }).await.unwrap();
    let gateway = envoy.listener(GATEWAY).await.unwrap();

    for client in [Client::http1(gateway), Client::h2c(gateway)] {
        let response = client.post_json("/v1/completions", &json!({ "prompt": "hello" })).await.unwrap();
        assert_eq!(response.status, StatusCode::OK);
        assert_eq!(response.json(), json!({ "served_by": engine.addr().to_string(), "bytes": 18 }));
    }

    let chunks = Client::http1(gateway)
        .stream_json("/v1/completions", &json!({}))
        .await
        .unwrap()
        .rest()
        .await
        .unwrap();
    assert!(!chunks.is_empty());

    let mut old = RawConnection::open(gateway).await.unwrap();
    old.send("GET /v1/models HTTP/1.0\r\n\r\n").await.unwrap();
    assert!(old.read_to_end().await.unwrap().starts_with("HTTP/1.0 200 OK"));

    let mut pipelined = RawConnection::open(gateway).await.unwrap();
    pipelined.send("GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n".repeat(3)).await.unwrap();
    pipelined.read_until(|text| text.matches("HTTP/1.1 200 OK").count() == 3).await.unwrap();
    pipelined.abort().unwrap();

    let served = envoy.admin().stat(&format!("http.{GATEWAY}.downstream_rq_2xx")).await.unwrap();
    assert_eq!(served, 7);
    assert_eq!(envoy.admin().stat("server.concurrency").await.unwrap(), 2);
    assert!(envoy.admin().memory().await.unwrap().allocated_bytes > 0);
    assert!(envoy.log().contains("starting main dispatch loop"));
    assert!(envoy.is_running());
}
