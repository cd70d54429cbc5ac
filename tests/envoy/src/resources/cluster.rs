//! The clusters: the engines, which the filter chooses from, and the controller, which it listens to.

use super::Policy;
use super::value::{duration, over_ads, uint32};
use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig,
};
use envoy_types::pb::envoy::config::cluster::v3::{CircuitBreakers, Cluster, UpstreamConnectionOptions};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions,
};
use envoy_types::pb::google::protobuf::Any;
use envoy_types::util::pack_any;
use prost::Name;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;
use warmpath::xds::assignment;

/// The cluster of the engines.
pub const ENGINES: &str = "engines";

/// The cluster of the controller.
pub const CONTROLLER: &str = "warmpath_controller";

const CONNECT_MAX: Duration = Duration::from_secs(1);

/// Above any load that one proxy carries: the filter, not a circuit breaker, decides what an engine gets.
const IN_FLIGHT_MAX: u32 = 100_000;

/// Below the five seconds after which vLLM's server closes an idle connection.
const ENGINE_IDLE_MAX: Duration = Duration::from_secs(4);

/// An engine whose node is gone acknowledges nothing.
const UNACKNOWLEDGED_MS_MAX: i64 = 10_000;

const CONTROLLER_PING_INTERVAL: Duration = Duration::from_secs(5);
const CONTROLLER_PING_MAX: Duration = Duration::from_secs(2);

/// The cluster of the engines. Its endpoints come over EDS.
pub fn engines(policy: Policy) -> Cluster {
    let http1 = HttpProtocolOptions {
        common_http_protocol_options: Some(core::HttpProtocolOptions {
            idle_timeout: Some(duration(ENGINE_IDLE_MAX)),
            ..core::HttpProtocolOptions::default()
        }),
        ..explicit(ProtocolConfig::HttpProtocolOptions(core::Http1ProtocolOptions::default()))
    };
    Cluster {
        load_balancing_policy: Some(policy.message()),
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![Thresholds {
                max_connections: Some(uint32(IN_FLIGHT_MAX)),
                max_pending_requests: Some(uint32(IN_FLIGHT_MAX)),
                max_requests: Some(uint32(IN_FLIGHT_MAX)),
                max_retries: Some(uint32(IN_FLIGHT_MAX)),
                ..Thresholds::default()
            }],
            ..CircuitBreakers::default()
        }),
        upstream_connection_options: Some(UpstreamConnectionOptions {
            tcp_keepalive: Some(core::TcpKeepalive {
                keepalive_time: Some(uint32(10)),
                keepalive_interval: Some(uint32(3)),
                keepalive_probes: Some(uint32(3)),
            }),
            ..UpstreamConnectionOptions::default()
        }),
        upstream_bind_config: Some(core::BindConfig {
            socket_options: vec![user_timeout()],
            ..core::BindConfig::default()
        }),
        typed_extension_protocol_options: protocol(http1),
        ..over_eds(ENGINES)
    }
}

/// The cluster of the controller. Its endpoints come over EDS.
pub fn controller() -> Cluster {
    let http2 = core::Http2ProtocolOptions {
        connection_keepalive: Some(core::KeepaliveSettings {
            interval: Some(duration(CONTROLLER_PING_INTERVAL)),
            timeout: Some(duration(CONTROLLER_PING_MAX)),
            ..core::KeepaliveSettings::default()
        }),
        ..core::Http2ProtocolOptions::default()
    };
    let http2 = explicit(ProtocolConfig::Http2ProtocolOptions(http2));
    Cluster { typed_extension_protocol_options: protocol(http2), ..over_eds(CONTROLLER) }
}

/// `TCP_USER_TIMEOUT`: how long sent bytes may stay unacknowledged.
fn user_timeout() -> core::SocketOption {
    core::SocketOption {
        description: "user timeout".to_owned(),
        level: 6,
        name: 18,
        value: Some(core::socket_option::Value::IntValue(UNACKNOWLEDGED_MS_MAX)),
        state: core::socket_option::SocketState::StatePrebind.into(),
        ..core::SocketOption::default()
    }
}

/// The endpoints of a cluster, all of them.
pub fn endpoints(cluster: &str, addresses: &[SocketAddr]) -> ClusterLoadAssignment {
    assignment(cluster, addresses.iter().copied())
}

/// What both clusters have in common.
fn over_eds(name: &str) -> Cluster {
    Cluster {
        name: name.to_owned(),
        connect_timeout: Some(duration(CONNECT_MAX)),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(over_ads()),
            ..EdsClusterConfig::default()
        }),
        ..Cluster::default()
    }
}

fn explicit(protocol: ProtocolConfig) -> HttpProtocolOptions {
    HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(protocol),
        })),
        ..HttpProtocolOptions::default()
    }
}

/// Envoy finds the protocol options of a cluster under the name of their type.
fn protocol(options: HttpProtocolOptions) -> HashMap<String, Any> {
    HashMap::from([(HttpProtocolOptions::full_name(), pack_any(options))])
}
