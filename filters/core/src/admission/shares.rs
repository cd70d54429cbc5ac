//! The tenants' shares: in what order their held requests go on, and which of them have more of the room than they should.
//!
//! Order by start-time fair queueing: each tenant has a clock that a place advances by its tokens over the tenant's weight, and the
//! request with the earliest start goes on. A tenant that was away starts at the clock of those that were not, so it has no credit.
//! Deficit round-robin, the obvious other way, needs a pass over the tenants whose state all VMs would have to agree on; here they
//! need to agree on nothing but the places that were given.

use crate::ids::TenantId;
use crate::num::float;
use crate::wire::Hold;
use std::collections::BTreeMap;

/// Tenants whose clocks are kept; those beyond start anew.
const TENANTS_MAX: usize = 4_096;

/// The tenants' clocks.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    weights: BTreeMap<TenantId, f64>,
    /// When the next request of a tenant starts, in tokens over weight; none is behind `now`.
    clocks: BTreeMap<TenantId, f64>,
    /// The start of the last request that went on.
    now: f64,
}

// === impl Shares ===

impl Shares {
    pub(super) fn set(&mut self, hold: &Hold) {
        let weight = |tenant: &crate::wire::Tenant| f64::from(tenant.weight.max(1));
        self.weights =
            hold.tenants.iter().map(|tenant| (TenantId::of(&tenant.name), weight(tenant))).collect();
    }

    /// A tenant's share, relative to the others'.
    pub(super) fn weight(&self, tenant: TenantId) -> f64 {
        self.weights.get(&tenant).copied().unwrap_or(1.0)
    }

    /// When the next request of a tenant starts.
    pub(super) fn start(&self, tenant: TenantId) -> f64 {
        self.clocks.get(&tenant).copied().unwrap_or_default().max(self.now)
    }

    /// By how much a place of so many tokens advances a tenant's clock.
    pub(super) fn cost(&self, tenant: TenantId, tokens: u64) -> f64 {
        float(tokens) / self.weight(tenant)
    }

    /// A held request of a tenant got a place.
    pub(super) fn charge(&mut self, tenant: TenantId, tokens: u64) {
        let start = self.start(tenant);
        self.now = start;
        self.clocks.insert(tenant, start + self.cost(tenant, tokens));
        if self.clocks.len() > TENANTS_MAX {
            self.clocks.clear();
        }
    }

    /// Drops the clocks that say nothing any more.
    pub(super) fn expire(&mut self) {
        self.clocks.retain(|_, clock| *clock > self.now);
    }
}
