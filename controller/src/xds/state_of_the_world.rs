//! The variant in which each request lists all names (`StreamEndpoints`, Envoy's `api_type: GRPC`).
//!
//! A response must hold all listeners or clusters; of the other kinds, it holds those that have changed.

use super::session::{Changes, Session};
use super::stream::Variant;
use super::{Kind, Refused, Reply, Resources};
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};

/// The variant with whole lists.
#[derive(Clone, Copy, Debug)]
pub struct StateOfTheWorld;

// === impl StateOfTheWorld ===

impl Variant for StateOfTheWorld {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    fn take(session: &mut Session, request: DiscoveryRequest) -> Result<Option<Reply>, Refused> {
        session.name(request.node.map(|node| node.id));
        // Envoy also asks for kinds that nobody serves here (secrets, runtime): it does not wait for them.
        let Some(kind) = Kind::from_type_url(&request.type_url) else { return Ok(None) };
        if !session.subscription(kind).is_current(&request.response_nonce) {
            // It replies to a superseded response; the reply to the latest one will list the names again.
            return Ok(None);
        }
        let error = request.error_detail.map(|error| error.message);
        let reply = session.reply(kind, &request.response_nonce, error);
        let subscription = session.subscription(kind);
        subscription.names.clear();
        for name in request.resource_names {
            subscription.ask(name)?;
        }
        let names = &subscription.names;
        if !kind.is_wildcard() {
            subscription.sent.retain(|name, _| names.contains(name));
        }
        Ok(reply)
    }

    fn respond(session: &mut Session, kind: Kind, resources: &Resources) -> Option<DiscoveryResponse> {
        let Changes { nonce, version, changed, removed } = session.changes(kind, resources)?;
        let bodies = if kind.is_wildcard() {
            resources.all(kind).map(|(_, (_, body))| body.clone()).collect()
        } else {
            changed.into_iter().map(|(_, _, body)| body).collect::<Vec<_>>()
        };
        // This variant cannot express that a resource is gone, and Envoy keeps it. Endpoints never are: `Resources::find`.
        drop(removed);
        Some(DiscoveryResponse {
            version_info: version.to_string(),
            resources: bodies,
            type_url: kind.type_url(),
            nonce,
            ..DiscoveryResponse::default()
        })
    }
}
