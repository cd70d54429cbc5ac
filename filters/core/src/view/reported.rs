//! What engines report of their caches by themselves: which cells each endpoint holds, and in which tier.

use super::{Applied, View};
use crate::ids::EndpointId;
use crate::wire;

// === impl View ===

impl View {
    /// KV came to an engine or left it.
    pub(super) fn report(&mut self, reported: &wire::Reported) -> Applied {
        let Some(_slot) = self.slot(EndpointId(reported.endpoint)) else { return Applied::Unknown };
        Applied::Changed
    }

    /// Takes how far the reports of an engine can be relied on.
    pub(super) fn set_trust(&mut self, reporting: &wire::Reporting) -> Applied {
        let Some(_slot) = self.slot(EndpointId(reporting.endpoint)) else { return Applied::Unknown };
        Applied::Changed
    }
}
