//! The gRPC side of the control plane: one task for each connected Envoy.

use super::state::{State, StreamId};
use super::{Kind, Rejection, Version};
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use std::collections::BTreeMap;
use std::pin::Pin;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// Answers that wait for one Envoy to read them: one of each kind.
const ANSWERS_MAX: usize = Kind::ALL.len();

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves until the task is aborted.
pub(super) async fn serve(listener: TcpListener, state: watch::Sender<State>) {
    let service = AggregatedDiscoveryServiceServer::new(Service { state });
    // Fails only when the listener does; then every Envoy and so every wait of the test fails too.
    let _ended = tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await;
}

struct Service {
    state: watch::Sender<State>,
}

// === impl Service ===

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        requests: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let (answers, out) = mpsc::channel(ANSWERS_MAX);
        let session = Session::open(self.state.clone(), answers);
        tokio::spawn(session.run(requests.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(out))))
    }

    async fn delta_aggregated_resources(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("state of the world only"))
    }
}

/// The conversation with one Envoy.
struct Session {
    id: StreamId,
    /// Envoy says who it is in its first request only.
    node: String,
    state: watch::Sender<State>,
    answers: mpsc::Sender<Result<DiscoveryResponse, Status>>,
    subscriptions: BTreeMap<Kind, Subscription>,
    nonces: u64,
}

/// What an Envoy wants to know of one kind, and what it was told.
#[derive(Default)]
struct Subscription {
    names: Vec<String>,
    /// The last answer, until a later one replaces it: its nonce and version.
    sent: Option<(String, Version)>,
    /// It asked and has not been answered.
    due: bool,
}

// === impl Session ===

impl Session {
    fn open(state: watch::Sender<State>, answers: mpsc::Sender<Result<DiscoveryResponse, Status>>) -> Self {
        let mut id = None;
        state.send_modify(|state| id = Some(state.connect()));
        let id = id.unwrap_or_else(|| unreachable!("send_modify runs its closure"));
        Self { id, node: String::new(), state, answers, subscriptions: BTreeMap::new(), nonces: 0 }
    }

    async fn run(mut self, mut requests: Streaming<DiscoveryRequest>) {
        let mut states = self.state.subscribe();
        loop {
            tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) => self.hear(request),
                    Ok(None) | Err(_) => return,
                },
                changed = states.changed() => if changed.is_err() { return },
            }
            for kind in Kind::ALL {
                let Some(answer) = self.answer(kind) else { continue };
                if self.answers.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Takes a request in: a subscription, an ACK or a NACK.
    fn hear(&mut self, request: DiscoveryRequest) {
        if let Some(node) = request.node {
            self.node = node.id;
        }
        // Envoy also asks for kinds that nobody serves here (secrets, runtime): it does not wait for them.
        let Some(kind) = Kind::from_type_url(&request.type_url) else { return };
        let subscription = self.subscriptions.entry(kind).or_default();
        let asked_anew = match &subscription.sent {
            None => true,
            Some((nonce, version)) if *nonce == request.response_nonce => {
                let (id, version) = (self.id, *version);
                match request.error_detail {
                    None => self.state.send_modify(|state| state.ack(id, kind, version)),
                    Some(error) => {
                        let rejection =
                            Rejection { node: self.node.clone(), kind, version, reason: error.message };
                        self.state.send_modify(|state| state.reject(rejection));
                    }
                }
                subscription.names != request.resource_names
            }
            // About an answer that a later one has replaced.
            Some(_) => return,
        };
        subscription.names = request.resource_names;
        subscription.due |= asked_anew;
    }

    /// What this Envoy must be told of a kind now, if anything.
    fn answer(&mut self, kind: Kind) -> Option<DiscoveryResponse> {
        let subscription = self.subscriptions.get_mut(&kind)?;
        let state = self.state.borrow();
        let version = state.version(kind);
        let told = subscription.sent.as_ref().is_some_and(|(_, sent)| *sent == version);
        if told && !subscription.due {
            return None;
        }
        self.nonces += 1;
        let nonce = self.nonces.to_string();
        subscription.sent = Some((nonce.clone(), version));
        subscription.due = false;
        Some(DiscoveryResponse {
            version_info: version.to_string(),
            resources: state.resources(kind, &subscription.names),
            type_url: kind.type_url(),
            nonce,
            ..DiscoveryResponse::default()
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let id = self.id;
        self.state.send_modify(|state| state.disconnect(id));
    }
}
