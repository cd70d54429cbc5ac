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
    /// As shipped, but for the filter.
    pub fn new(filter: Filter, engines: &[SocketAddr]) -> Self {
        Self {
            filter,
            policy: Policy::default(),
            retry: Retry::default(),
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
