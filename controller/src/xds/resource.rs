//! The resources of the protocol: their kinds, and one that is ready to be sent.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::util::pack_any;
use prost::Name;

/// A kind of resource, in the order in which changes are sent: what is referred to comes before what refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// CDS.
    Cluster,
    /// EDS: the endpoints of one cluster.
    Endpoints,
    /// LDS.
    Listener,
    /// RDS.
    Route,
}

// === impl Kind ===

impl Kind {
    /// All of them, in sending order.
    pub const ALL: [Self; 4] = [Self::Cluster, Self::Endpoints, Self::Listener, Self::Route];

    /// A short name for messages.
    pub fn label(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Endpoints => "endpoints",
            Self::Listener => "listener",
            Self::Route => "route",
        }
    }

    /// The name of the type in the protocol.
    pub fn type_url(self) -> String {
        match self {
            Self::Cluster => Cluster::type_url(),
            Self::Endpoints => ClusterLoadAssignment::type_url(),
            Self::Listener => Listener::type_url(),
            Self::Route => RouteConfiguration::type_url(),
        }
    }

    /// The kind with this name in the protocol.
    pub fn from_type_url(type_url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == type_url)
    }

    /// Whether Envoy asks for all resources of this kind rather than for some by name.
    pub fn is_wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }
}

/// One resource, ready to be sent.
#[derive(Clone, Debug)]
pub struct Resource {
    kind: Kind,
    name: String,
    body: Any,
}

// === impl Resource ===

impl Resource {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its name, unique in its kind. Endpoints have the name of their cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn into_parts(self) -> (Kind, String, Any) {
        (self.kind, self.name, self.body)
    }
}

impl From<Cluster> for Resource {
    fn from(cluster: Cluster) -> Self {
        Self { kind: Kind::Cluster, name: cluster.name.clone(), body: pack_any(cluster) }
    }
}

impl From<ClusterLoadAssignment> for Resource {
    fn from(endpoints: ClusterLoadAssignment) -> Self {
        Self { kind: Kind::Endpoints, name: endpoints.cluster_name.clone(), body: pack_any(endpoints) }
    }
}

impl From<Listener> for Resource {
    fn from(listener: Listener) -> Self {
        Self { kind: Kind::Listener, name: listener.name.clone(), body: pack_any(listener) }
    }
}

impl From<RouteConfiguration> for Resource {
    fn from(route: RouteConfiguration) -> Self {
        Self { kind: Kind::Route, name: route.name.clone(), body: pack_any(route) }
    }
}
