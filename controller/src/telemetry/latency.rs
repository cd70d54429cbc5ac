//! Histograms of the time between tokens on a page -> what a scaler compares with its objective.
//!
//! | | for each token | for each response, the mean of its tokens |
//! |---|---|---|
//! | vLLM | `vllm:inter_token_latency_seconds`, before 0.11 `vllm:time_per_output_token_seconds` | `vllm:request_time_per_output_token_seconds` |
//! | SGLang | `sglang:inter_token_latency_seconds` | |
//! | trtllm-serve | | `trtllm_time_per_output_token_seconds` |
//!
//! vLLM 0.10 and 0.11 show the first under both names. A page counts from the start of the process: who wants to know about a while
//! keeps the page from its beginning, and takes the [difference](Histogram::since).
//!
//! Proxies could time the tokens that they pass on, but would have to look at each chunk of each response, and would take a client
//! that reads slowly for a slow engine.

use super::page::Sample;
use super::series::Series;
use std::collections::BTreeMap;

/// Buckets of a histogram that are read: vLLM has 20, SGLang 33.
const BUCKETS_MAX: usize = 128;

/// How long the tokens took that a process has made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latencies {
    /// From each token to the next, those of all requests.
    pub tokens: Histogram,
    /// The mean of each response that has ended.
    pub responses: Histogram,
}

/// How many values there were, up to what.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// All values.
    pub count: f64,
    /// Their sum, in seconds.
    pub sum_s: f64,
    /// Upper bounds in seconds that grow, and how many values were at most that.
    buckets: Vec<(f64, f64)>,
}

/// The series of a page so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Reader {
    tokens: Family,
    tokens_old: Family,
    responses: Family,
}

#[derive(Clone, Debug, Default)]
struct Family {
    count: Series,
    sum: Series,
    /// By the bits of their bounds, which have the order of positive numbers.
    buckets: BTreeMap<u64, Series>,
}

/// What a series of a histogram counts.
#[derive(Clone, Copy, Debug)]
enum Part {
    Bucket,
    Sum,
    Count,
}

// === impl Reader ===

impl Reader {
    /// Takes in a sample, if it is of one of these families.
    pub(super) fn take(&mut self, sample: &Sample<'_>) {
        let parts: [(&[u8], Part); 3] = [
            (b"_seconds_bucket", Part::Bucket),
            (b"_seconds_sum", Part::Sum),
            (b"_seconds_count", Part::Count),
        ];
        let of = parts.into_iter().find_map(|(suffix, part)| Some((sample.name.strip_suffix(suffix)?, part)));
        let Some((name, part)) = of else { return };
        let family = match name {
            b"vllm:inter_token_latency" | b"sglang:inter_token_latency" => &mut self.tokens,
            b"vllm:time_per_output_token" => &mut self.tokens_old,
            b"vllm:request_time_per_output_token" | b"trtllm_time_per_output_token" => &mut self.responses,
            _ => return,
        };
        family.take(part, sample);
    }

    /// What the page shows.
    pub(super) fn read(self) -> Latencies {
        let tokens = if self.tokens.count.is_empty() { self.tokens_old } else { self.tokens };
        Latencies { tokens: tokens.read(), responses: self.responses.read() }
    }
}

// === impl Family ===

impl Family {
    fn take(&mut self, part: Part, sample: &Sample<'_>) {
        match part {
            Part::Count => self.count.add(sample),
            Part::Sum => self.sum.add(sample),
            Part::Bucket => {
                let bound = sample.label("le").and_then(|bound| bound.parse::<f64>().ok());
                let Some(bound) = bound.filter(|bound| bound.is_finite() && *bound > 0.0) else { return };
                if self.buckets.len() < BUCKETS_MAX || self.buckets.contains_key(&bound.to_bits()) {
                    self.buckets.entry(bound.to_bits()).or_default().add(sample);
                }
            }
        }
    }

    fn read(self) -> Histogram {
        let bucket = |(bits, series): (u64, Series)| (f64::from_bits(bits), series.sum());
        Histogram {
            count: self.count.sum(),
            sum_s: self.sum.sum(),
            buckets: self.buckets.into_iter().map(bucket).collect(),
        }
    }
}

// === impl Histogram ===

