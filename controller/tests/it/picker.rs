//! The picker that never chooses, as a gateway's `ext_proc` filter speaks with it.

use crate::support::quiet_settings;
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_request::Request as Part;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response as Verdict;
use envoy_types::pb::envoy::service::ext_proc::v3::{HttpBody, HttpHeaders, ProcessingRequest};
use tempfile::TempDir;
use warmpath::config::Settings;
use warmpath::run::start;

/// A gateway has no token of Warmpath's: it would refuse its requests.
#[tokio::test]
async fn a_gateway_without_a_token_gets_its_request_back_unchanged() {
    let folder = TempDir::new().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "a-token-that-the-gateway-does-not-have").unwrap();
    let settings = Settings { token_file: Some(token_file), ..quiet_settings() };
    let running = start(settings).await.unwrap();
    let url = format!("http://{}", running.grpc_addr());
    let mut client = ExternalProcessorClient::connect(url).await.unwrap();
    let piece = |text: &str, end_of_stream| {
        Part::RequestBody(HttpBody { body: text.into(), end_of_stream, ..HttpBody::default() })
    };
    let parts =
        [Part::RequestHeaders(HttpHeaders::default()), piece("{\"model\": ", false), piece("\"m\"}", true)];
    let requests =
        parts.map(|part| ProcessingRequest { request: Some(part), ..ProcessingRequest::default() });
    let responses = client.process(tokio_stream::iter(requests)).await.unwrap();
    let mut responses = responses.into_inner();
    let mut bodies = 0;
    while let Some(response) = responses.message().await.unwrap() {
        match response.response.unwrap() {
            Verdict::RequestHeaders(headers) => {
                assert_eq!(headers.response.unwrap().header_mutation, None, "no endpoint is chosen");
            }
            Verdict::RequestBody(_) => bodies += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bodies, 2);
    running.shutdown().await;
}
