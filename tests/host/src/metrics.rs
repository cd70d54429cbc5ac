//! Counters, gauges and histograms. They belong to the process: two VMs that define the same name share
//! one stat, as in Envoy, where `wasmcustom.` stats live in the process-wide scope.

use crate::abi::Status;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

// === impl MetricKind ===

impl MetricKind {
    pub(crate) fn from_abi(value: u32) -> Option<Self> {
        match value {
            0 => Some(Self::Counter),
            1 => Some(Self::Gauge),
            2 => Some(Self::Histogram),
            _ => None,
        }
    }
}

/// A kind is part of a stat's identity: a gauge may have a counter's name.
pub(crate) type MetricKey = (MetricKind, String);

#[derive(Default)]
pub(crate) struct Metrics {
    values: BTreeMap<MetricKey, u64>,
    records: BTreeMap<String, Vec<u64>>,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn define(&mut self, key: &MetricKey) {
        if key.0 == MetricKind::Histogram {
            self.records.entry(key.1.clone()).or_default();
        } else {
            self.values.entry(key.clone()).or_default();
        }
    }

    /// The counter of that name, or else the gauge.
    pub(crate) fn named(&self, name: &str) -> Option<u64> {
        [MetricKind::Counter, MetricKind::Gauge]
            .into_iter()
            .find_map(|kind| self.values.get(&(kind, name.to_owned())).copied())
    }

    pub(crate) fn records(&self, name: &str) -> &[u64] {
        self.records.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.values.keys().map(|(_, name)| name).chain(self.records.keys())
    }

    pub(crate) fn get(&self, key: &MetricKey) -> Result<u64, Status> {
        match key.0 {
            MetricKind::Histogram => Err(Status::BadArgument),
            _ => self.values.get(key).copied().ok_or(Status::NotFound),
        }
    }

    /// A counter refuses what is not above 0; a gauge takes both signs; a histogram refuses all.
    pub(crate) fn increment(&mut self, key: &MetricKey, by: i64) -> Result<(), Status> {
        if key.0 == MetricKind::Histogram || (key.0 == MetricKind::Counter && by <= 0) {
            return Err(Status::BadArgument);
        }
        let value = self.values.get_mut(key).ok_or(Status::NotFound)?;
        *value = value.wrapping_add_signed(by);
        Ok(())
    }

    /// Adds to a counter, sets a gauge, appends to a histogram.
    pub(crate) fn record(&mut self, key: &MetricKey, value: u64) {
        match key.0 {
            MetricKind::Counter => {
                let counter = self.values.entry(key.clone()).or_default();
                *counter = counter.wrapping_add(value);
            }
            MetricKind::Gauge => {
                self.values.insert(key.clone(), value);
            }
            MetricKind::Histogram => self.records.entry(key.1.clone()).or_default().push(value),
        }
    }
}