impl Histogram {
    /// What came since an earlier page. If that shows more, it is another process's, and all of this one's came since.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let bounds = |of: &Self| of.buckets.iter().map(|(bound, _)| bound.to_bits()).collect::<Vec<_>>();
        if before.count > self.count || before.sum_s > self.sum_s || bounds(before) != bounds(self) {
            return self.clone();
        }
        let pairs = self.buckets.iter().zip(&before.buckets);
        Self {
            count: self.count - before.count,
            sum_s: self.sum_s - before.sum_s,
            buckets: pairs.map(|(now, before)| (now.0, (now.1 - before.1).max(0.0))).collect(),
        }
    }

    /// The mean of the values, in seconds.
    pub fn mean_s(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum_s / self.count)
    }

    /// How many of the values are above an objective, those of the objective's own bucket in proportion.
    pub fn above(&self, objective_s: f64) -> f64 {
        let mut below = (0.0, 0.0);
        for (bound, count) in &self.buckets {
            if *bound >= objective_s {
                let share = (objective_s - below.0) / (bound - below.0);
                let within = below.1 + (count - below.1) * share.clamp(0.0, 1.0);
                return (self.count - within).max(0.0);
            }
            below = (*bound, *count);
        }
        // Above the last bound, all may be above the objective, or none: the mean decides.
        let above = (self.count - below.1).max(0.0);
        if self.mean_s().is_some_and(|mean_s| mean_s > objective_s) { above } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::{Histogram, Latencies, Reader};
    use crate::telemetry::samples;

    fn read(page: &str) -> Latencies {
        let mut reader = Reader::default();
        for sample in samples(page.as_bytes(), |_| true) {
            reader.take(&sample);
        }
        reader.read()
    }

    fn family(name: &str, labels: &str, counts: [u32; 3], sum_s: f64) -> String {
        let [half, one, all] = counts;
        format!(
            "{name}_bucket{{le=\"1.0\",{labels}}} {one}\n{name}_bucket{{le=\"0.5\",{labels}}} {half}\n\
             {name}_bucket{{le=\"+Inf\",{labels}}} {all}\n{name}_count{{{labels}}} {all}\n\
             {name}_sum{{{labels}}} {sum_s}\n{name}_created{{{labels}}} 1.7e9\n"
        )
    }

    #[test]
    fn each_engine_has_its_names() {
        let wanted = Histogram { count: 10.0, sum_s: 6.0, buckets: vec![(0.5, 4.0), (1.0, 8.0)] };
        let of = |name: &str| read(&family(name, "engine=\"0\"", [4, 8, 10], 6.0));
        for name in [
            "vllm:inter_token_latency_seconds",
            "vllm:time_per_output_token_seconds",
            "sglang:inter_token_latency_seconds",
        ] {
            assert_eq!(of(name), Latencies { tokens: wanted.clone(), ..Latencies::default() }, "{name}");
        }
        for name in ["vllm:request_time_per_output_token_seconds", "trtllm_time_per_output_token_seconds"] {
            assert_eq!(of(name), Latencies { responses: wanted.clone(), ..Latencies::default() }, "{name}");
        }
        assert_eq!(of("vllm:time_to_first_token_seconds"), Latencies::default());
    }

    #[test]
    fn engines_behind_one_address_add_up_and_two_names_of_one_thing_do_not() {
        let of = |name: &str, engine: u32| family(name, &format!("engine=\"{engine}\""), [4, 8, 10], 6.0);
        let (new, old) = ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds");
        let page = [of(new, 0), of(new, 1), of(old, 0), of(old, 1)].concat();
        let wanted = Histogram { count: 20.0, sum_s: 12.0, buckets: vec![(0.5, 8.0), (1.0, 16.0)] };
        assert_eq!(read(&page).tokens, wanted);
    }

    #[test]
    fn a_while_is_the_difference_of_two_pages_unless_another_process_began() {
        let name = "vllm:inter_token_latency_seconds";
        let at = |counts, sum_s| read(&family(name, "engine=\"0\"", counts, sum_s)).tokens;
        let (first, second) = (at([4, 8, 10], 6.0), at([5, 10, 14], 10.0));
        let while_between = second.since(&first);
        assert_eq!(while_between.mean_s(), Some(1.0));
        assert_eq!(
            while_between,
            Histogram { count: 4.0, sum_s: 4.0, buckets: vec![(0.5, 1.0), (1.0, 2.0)] }
        );
        assert_eq!(first.since(&second), first, "counters that fell back");
        assert_eq!(first.since(&Histogram::default()), first);
        assert_eq!(first.since(&first).mean_s(), None);
    }

    #[test]
    fn those_above_an_objective_are_counted_by_the_bucket_it_is_in() {
        let histogram = Histogram { count: 10.0, sum_s: 6.0, buckets: vec![(0.5, 4.0), (1.0, 8.0)] };
        let above = |objective_s: f64| histogram.above(objective_s);
        assert_eq!((above(0.5), above(1.0), above(0.25), above(0.75)), (6.0, 2.0, 8.0, 4.0));
        assert_eq!((above(2.0), Histogram::default().above(0.1)), (0.0, 0.0), "a mean of 0.6 s");
        let slow = Histogram { sum_s: 60.0, ..histogram };
        assert!((slow.above(2.0) - 2.0).abs() < 1e-9);
    }
}
