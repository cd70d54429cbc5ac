//! The router's metrics in Envoy's own stats.
//!
//! Counters are added up here and sent on the tick: a request counts three or four things, and each would be a hostcall.
//! Values of histograms are sent at once, for a sum of them would no longer be a distribution.

use crate::host::{self, Metric};
use fnv::FnvHashMap;
use warmpath_core::router::{Counter, Gauge, Histogram};

/// The metrics of one VM; a metric is defined at its first use.
#[derive(Default)]
pub(crate) struct Metrics {
    counters: FnvHashMap<&'static str, Pending>,
    ids: FnvHashMap<&'static str, u32>,
}

#[derive(Default)]
struct Pending {
    id: Option<u32>,
    count: u64,
}

// === impl Metrics ===

impl Metrics {
    /// Adds to a counter.
    pub(crate) fn add(&mut self, counter: Counter, by: u64) {
        let pending = self.counters.entry(counter.name()).or_default();
        pending.count = pending.count.saturating_add(by);
    }

    /// Sends the counts since the last time.
    pub(crate) fn flush(&mut self) {
        for (name, pending) in self.counters.iter_mut().filter(|(_, pending)| pending.count > 0) {
            pending.id = pending.id.or_else(|| host::define_metric(Metric::Counter, name));
            if let Some(id) = pending.id {
                host::add_to_metric(id, std::mem::take(&mut pending.count));
            }
        }
    }

    /// Sets a gauge.
    pub(crate) fn show(&mut self, gauge: Gauge, value: u64) {
        if let Some(id) = self.id(Metric::Gauge, gauge.name()) {
            host::record_metric(id, value);
        }
    }

    /// Records into a histogram.
    pub(crate) fn record(&mut self, histogram: Histogram, value: u64) {
        if let Some(id) = self.id(Metric::Histogram, histogram.name()) {
            host::record_metric(id, value);
        }
    }

    fn id(&mut self, metric: Metric, name: &'static str) -> Option<u32> {
        if let Some(id) = self.ids.get(name) {
            return Some(*id);
        }
        let id = host::define_metric(metric, name)?;
        self.ids.insert(name, id);
        Some(id)
    }
}
