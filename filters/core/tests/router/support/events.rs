//! Events as a controller sends them. The tests of the built filter include this file.

use warmpath_core::ids::{CellHash, EndpointId};
use warmpath_core::wire::{
    EngineStatus, Event, Health, InFlightReport, Kind, Pool, PoolEndpoint, Pools, Routed,
};

/// One pool `llama` with these endpoints.
pub(crate) fn pools(endpoints: &[String]) -> Event {
    let endpoints = endpoints
        .iter()
        .map(|address| PoolEndpoint { address: address.clone(), ..PoolEndpoint::default() })
        .collect();
    let pool = Pool {
        name: "llama".into(),
        models: vec!["llama".into()],
        adapters: vec!["sql".into()],
        endpoints,
        ..Pool::default()
    };
    Kind::Pools(Pools { pools: vec![pool] }).into()
}

/// An engine's own status.
pub(crate) fn status_of(endpoint: &str, health: Health) -> Event {
    let status = EngineStatus {
        endpoint: EndpointId::of(endpoint).0,
        health: health.into(),
        ..EngineStatus::default()
    };
    Kind::EngineStatus(status).into()
}

/// Another proxy has sent this chain to an endpoint.
pub(crate) fn routed(endpoint: &str, chain: &[CellHash]) -> Event {
    let cells = chain.iter().map(|cell| cell.0).collect();
    Kind::Routed(Routed { endpoint: EndpointId::of(endpoint).0, cells, ..Routed::default() }).into()
}

/// Another proxy has so many requests there.
pub(crate) fn load_of(origin: u64, endpoint: &str, requests: u32) -> Event {
    let endpoint = EndpointId::of(endpoint).0;
    Kind::InFlight(InFlightReport {
        origin,
        endpoint,
        requests,
        context_tokens: 100,
        ..InFlightReport::default()
    })
    .into()
}
