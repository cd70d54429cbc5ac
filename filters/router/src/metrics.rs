//! The router's metrics in Envoy's own stats.
//!
//! Counters are added up here and sent on the tick: a request counts three or four things, and each would be a hostcall.
//! Values of histograms are sent at once, for a sum of them would no longer be a distribution. All are defined when the VM
//! starts, those of a pool at its first request.

use crate::host::{self, Metric};
use fnv::FnvHashMap;
use warmpath_core::limits::POOLS_MAX;
use warmpath_core::router::{Counter, Gauge, Histogram};

/// The metrics of one VM.
pub(crate) struct Metrics {
    counters: Counters,
    pools: FnvHashMap<Box<str>, Counters>,
    ids: FnvHashMap<&'static str, u32>,
}

/// Counters by their names.
#[derive(Default)]
struct Counters(FnvHashMap<&'static str, Pending>);

struct Pending {
    id: u32,
    count: u64,
}

// === impl Metrics ===

impl Metrics {
    /// Defines what every VM has.
    pub(crate) fn new() -> Self {
        let gauges = Gauge::ALL.iter().map(|gauge| (Metric::Gauge, gauge.name()));
        let histograms = Histogram::ALL.iter().map(|histogram| (Metric::Histogram, histogram.name()));
        let ids = gauges
            .chain(histograms)
            .filter_map(|(metric, name)| Some((name, host::define_metric(metric, name)?)))
            .collect();
        let counters =
            Counters::define(Counter::ALL.iter().map(|counter| (*counter, counter.name().to_owned())));
        Self { counters, pools: FnvHashMap::default(), ids }
    }

    /// Adds to a counter.
    pub(crate) fn add(&mut self, counter: Counter, by: u64) {
        self.counters.add(counter, by);
    }

    /// Adds one to a counter in the series of a pool. Envoy never forgets a metric, so a VM that has seen more pools than
    /// there can be at a time leaves the others out; all counters of the router itself go on.
    pub(crate) fn add_in_pool(&mut self, pool: &str, counter: Counter) {
        if !self.pools.contains_key(pool) {
            if self.pools.len() >= POOLS_MAX {
                return;
            }
            let of_pools = Counter::ALL.iter().filter(|counter| counter.is_of_pools());
            let counters = Counters::define(of_pools.map(|counter| (*counter, counter.name_in_pool(pool))));
            self.pools.insert(pool.into(), counters);
        }
        if let Some(counters) = self.pools.get_mut(pool) {
            counters.add(counter, 1);
        }
    }

    /// Sends the counts since the last time.
    pub(crate) fn flush(&mut self) {
        self.counters.flush();
        self.pools.values_mut().for_each(Counters::flush);
    }

    /// Sets a gauge.
    pub(crate) fn show(&self, gauge: Gauge, value: u64) {
        self.record_as(gauge.name(), value);
    }

    /// Records into a histogram.
    pub(crate) fn record(&self, histogram: Histogram, value: u64) {
        self.record_as(histogram.name(), value);
    }

    fn record_as(&self, name: &str, value: u64) {
        if let Some(id) = self.ids.get(name) {
            host::record_metric(*id, value);
        }
    }
}

// === impl Counters ===

impl Counters {
    fn define(counters: impl Iterator<Item = (Counter, String)>) -> Self {
        let defined = |(counter, name): (Counter, String)| {
            let id = host::define_metric(Metric::Counter, &name)?;
            Some((counter.name(), Pending { id, count: 0 }))
        };
        Self(counters.filter_map(defined).collect())
    }

    fn add(&mut self, counter: Counter, by: u64) {
        if let Some(pending) = self.0.get_mut(counter.name()) {
            pending.count = pending.count.saturating_add(by);
        }
    }

    fn flush(&mut self) {
        for pending in self.0.values_mut().filter(|pending| pending.count > 0) {
            host::add_to_metric(pending.id, std::mem::take(&mut pending.count));
        }
    }
}
