//! The variant in which requests and responses are incremental (`DeltaEndpoints`, Envoy's `api_type: DELTA_GRPC`).
//!
//! An Envoy that reconnects, to whichever replica, states which versions it has, and is sent only what has changed since.

use super::session::{Changes, Session};
use super::stream::Variant;
use super::{Kind, Refused, Reply, Resources};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource,
};

/// The incremental variant.
#[derive(Clone, Copy, Debug)]
pub struct Delta;

/// All resources of a kind.
const ALL: &str = "*";

// === impl Delta ===

impl Variant for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    fn take(session: &mut Session, request: DeltaDiscoveryRequest) -> Result<Option<Reply>, Refused> {
        session.name(request.node.map(|node| node.id));
        let Some(kind) = Kind::from_type_url(&request.type_url) else { return Ok(None) };
        let error = request.error_detail.map(|error| error.message);
        let reply = session.reply(kind, &request.response_nonce, error);
        let subscription = session.subscription(kind);
        for name in request.resource_names_unsubscribe {
            subscription.names.remove(&name);
            subscription.sent.remove(&name);
        }
        for name in request.resource_names_subscribe.into_iter().filter(|name| name != ALL) {
            // An Envoy that subscribes again has forgotten what it was sent.
            subscription.sent.remove(&name);
            subscription.ask(name)?;
        }
        for (name, version) in request.initial_resource_versions {
            // A foreign version says that it has something else.
            if let Ok(tag) = version.parse()
                && (kind.is_wildcard() || subscription.names.contains(&name))
            {
                subscription.sent.insert(name, tag);
            }
        }
        Ok(reply)
    }

    fn respond(session: &mut Session, kind: Kind, resources: &Resources) -> Option<DeltaDiscoveryResponse> {
        let Changes { nonce, version, changed, removed } = session.changes(kind, resources)?;
        let resource = |(name, tag, body): (String, super::Tag, _)| Resource {
            name,
            version: tag.to_string(),
            resource: Some(body),
            ..Resource::default()
        };
        Some(DeltaDiscoveryResponse {
            system_version_info: version.to_string(),
            resources: changed.into_iter().map(resource).collect(),
            type_url: kind.type_url(),
            removed_resources: removed,
            nonce,
            ..DeltaDiscoveryResponse::default()
        })
    }
}
