//! The lines of Envoy's `/stats` about the plugin.

use std::collections::BTreeMap;

/// How Envoy's stats name the filter's metrics.
const PREFIX: &str = "wasmcustom.";

/// Counters and gauges by their names.
#[derive(Clone, Debug, Default)]
pub(super) struct Stats<'a> {
    values: BTreeMap<&'a str, u64>,
}

// === impl Stats ===

impl<'a> Stats<'a> {
    pub(super) fn of(page: &'a str) -> Self {
        let value = |line: &'a str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.strip_prefix(PREFIX).unwrap_or(name), value.trim().parse().ok()?))
        };
        Self { values: page.lines().filter_map(value).collect() }
    }

    /// A metric of the filter, or a stat of Envoy; zero if it is not there.
    pub(super) fn of_name(&self, name: &str) -> u64 {
        self.values.get(name).copied().unwrap_or_default()
    }

    /// Whether there are any of the filter's.
    pub(super) fn has_filter(&self) -> bool {
        self.values.keys().any(|name| name.starts_with("warmpath."))
    }

    /// Those whose names begin so and that are not zero, by what follows.
    pub(super) fn under(&self, start: &str) -> Vec<(&'a str, u64)> {
        let of = |(name, value): (&&'a str, &u64)| Some((name.strip_prefix(start)?, *value));
        self.values.iter().filter_map(of).filter(|(_, value)| *value > 0).collect()
    }

    /// The sum of those that begin and end so.
    pub(super) fn sum(&self, start: &str, end: &str) -> u64 {
        let fits = self.values.iter().filter(|(name, _)| name.starts_with(start) && name.ends_with(end));
        fits.map(|(_, value)| value).sum()
    }
}
