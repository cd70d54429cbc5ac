//! The page: what the day cost with each policy, what clients had, and how pods followed demand.

use super::gauge::{Sample, gpu_s};
use super::policy::Policy;
use super::{Day, INTER_TOKEN_MS, ROLES, TTFT_MS};
use crate::args::DemoArgs;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use warmpath_report::chart::{self, Axis, Chart, Line, Scale};
use warmpath_report::{Document, Quantiles, Role, Row, Section, Table, number, percent, time_ms, times};

/// Parts of the day in which times to the first token are put together.
const BINS: usize = 48;
const TIME: Axis = Axis { label: "seconds of the day", scale: Scale::Linear, show: number };
const ENGINES: Axis = Axis { label: "engines, starting or ready", scale: Scale::Linear, show: number };
const HELD: Axis = Axis { label: "requests held in the proxy", scale: Scale::Linear, show: number };
const UNDER_WAY: Axis = Axis { label: "requests under way and held", scale: Scale::Linear, show: number };
const TTFT: Axis =
    Axis { label: "time to first token, 90th percentile", scale: Scale::Logarithmic, show: time_ms };

/// What a day came to.
struct Sum {
    gpu_s: f64,
    requests: usize,
    /// By reason.
    lost: BTreeMap<String, usize>,
    met: f64,
    ttft_ms: Quantiles,
    first_ms: f64,
    most: [u32; 2],
}

/// The page, and the figures as JSON.
pub(super) fn page(args: &DemoArgs, days: &[Day]) -> (Document, Value) {
    let sums: Vec<(&Day, Sum)> = days.iter().map(|day| (day, Sum::of(day))).collect();
    let ours = sums.first().map_or(0.0, |(_, sum)| sum.gpu_s);
    let against = |(day, sum): &(&Day, Sum)| {
        (times(ours / sum.gpu_s), format!("the GPU-seconds of {}", day.policy.words()))
    };
    let rows = sums.iter().map(|(day, sum)| sum.row(day.policy, ours));
    let header = [
        "policy",
        "GPU-seconds",
        "ours over it",
        "requests",
        "lost",
        "both objectives met",
        "TTFT p50",
        "p90",
        "p99",
        "first request",
        "most prefill, decode",
    ];
    let notes = vec![
        format!(
            "One day in {} s, {} engines at real speed, seed {}. Objectives: first token in {TTFT_MS} ms, {INTER_TOKEN_MS} ms between tokens. {}",
            args.seconds,
            args.preset,
            args.seed,
            Policy::note()
        ),
        "GPU-seconds count from the making of a pod to its end, its start and its drain included.".to_owned(),
    ];
    let table = Section {
        title: "The day with each policy".to_owned(),
        notes,
        table: Table::new(header, rows),
        ..Section::default()
    };
    let charts = Section {
        title: "Over the day".to_owned(),
        charts: charts(days),
        is_for_page: true,
        ..Section::default()
    };
    let document = Document {
        title: "A model that sleeps at night".to_owned(),
        lead: "A real control plane, controller and Envoy; simulated engines. Requests at zero wait in the proxy until engines are ready."
            .to_owned(),
        facts: sums.iter().skip(1).map(against).collect(),
        sections: vec![table, charts],
        ..Document::default()
    };
    (document, Value::Array(sums.iter().map(|(day, sum)| sum.json(day)).collect()))
}

/// A day in a line.
pub(super) fn line(day: &Day) -> String {
    let sum = Sum::of(day);
    format!(
        "{:.0} GPU-seconds, {} requests, lost: {}, {} met both objectives, TTFT p90 {}",
        sum.gpu_s,
        sum.requests,
        sum.lost(),
        percent(sum.met),
        time_ms(sum.ttft_ms.p90)
    )
}

fn charts(days: &[Day]) -> Vec<(String, Chart)> {
    let over_time = |title: &str, axis: &Axis, value: &dyn Fn(&Sample) -> f64| {
        let line = |day: &Day| Line {
            arm: arm(day.policy),
            points: day.samples.iter().map(|sample| [sample.at_s, value(sample)]).collect(),
            dots: Vec::new(),
        };
        let lines: Vec<Line> = days.iter().map(line).collect();
        (title.to_owned(), chart::lines(title, [&TIME, axis], &lines))
    };
    let all = |counts: &[usize; 2]| counts.iter().sum::<usize>();
    let mut found = vec![
        over_time("Requests", &UNDER_WAY, &|sample| (all(&sample.requests) + sample.held) as f64),
        over_time("Held requests", &HELD, &|sample| sample.held as f64),
    ];
    for (number, role) in ROLES.iter().enumerate() {
        let engines = |sample: &Sample| f64::from(sample.engines.get(number).copied().unwrap_or_default());
        found.push(over_time(&format!("Engines that {role}"), &ENGINES, &engines));
    }
    let lines: Vec<Line> = days
        .iter()
        .map(|day| Line { arm: arm(day.policy), points: first_tokens(day), dots: Vec::new() })
        .collect();
    let title = "Time to first token";
    found.push((title.to_owned(), chart::lines(title, [&TIME, &TTFT], &lines)));
    found
}

