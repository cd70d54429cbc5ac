//! The gRPC side of the control plane: all kinds of resources on one stream, by the controller's own state machine.

use super::verdicts::{StreamId, Verdicts};
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};
use warmpath::xds::{Delta, Kind, Observer, Reply, Resources, Responses, StateOfTheWorld, open};

/// Serves until the task is aborted.
pub(super) async fn serve(
    listener: TcpListener,
    resources: watch::Receiver<Resources>,
    verdicts: watch::Sender<Verdicts>,
) {
    let service = AggregatedDiscoveryServiceServer::new(Service { resources, verdicts });
    // Fails only when the listener does; then every Envoy and so every wait of the test fails too.
    let _ended = tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await;
}

struct Service {
    resources: watch::Receiver<Resources>,
    verdicts: watch::Sender<Verdicts>,
}

/// Notes what one Envoy says.
struct Noted {
    id: StreamId,
    verdicts: watch::Sender<Verdicts>,
}

// === impl Service ===

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        requests: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Ok(open::<StateOfTheWorld>(&self.resources, Noted::new(&self.verdicts), requests))
    }

    async fn delta_aggregated_resources(
        &self,
        requests: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Ok(open::<Delta>(&self.resources, Noted::new(&self.verdicts), requests))
    }
}

// === impl Noted ===

impl Noted {
    fn new(verdicts: &watch::Sender<Verdicts>) -> Self {
        let mut id = None;
        verdicts.send_modify(|verdicts| id = Some(verdicts.connect()));
        let id = id.unwrap_or_else(|| unreachable!("send_modify runs its closure"));
        Self { id, verdicts: verdicts.clone() }
    }
}

impl Observer for Noted {
    fn sent(&mut self, _: &str, _: Kind) {}

    fn replied(&mut self, reply: Reply) {
        let id = self.id;
        self.verdicts.send_modify(|verdicts| match reply {
            Reply::Accepted(kind, version) => verdicts.ack(id, kind, version),
            Reply::Rejected(rejection) => verdicts.reject(rejection),
        });
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        let id = self.id;
        self.verdicts.send_modify(|verdicts| verdicts.disconnect(id));
    }
}
