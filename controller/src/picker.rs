//! The endpoint picker of the Gateway API Inference Extension, for gateways that run without Warmpath's filter: it never chooses.
//!
//! ```text
//!   another gateway ═ ext_proc: headers, body ═► picker ═ the same, unchanged ═► the gateway balances by itself
//! ```
//!
//! Until version 1.5 of its definition, an InferencePool must name a picker. Warmpath's proxies choose by themselves, and take no notice
//! of it. A gateway of somebody else would wait for one that is not there, and refuse requests unless the pool says `FailOpen`. To
//! choose here would be the obvious thing, and would put a process beside the gateway into the way of each request.

use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode;
use envoy_types::pb::envoy::service::ext_proc::v3::body_mutation::Mutation;
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::{
    ExternalProcessor, ExternalProcessorServer,
};
use envoy_types::pb::envoy::service::ext_proc::v3::processing_request::Request as Part;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response as Verdict;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    BodyMutation, BodyResponse, CommonResponse, HeadersResponse, HttpBody, ProcessingRequest,
    ProcessingResponse, ProtocolConfiguration, StreamedBodyResponse, TrailersResponse,
};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Requests that may be under way at a time: each is a stream.
const STREAMS_MAX: usize = 4_096;
/// Responses of a stream that may wait for the gateway to read them.
const RESPONSES_MAX: usize = 1;

/// The service.
#[derive(Clone, Debug)]
pub struct Picker {
    streams: Arc<Semaphore>,
}

/// One request, as the gateway shows it piece by piece.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    returns_request: bool,
    returns_response: bool,
}

// === impl Picker ===

impl Picker {
    /// The service.
    pub fn service() -> ExternalProcessorServer<Self> {
        ExternalProcessorServer::new(Self { streams: Arc::new(Semaphore::new(STREAMS_MAX)) })
    }
}

#[tonic::async_trait]
impl ExternalProcessor for Picker {
    type ProcessStream = ReceiverStream<Result<ProcessingResponse, Status>>;

    async fn process(
        &self,
        requests: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let Ok(permit) = Arc::clone(&self.streams).try_acquire_owned() else {
            return Err(Status::resource_exhausted("too many requests"));
        };
        let (responses, out) = mpsc::channel(RESPONSES_MAX);
        tokio::spawn(serve(requests.into_inner(), responses, permit));
        Ok(Response::new(ReceiverStream::new(out)))
    }
}

/// Serves one stream, until the gateway ends it.
async fn serve(
    mut requests: Streaming<ProcessingRequest>,
    responses: mpsc::Sender<Result<ProcessingResponse, Status>>,
    _permit: OwnedSemaphorePermit,
) {
    let mut exchange = Exchange::default();
    while let Ok(Some(request)) = requests.message().await {
        if let Some(response) = exchange.pass(request)
            && responses.send(Ok(response)).await.is_err()
        {
            return;
        }
    }
}

// === impl Exchange ===

impl Default for Exchange {
    /// As the extension's protocol has it: bodies go to the picker, and come back from it.
    fn default() -> Self {
        Self { returns_request: true, returns_response: true }
    }
}

impl Exchange {
    /// Lets a piece pass; `None`: the gateway waits for nothing.
    fn pass(&mut self, request: ProcessingRequest) -> Option<ProcessingResponse> {
        if let Some(config) = &request.protocol_config {
            *self = Self::of(config);
        }
        if request.observability_mode {
            return None;
        }
        let verdict = match request.request? {
            Part::RequestHeaders(_) => Verdict::RequestHeaders(headers()),
            Part::RequestBody(body) => Verdict::RequestBody(returned(body, self.returns_request)),
            Part::RequestTrailers(_) => Verdict::RequestTrailers(TrailersResponse::default()),
            Part::ResponseHeaders(_) => Verdict::ResponseHeaders(headers()),
            Part::ResponseBody(body) => Verdict::ResponseBody(returned(body, self.returns_response)),
            Part::ResponseTrailers(_) => Verdict::ResponseTrailers(TrailersResponse::default()),
        };
        Some(ProcessingResponse { response: Some(verdict), ..ProcessingResponse::default() })
    }

    fn of(config: &ProtocolConfiguration) -> Self {
        let duplex = i32::from(BodySendMode::FullDuplexStreamed);
        Self {
            returns_request: config.request_body_mode == duplex,
            returns_response: config.response_body_mode == duplex,
        }
    }
}

fn headers() -> HeadersResponse {
    HeadersResponse { response: Some(CommonResponse::default()) }
}

/// A piece of a body: in full duplex, the gateway has given it away, and sends on only what comes back.
fn returned(body: HttpBody, is_duplex: bool) -> BodyResponse {
    let HttpBody { body, end_of_stream, .. } = body;
    let piece = StreamedBodyResponse { body, end_of_stream, ..StreamedBodyResponse::default() };
    let mutation = BodyMutation { mutation: Some(Mutation::StreamedResponse(piece)) };
    let body_mutation = is_duplex.then_some(mutation);
    BodyResponse { response: Some(CommonResponse { body_mutation, ..CommonResponse::default() }) }
}

#[cfg(test)]
mod tests {
    use super::{
        BodySendMode, Exchange, HttpBody, Mutation, Part, ProcessingRequest, ProtocolConfiguration, Verdict,
    };
    use envoy_types::pb::envoy::service::ext_proc::v3::HttpHeaders;

    fn body(text: &str) -> Part {
        Part::RequestBody(HttpBody { body: text.into(), end_of_stream: true, ..HttpBody::default() })
    }

    fn passed(exchange: &mut Exchange, request: ProcessingRequest) -> Option<Verdict> {
        exchange.pass(request)?.response
    }

    fn of_part(part: Part) -> ProcessingRequest {
        ProcessingRequest { request: Some(part), ..ProcessingRequest::default() }
    }

    #[test]
    fn bodies_come_back_where_the_gateway_has_given_them_away_and_nowhere_else() {
        let mut exchange = Exchange::default();
        let Some(Verdict::RequestBody(response)) = passed(&mut exchange, of_part(body("prompt"))) else {
            panic!("no response to a body");
        };
        let mutation = response.response.unwrap().body_mutation.unwrap().mutation;
        let Some(Mutation::StreamedResponse(piece)) = mutation else { panic!("{mutation:?}") };
        assert_eq!((piece.body.as_slice(), piece.end_of_stream), (b"prompt".as_slice(), true));

        let buffered = ProtocolConfiguration {
            request_body_mode: BodySendMode::Buffered.into(),
            ..ProtocolConfiguration::default()
        };
        let request = ProcessingRequest { protocol_config: Some(buffered), ..of_part(body("prompt")) };
        let Some(Verdict::RequestBody(response)) = passed(&mut exchange, request) else {
            panic!("no response to a body");
        };
        assert_eq!(response.response.unwrap().body_mutation, None);
    }

    #[test]
    fn headers_pass_unchanged_and_who_only_observes_gets_nothing() {
        let mut exchange = Exchange::default();
        let part = || Part::RequestHeaders(HttpHeaders::default());
        let Some(Verdict::RequestHeaders(response)) = passed(&mut exchange, of_part(part())) else {
            panic!("no response to headers");
        };
        assert_eq!(response.response.unwrap().header_mutation, None, "no endpoint is chosen");
        let request = ProcessingRequest { observability_mode: true, ..of_part(part()) };
        assert_eq!(passed(&mut exchange, request), None);
        assert_eq!(passed(&mut exchange, ProcessingRequest::default()), None);
    }
}