fn arm(policy: Policy) -> chart::Arm {
    let role = match policy {
        Policy::Warmpath => Role::Ours,
        Policy::Keda => Role::Other,
        Policy::Fixed(_) => Role::Plain,
    };
    chart::Arm::new(policy.name(), role)
}

/// The 90th percentile of the times to the first token in each part of the day that has any.
fn first_tokens(day: &Day) -> Vec<[f64; 2]> {
    let end_s = day.samples.last().map_or(1.0, |sample| sample.at_s).max(1.0);
    let bin_s = end_s / BINS as f64;
    let bin = |number: usize| {
        let from_s = number as f64 * bin_s;
        let here = day.calls.iter().filter(|call| (from_s..from_s + bin_s).contains(&call.at_s));
        let times: Vec<f64> =
            here.filter_map(|call| call.outcome.as_ref().ok().map(|(ttft_ms, _)| *ttft_ms)).collect();
        (!times.is_empty()).then(|| [from_s + bin_s / 2.0, Quantiles::of(times).p90])
    };
    (0..BINS).filter_map(bin).collect()
}

// === impl Sum ===

impl Sum {
    fn of(day: &Day) -> Self {
        let served = || day.calls.iter().filter_map(|call| call.outcome.as_ref().ok());
        let is_met = |(ttft_ms, inter_token_ms): &&(f64, f64)| {
            *ttft_ms <= f64::from(TTFT_MS) && *inter_token_ms <= f64::from(INTER_TOKEN_MS)
        };
        let requests = day.calls.len();
        let mut lost = BTreeMap::new();
        for reason in day.calls.iter().filter_map(|call| call.outcome.as_ref().err()) {
            *lost.entry(reason.label()).or_default() += 1;
        }
        let first = day.calls.first().and_then(|call| call.outcome.as_ref().ok());
        let most = |role: usize| {
            day.samples
                .iter()
                .filter_map(|sample| sample.engines.get(role))
                .copied()
                .max()
                .unwrap_or_default()
        };
        Self {
            gpu_s: gpu_s(&day.samples),
            requests,
            lost,
            met: served().filter(is_met).count() as f64 / requests.max(1) as f64,
            ttft_ms: Quantiles::of(served().map(|(ttft_ms, _)| *ttft_ms)),
            first_ms: first.map_or(f64::NAN, |(ttft_ms, _)| *ttft_ms),
            most: [most(0), most(1)],
        }
    }

    /// The requests that were lost, by reason.
    fn lost(&self) -> String {
        let words: Vec<String> =
            self.lost.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        if words.is_empty() { "0".to_owned() } else { words.join(", ") }
    }

    fn row(&self, policy: Policy, ours: f64) -> Row {
        let Quantiles { p50, p90, p99, .. } = self.ttft_ms;
        let [prefill, decode] = self.most;
        let row = Row::from([
            policy.words(),
            number(self.gpu_s),
            times(ours / self.gpu_s),
            self.requests.to_string(),
            self.lost(),
            percent(self.met),
            time_ms(p50),
            time_ms(p90),
            time_ms(p99),
            time_ms(self.first_ms),
            format!("{prefill}, {decode}"),
        ]);
        Row { role: Some(arm(policy).role), ..row }
    }

    fn json(&self, day: &Day) -> Value {
        let sample = |sample: &Sample| {
            json!([sample.at_s, sample.engines, sample.ready, sample.requests, sample.held])
        };
        json!({
            "policy": day.policy.name(), "setting": day.policy.words(), "gpu_s": self.gpu_s, "requests": self.requests,
            "lost": self.lost, "met": self.met, "ttft_ms_p90": self.ttft_ms.p90, "ttft_ms_p99": self.ttft_ms.p99,
            "samples": day.samples.iter().map(sample).collect::<Vec<_>>(),
        })
    }
}
