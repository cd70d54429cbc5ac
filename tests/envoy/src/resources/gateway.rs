//! All resources of one gateway, for the tests that want a whole one and change little of it.

use super::{CONTROLLER, ENGINES, Filter, Policy, Retry, controller, endpoints, engines, listener, route};
use crate::xds::Resource;
use std::net::SocketAddr;

/// What differs between the gateways of tests.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// What stands before the router.
    pub filter: Filter,
    /// How an engine is chosen.
    pub policy: Policy,
    /// What is tried again.
    pub retry: Retry,
    /// The engines.
    pub engines: Vec<SocketAddr>,
    /// The controller, if there is one.
    pub controller: Option<SocketAddr>,
}

// === impl Gateway ===

impl Gateway {
    /// As shipped, but for the filter. Without ours, the route must say itself what ours says of each request.
    pub fn new(filter: Filter, engines: &[SocketAddr]) -> Self {
        let is_ours = matches!(filter, Filter::Wasm(_));
        Self {
            filter,
            policy: Policy::default(),
            retry: if is_ours { Retry::default() } else { Retry::with_status_codes() },
            engines: engines.to_vec(),
            controller: None,
        }
    }

    /// What a control plane serves for it.
    pub fn resources(&self) -> Vec<Resource> {
        vec![
            engines(self.policy).into(),
            endpoints(ENGINES, &self.engines).into(),
            controller().into(),
            endpoints(CONTROLLER, self.controller.as_slice()).into(),
            listener(&self.filter).into(),
            route(&self.retry).into(),
        ]
    }
}
