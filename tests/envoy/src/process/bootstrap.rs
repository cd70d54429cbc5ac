//! The bootstrap of an Envoy that gets everything else over ADS. JSON, which Envoy reads as it reads YAML.

use serde_json::{Value, json};
use std::net::SocketAddr;

/// An admin page on a port of Envoy's choice, and one cluster: the control plane.
pub(super) fn ads(control_plane: SocketAddr, node_id: &str) -> Value {
    let over_ads = json!({ "ads": {}, "resource_api_version": "V3" });
    json!({
        "node": { "id": node_id, "cluster": "warmpath" },
        "admin": { "address": socket_address("127.0.0.1", 0) },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds" } }],
            },
            "cds_config": over_ads,
            "lds_config": over_ads,
        },
        "static_resources": {
            "clusters": [{
                "name": "xds",
                "type": "STATIC",
                "connect_timeout": "1s",
                "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "explicit_http_config": { "http2_protocol_options": {} },
                    },
                },
                "load_assignment": {
                    "cluster_name": "xds",
                    "endpoints": [{
                        "lb_endpoints": [{
                            "endpoint": {
                                "address": socket_address(&control_plane.ip().to_string(), control_plane.port()),
                            },
                        }],
                    }],
                },
            }],
        },
    })
}

fn socket_address(address: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": address, "port_value": port } })
}
