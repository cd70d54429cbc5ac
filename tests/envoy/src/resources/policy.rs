//! How a cluster chooses among its endpoints.

use super::DESTINATION_HEADER;
use super::value::extension;
use envoy_types::pb::envoy::config::cluster::v3::LoadBalancingPolicy;
use envoy_types::pb::envoy::config::cluster::v3::load_balancing_policy::Policy as PolicyMessage;
use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::extensions::load_balancing_policies::least_request::v3::LeastRequest;
use envoy_types::pb::envoy::extensions::load_balancing_policies::override_host::v3::OverrideHost;
use envoy_types::pb::envoy::extensions::load_balancing_policies::override_host::v3::override_host::OverrideHostSource;
use envoy_types::pb::envoy::extensions::load_balancing_policies::round_robin::v3::RoundRobin;
use prost::Name;

/// One of Envoy's own ways to spread requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lb {
    /// Each in turn.
    RoundRobin,
    /// The one with fewer requests, of two taken at random.
    LeastRequest,
}

/// How the cluster of the engines chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// As the filter's header says, in its order; without it, or beyond its end, as the fallback does.
    Override {
        /// For requests that the filter left alone.
        fallback: Lb,
    },
    /// As Envoy does without us.
    Plain(Lb),
}

// === impl Policy ===

impl Default for Policy {
    /// As shipped.
    fn default() -> Self {
        Self::Override { fallback: Lb::LeastRequest }
    }
}

// === impl Lb ===

impl Lb {
    /// The name of Envoy's extension.
    pub(crate) fn extension_name(self) -> &'static str {
        match self {
            Self::RoundRobin => "envoy.load_balancing_policies.round_robin",
            Self::LeastRequest => "envoy.load_balancing_policies.least_request",
        }
    }

    /// The type of its configuration.
    pub(crate) fn type_url(self) -> String {
        match self {
            Self::RoundRobin => RoundRobin::type_url(),
            Self::LeastRequest => LeastRequest::type_url(),
        }
    }

    fn message(self) -> LoadBalancingPolicy {
        let config = match self {
            Self::RoundRobin => extension(self.extension_name(), RoundRobin::default()),
            Self::LeastRequest => extension(self.extension_name(), LeastRequest::default()),
        };
        policies(config)
    }
}

impl Policy {
    pub(super) fn message(self) -> LoadBalancingPolicy {
        let fallback = match self {
            Self::Plain(lb) => return lb.message(),
            Self::Override { fallback } => fallback,
        };
        let config = OverrideHost {
            override_host_sources: vec![OverrideHostSource {
                header: DESTINATION_HEADER.to_owned(),
                metadata: None,
            }],
            // Envoy 1.36 refuses it.
            selected_host_key: None,
            fallback_policy: Some(fallback.message()),
        };
        policies(extension("envoy.load_balancing_policies.override_host", config))
    }
}

fn policies(config: TypedExtensionConfig) -> LoadBalancingPolicy {
    LoadBalancingPolicy { policies: vec![PolicyMessage { typed_extension_config: Some(config) }] }
}
