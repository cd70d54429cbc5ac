//! Histograms in the Prometheus text form.

use std::fmt::Write;

/// Counts of observed values by upper bound.
#[derive(Debug)]
pub(super) struct Histogram {
    name: &'static str,
    help: &'static str,
    bounds: &'static [f64],
    /// One count a bound, and one for what is above all.
    counts: Vec<u64>,
    sum: f64,
}

// === impl Histogram ===

impl Histogram {
    pub(super) fn new(name: &'static str, help: &'static str, bounds: &'static [f64]) -> Self {
        Self { name, help, bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    pub(super) fn observe(&mut self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at] += 1;
        self.sum += value;
    }

    /// Appends the family; `labels` is `a="b"` without braces.
    pub(super) fn render(&self, labels: &str, page: &mut String) {
        let Self { name, help, .. } = self;
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} histogram");
        let mut total = 0;
        for (at, count) in self.counts.iter().enumerate() {
            total += count;
            let _ = match self.bounds.get(at) {
                Some(bound) => writeln!(page, "{name}_bucket{{le=\"{bound:?}\",{labels}}} {total}.0"),
                None => writeln!(page, "{name}_bucket{{le=\"+Inf\",{labels}}} {total}.0"),
            };
        }
        let _ = writeln!(page, "{name}_count{{{labels}}} {total}.0\n{name}_sum{{{labels}}} {:?}", self.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_a_bound_belongs_to_its_bucket() {
        let mut histogram = Histogram::new("x_seconds", "X.", &[0.001, 1.0]);
        for value in [0.001, 0.5, 2.0] {
            histogram.observe(value);
        }
        let mut page = String::new();
        histogram.render("m=\"a\"", &mut page);
        assert_eq!(
            page,
            "# HELP x_seconds X.\n# TYPE x_seconds histogram\n\
             x_seconds_bucket{le=\"0.001\",m=\"a\"} 1.0\nx_seconds_bucket{le=\"1.0\",m=\"a\"} 2.0\n\
             x_seconds_bucket{le=\"+Inf\",m=\"a\"} 3.0\nx_seconds_count{m=\"a\"} 3.0\nx_seconds_sum{m=\"a\"} 2.501\n"
        );
    }
}
