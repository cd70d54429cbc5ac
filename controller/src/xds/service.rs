//! `envoy.service.endpoint.v3.EndpointDiscoveryService` as a service of the gRPC server, in both variants.

use super::stream::{Observer, Responses, open};
use super::{Delta, Kind, Reply, Resources, StateOfTheWorld};
use crate::metrics::Metrics;
use crate::publish::clip;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::envoy::service::endpoint::v3::endpoint_discovery_service_server::{
    EndpointDiscoveryService, EndpointDiscoveryServiceServer,
};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tonic::{Request, Response, Status, Streaming};
use warmpath_core::limits::PROXIES_MAX;

/// Most streams of one controller: an Envoy opens one for each of its clusters.
const STREAMS_MAX: usize = 4 * PROXIES_MAX;
/// The largest request, in bytes: a list of names and a description of the node.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// The service.
#[derive(Clone, Debug)]
pub struct EndpointService {
    resources: watch::Receiver<Resources>,
    metrics: Arc<Metrics>,
    streams: Arc<Semaphore>,
}

/// Counts and logs the responses and replies of one stream.
#[derive(Debug)]
struct Counted {
    metrics: Arc<Metrics>,
    is_named: bool,
    _permit: OwnedSemaphorePermit,
}

// === impl EndpointService ===

impl EndpointService {
    /// Serves `resources`.
    pub fn new(
        resources: watch::Receiver<Resources>,
        metrics: Arc<Metrics>,
    ) -> EndpointDiscoveryServiceServer<Self> {
        let streams = Arc::new(Semaphore::new(STREAMS_MAX));
        EndpointDiscoveryServiceServer::new(Self { resources, metrics, streams })
            .max_decoding_message_size(REQUEST_BYTES_MAX)
    }

    fn observer(&self) -> Result<Counted, Status> {
        let Ok(permit) = Arc::clone(&self.streams).try_acquire_owned() else {
            self.metrics.refused.get_or_create(&[("reason", "eds_too_many")]).inc();
            return Err(Status::resource_exhausted("too many streams"));
        };
        self.metrics.eds_streams.inc();
        Ok(Counted { metrics: Arc::clone(&self.metrics), is_named: false, _permit: permit })
    }
}

#[tonic::async_trait]
impl EndpointDiscoveryService for EndpointService {
    type StreamEndpointsStream = Responses<DiscoveryResponse>;
    type DeltaEndpointsStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_endpoints(
        &self,
        requests: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamEndpointsStream>, Status> {
        Ok(open::<StateOfTheWorld>(&self.resources, self.observer()?, requests))
    }

    async fn delta_endpoints(
        &self,
        requests: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaEndpointsStream>, Status> {
        Ok(open::<Delta>(&self.resources, self.observer()?, requests))
    }

    async fn fetch_endpoints(
        &self,
        _: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("endpoints are served as streams"))
    }
}

// === impl Counted ===

impl Observer for Counted {
    fn sent(&mut self, node: &str, _: Kind) {
        if !std::mem::replace(&mut self.is_named, true) {
            tracing::info!(node = clip(node), "sending endpoints to an Envoy");
        }
        self.metrics.eds_responses.get_or_create(&[("result", "sent")]).inc();
    }

    fn replied(&mut self, reply: Reply) {
        let result = match &reply {
            Reply::Accepted(..) => "accepted",
            Reply::Rejected(rejection) => {
                let (node, reason) = (clip(&rejection.node), clip(&rejection.reason));
                tracing::warn!(node, reason, "an Envoy rejected its endpoints, and keeps those that it had");
                "rejected"
            }
        };
        self.metrics.eds_responses.get_or_create(&[("result", result)]).inc();
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.eds_streams.dec();
    }
}
