//! The listener: where clients come in, and which filters see their requests.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use envoy_types::pb::envoy::config::core::v3::{Http1ProtocolOptions, Http2ProtocolOptions};
use envoy_types::pb::envoy::config::listener::v3::{self as lds, FilterChain, Listener};
use envoy_types::pb::envoy::extensions::filters::http::buffer::v3::Buffer;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{InternalAddressConfig, RouteSpecifier, UpgradeConfig};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds,
};
use envoy_types::pb::google::protobuf::Any;
use envoy_types::util::pack_any;
use super::value::{address, boolean, duration, over_ads, uint32};
use super::{BUFFER_BYTES_MAX, WasmFilter, wasm};

/// The name of the listener, of its routes and of its statistics.
pub const GATEWAY: &str = "gateway";

/// How long a request may be silent: a response that is not streamed is silent until its last token, and a request that waits is
/// until then.
pub(super) const SILENCE_MAX: Duration = Duration::from_mins(62);

/// How long the headers of a request, and the whole of it, may take to arrive.
const HEADERS_ARRIVAL_MAX: Duration = Duration::from_secs(10);
const REQUEST_ARRIVAL_MAX: Duration = Duration::from_mins(2);

const STREAMS_PER_CONNECTION_MAX: u32 = 1000;

/// How long a closed connection stays, for a client that still sends its body to read the response.
const CLOSE_DELAY: Duration = Duration::from_millis(50);

/// The headers of a request in KiB.
const HEADERS_KIB_MAX: u32 = 256;

/// What stands before the router in the listener.
#[derive(Clone, Debug)]
pub enum Filter {
    /// Nothing.
    None,
    /// Envoy's own filter that holds a request until its body is there: the honest yardstick for a filter that
    /// must read the body.
    Buffer,
    /// A Wasm filter.
    Wasm(WasmFilter),
}

// === impl Filter ===

impl Filter {
    fn message(&self) -> Option<HttpFilter> {
        let buffer = Buffer { max_request_bytes: Some(uint32(BUFFER_BYTES_MAX)) };
        match self {
            Self::None => None,
            Self::Buffer => Some(http_filter("envoy.filters.http.buffer", pack_any(buffer))),
            Self::Wasm(filter) => Some(http_filter(wasm::NAME, pack_any(filter.message()))),
        }
    }
}

/// The gateway's listener, on a port of Envoy's choice at 127.0.0.1. Its routes come over RDS, so that they can
/// change without it.
pub fn listener(filter: &Filter) -> Listener {
    let router = http_filter("envoy.filters.http.router", pack_any(Router::default()));
    let manager = HttpConnectionManager {
        stat_prefix: GATEWAY.to_owned(),
        http_filters: filter.message().into_iter().chain([router]).collect(),
        http_protocol_options: Some(Http1ProtocolOptions {
            accept_http_10: true,
            default_host_for_http_10: "warmpath".to_owned(),
            ..Http1ProtocolOptions::default()
        }),
        http2_protocol_options: Some(Http2ProtocolOptions {
            max_concurrent_streams: Some(uint32(STREAMS_PER_CONNECTION_MAX)),
            initial_stream_window_size: Some(uint32(BUFFER_BYTES_MAX)),
            initial_connection_window_size: Some(uint32(2 * BUFFER_BYTES_MAX)),
            ..Http2ProtocolOptions::default()
        }),
        use_remote_address: Some(boolean(true)),
        internal_address_config: Some(InternalAddressConfig::default()),
        preserve_external_request_id: true,
        always_set_request_id_in_response: true,
        normalize_path: Some(boolean(true)),
        merge_slashes: true,
        upgrade_configs: vec![UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..UpgradeConfig::default()
        }],
        stream_idle_timeout: Some(duration(SILENCE_MAX)),
        delayed_close_timeout: Some(duration(CLOSE_DELAY)),
        max_request_headers_kb: Some(uint32(HEADERS_KIB_MAX)),
        request_headers_timeout: Some(duration(HEADERS_ARRIVAL_MAX)),
        request_timeout: Some(duration(REQUEST_ARRIVAL_MAX)),
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(over_ads()),
            route_config_name: GATEWAY.to_owned(),
        })),
        ..HttpConnectionManager::default()
    };
    let manager = lds::Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(lds::filter::ConfigType::TypedConfig(pack_any(manager))),
    };
    Listener {
        name: GATEWAY.to_owned(),
        address: Some(address(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))),
        per_connection_buffer_limit_bytes: Some(uint32(BUFFER_BYTES_MAX)),
        filter_chains: vec![FilterChain { filters: vec![manager], ..FilterChain::default() }],
        ..Listener::default()
    }
}

fn http_filter(name: &str, config: Any) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(ConfigType::TypedConfig(config)),
        ..HttpFilter::default()
    }
}
