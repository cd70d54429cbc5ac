//! The page: what the day cost with each policy, what clients had, and how pods followed demand.

use super::gauge::{Sample, gpu_s, gpu_s_so_far};
use super::load::{Called, Heard};
use super::policy::Policy;
use super::{Day, INTER_TOKEN_MS, ROLES, TTFT_MS};
use crate::args::DemoArgs;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use warmpath_report::chart::{self, Axis, Chart, Line, Scale};
use warmpath_report::{Document, Quantiles, Role, Row, Section, Table, number, percent, time_ms, times};

/// Parts of the day in which times to the first token are put together, and requests that met both objectives.
const BINS: usize = 48;
const S_PER_HOUR: f64 = 3_600.0;
const TIME: Axis = Axis { label: "seconds of the day", scale: Scale::Linear, show: number };
const ENGINES: Axis = Axis { label: "engines, starting or ready", scale: Scale::Linear, show: number };
const HELD: Axis = Axis { label: "requests held in the proxy", scale: Scale::Linear, show: number };
const UNDER_WAY: Axis = Axis { label: "requests under way and held", scale: Scale::Linear, show: number };
const GPU_HOURS: Axis = Axis { label: "GPU-hours so far", scale: Scale::Linear, show: number };
const MET: Axis = Axis { label: "requests that met both objectives", scale: Scale::Linear, show: percent };
const TTFT: Axis =
    Axis { label: "time to first token, 90th percentile", scale: Scale::Logarithmic, show: time_ms };

/// What a day came to.
struct Sum {
    gpu_s: f64,
    requests: usize,
    /// By reason.
    lost: BTreeMap<String, usize>,
    /// Shares of requests that met both objectives, that of first tokens, and that of the time between tokens.
    met: f64,
    ttft_met: f64,
    inter_token_met: f64,
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
        "first tokens",
        "between tokens",
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
        "{:.0} GPU-seconds, {} requests, lost: {}, {} met both objectives ({} first tokens, {} between tokens), TTFT p90 {}",
        sum.gpu_s,
        sum.requests,
        sum.lost(),
        percent(sum.met),
        percent(sum.ttft_met),
        percent(sum.inter_token_met),
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
    let mut add = |title: &str, axis: &Axis, points: &dyn Fn(&Day) -> Vec<[f64; 2]>| {
        let line = |day: &Day| Line { arm: arm(day.policy), points: points(day), dots: Vec::new() };
        let lines: Vec<Line> = days.iter().map(line).collect();
        found.push((title.to_owned(), chart::lines(title, [&TIME, axis], &lines)));
    };
    add("Time to first token", &TTFT, &first_tokens);
    add("Objectives", &MET, &met_over_time);
    add("Cost", &GPU_HOURS, &|day| {
        gpu_s_so_far(&day.samples).into_iter().map(|[at_s, gpu_s]| [at_s, gpu_s / S_PER_HOUR]).collect()
    });
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
    by_part(day, |calls| {
        let times = calls.iter().filter_map(|call| call.outcome.as_ref().ok().map(|heard| heard.ttft_ms));
        let times: Vec<f64> = times.collect();
        (!times.is_empty()).then(|| Quantiles::of(times).p90)
    })
}

/// The share of requests that met both objectives in each part of the day that has any.
fn met_over_time(day: &Day) -> Vec<[f64; 2]> {
    by_part(day, |calls| {
        let met = calls.iter().filter(|call| call.outcome.as_ref().is_ok_and(is_met)).count();
        (!calls.is_empty()).then(|| met as f64 / calls.len() as f64)
    })
}

/// What `value` makes of the requests that came in each part of the day.
fn by_part(day: &Day, value: impl Fn(&[&Called]) -> Option<f64>) -> Vec<[f64; 2]> {
    let end_s = day.samples.last().map_or(1.0, |sample| sample.at_s).max(1.0);
    let part_s = end_s / BINS as f64;
    let part = |number: usize| {
        let from_s = number as f64 * part_s;
        let here = day.calls.iter().filter(|call| (from_s..from_s + part_s).contains(&call.at_s));
        let calls: Vec<&Called> = here.collect();
        Some([from_s + part_s / 2.0, value(&calls)?])
    };
    (0..BINS).filter_map(part).collect()
}

fn is_first_met(heard: &Heard) -> bool {
    heard.ttft_ms <= f64::from(TTFT_MS)
}

fn is_rest_met(heard: &Heard) -> bool {
    heard.inter_token_ms <= f64::from(INTER_TOKEN_MS)
}

fn is_met(heard: &Heard) -> bool {
    is_first_met(heard) && is_rest_met(heard)
}

// === impl Sum ===

impl Sum {
    fn of(day: &Day) -> Self {
        let served = || day.calls.iter().filter_map(|call| call.outcome.as_ref().ok());
        let requests = day.calls.len();
        let share = |is_one: fn(&Heard) -> bool| {
            served().filter(|heard| is_one(heard)).count() as f64 / requests.max(1) as f64
        };
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
            met: share(is_met),
            ttft_met: share(is_first_met),
            inter_token_met: share(is_rest_met),
            ttft_ms: Quantiles::of(served().map(|heard| heard.ttft_ms)),
            first_ms: first.map_or(f64::NAN, |heard| heard.ttft_ms),
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
            percent(self.ttft_met),
            percent(self.inter_token_met),
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
            json!([sample.at_s, sample.engines, sample.ready, sample.requests, sample.held, sample.gpus])
        };
        let call = |call: &Called| {
            let heard = call.outcome.as_ref().ok();
            json!([call.at_s, heard.map(|heard| heard.ttft_ms), heard.map(|heard| heard.inter_token_ms)])
        };
        json!({
            "policy": day.policy.name(), "setting": day.policy.words(), "gpu_s": self.gpu_s, "requests": self.requests,
            "lost": self.lost, "met": self.met, "ttft_met": self.ttft_met, "inter_token_met": self.inter_token_met, "ttft_ms_p90": self.ttft_ms.p90, "ttft_ms_p99": self.ttft_ms.p99,
            "samples": day.samples.iter().map(sample).collect::<Vec<_>>(),
            "calls": day.calls.iter().map(call).collect::<Vec<_>>(),
        })
    }
}
