//! The two servers, gRPC and HTTP, and the clock of what they serve.

use super::StartError;
use crate::api::Api;
use crate::identity::{Identity, connections, open};
use crate::picker::Picker;
use crate::publish::{Hub, Shared, StateService};
use crate::xds::EndpointService;
use envoy_types::pb::envoy::service::endpoint::v3::endpoint_discovery_service_server::EndpointDiscoveryServiceServer;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::service::InterceptorLayer;
use tonic::transport::Server;
use tower::util::MapRequestLayer;

/// Interval of the checks for outdated state.
const TICK_INTERVAL: Duration = Duration::from_millis(250);
/// Interval at which an idle proxy connection is probed, and the time limit of the probe: a proxy whose host is gone is
/// detected after their sum.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Serves proxies once the pools are known.
pub(super) async fn serve_grpc(
    listener: TcpListener,
    identity: Identity,
    endpoints: EndpointDiscoveryServiceServer<EndpointService>,
    is_known: oneshot::Receiver<()>,
    shared: Shared,
) {
    tokio::select! {
        known = is_known => if known.is_err() { return },
        () = shared.stopped() => return,
    }
    let incoming = connections(listener, &identity);
    let served = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .layer(MapRequestLayer::new(open))
        .layer(InterceptorLayer::new(identity.admission()))
        .add_service(Picker::service())
        .add_service(StateService::new(shared.clone()))
        .add_service(endpoints)
        .serve_with_incoming_shutdown(incoming, async move { shared.stopped().await });
    let served = tokio::select! {
        served = served => served,
        () = identity.follow() => return,
    };
    if let Err(error) = served {
        tracing::error!(%error, "the state stream's server ended");
    }
}

pub(super) async fn serve_http(listener: TcpListener, api: Api, shared: Shared) {
    let served =
        axum::serve(listener, api.router()).with_graceful_shutdown(async move { shared.stopped().await });
    if let Err(error) = served.await {
        tracing::error!(%error, "the HTTP server ended");
    }
}

pub(super) async fn tick(shared: Shared) {
    let mut ticks = tokio::time::interval(TICK_INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => shared.with(Hub::tick),
            () = shared.stopped() => return,
        }
    }
}
