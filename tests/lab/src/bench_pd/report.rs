//! What was found: tables on the terminal, JSON for programs, one HTML page for people.

use super::cost::Costs;
use super::kill::Kill;
use super::way::Way;
use crate::bench::figure::cost::size;
use crate::bench::target::{Target, version};
use serde_json::{Value, json};
use std::path::Path;
use warmpath_report::{
    Document, Goal, Limit, Role, Row, Section, Spread, Table, Unit, difference, number, percent, ratio,
};

const US_PER_MS: f64 = 1_000.0;
const LOST_SHARE_MAX: f64 = 0.0;

/// Prints all of it, and writes it.
pub(super) fn write(is_quick: bool, costs: &Costs, kills: &[Kill], folder: &Path) -> anyhow::Result<()> {
    let sections = vec![cost(costs), lost(kills)];
    let quick = "This was a quick run, of few requests and repetitions. A run without --quick says more.";
    let document = Document {
        title: "What requests in two legs cost, and what is lost when an engine dies".to_owned(),
        lead: "The same requests through each router, to simulated engines that respond at once, on one machine in one \
               run."
            .to_owned(),
        notes: is_quick.then(|| quick.to_owned()).into_iter().collect(),
        sections,
        ..Document::default()
    };
    print!("{}", document.to_text());
    let json = json!({"quick": is_quick, "cost": cost_json(costs), "kill": kill_json(kills)});
    for path in document.write(folder, &serde_json::to_string_pretty(&json)?)? {
        println!("{}", path.display());
    }
    Ok(())
}

fn role(way: Way) -> Role {
    if way.router == Target::Warmpath { Role::Ours } else { Role::Other }
}

fn name(way: Way) -> String {
    let version = version(way.router);
    if version.is_empty() { way.router.to_string() } else { format!("{} {version}", way.router) }
}

fn cost(costs: &Costs) -> Section {
    let header = [
        "",
        "engines",
        "body",
        "split",
        "us/request",
        "us more than whole",
        "times whole",
        "p50 us",
        "p50 us more than whole",
        "p99 us",
    ];
    let mut rows = Vec::new();
    for (bytes, case) in costs {
        for (way, samples) in case {
            let whole = case.get(&way.whole()).filter(|_| way.is_split());
            let over = |part: fn(&super::cost::Samples) -> &[f64], combine: fn(f64, f64) -> f64| {
                whole.map_or_else(String::new, |whole| {
                    Spread::of_pairs(part(samples), part(whole), combine).show()
                })
            };
            let show = |values: &[f64]| Spread::of(values.iter().copied()).show();
            let row = Row::from([
                name(*way),
                way.mode.name().to_owned(),
                size(*bytes),
                percent(samples.split as f64 / samples.requests.max(1) as f64),
                show(&samples.cpu_us),
                over(|samples| &samples.cpu_us, difference),
                over(|samples| &samples.cpu_us, ratio),
                show(&samples.p50_us),
                over(|samples| &samples.p50_us, difference),
                show(&samples.p99_us),
            ]);
            rows.push(row.of(role(*way)));
        }
    }
    Section {
        title: "A request in two legs, and a whole one".to_owned(),
        notes: vec![
            "Processor time of every process on the request's path, and what clients waited, for prompts that nobody has \
             seen. Median and, in brackets, least and most of the repetitions; differences and ratios compare neighbours \
             in time."
                .to_owned(),
            "Split: the share of the requests whose prompt was computed for another engine. Each router has engines of \
             its own."
                .to_owned(),
            "vllm-router with whole requests asks all engines for the prompt's tokens first, as its cache_aware does where \
             they offer it."
                .to_owned(),
        ],
        table: Table::new(header, rows),
        ..Section::default()
    }
}

fn lost(kills: &[Kill]) -> Section {
    let header = [
        "",
        "engines",
        "killed",
        "sent",
        "lost",
        "of them late",
        "wrong text",
        "p50 ms before",
        "after",
        "longest ms before",
        "after",
    ];
    let ms = |us: f64| number(us / US_PER_MS);
    let rows = kills.iter().map(|kill| {
        let row = Row::from([
            name(kill.way),
            kill.way.mode.name().to_owned(),
            format!("one {} engine", kill.victim.name()),
            kill.sent.to_string(),
            kill.lost.to_string(),
            kill.lost_late.to_string(),
            kill.wrong.to_string(),
            ms(kill.before_us.0),
            ms(kill.after_us.0),
            ms(kill.before_us.1),
            ms(kill.after_us.1),
        ]);
        row.of(role(kill.way))
    });
    let ours = kills.iter().filter(|kill| kill.way.router == Target::Warmpath);
    let goals = ours.map(|kill| {
        let share = kill.lost as f64 / kill.sent.max(1) as f64;
        let name = format!("requests lost, {}, a {} engine killed", kill.way.mode.name(), kill.victim.name());
        Goal::new(name, Spread::of([share]), Limit::most(LOST_SHARE_MAX), Unit::Ratio)
    });
    let examples = kills.iter().filter_map(|kill| {
        let example: String = kill.example.as_ref()?.chars().take(300).collect();
        Some(format!(
            "{}, a {} engine killed: the first that was lost ended with {example}",
            kill.way,
            kill.victim.name()
        ))
    });
    Section {
        title: "Requests lost while an engine is killed".to_owned(),
        notes: std::iter::once(
            "After a quarter of the requests, one of two engines of a leg is killed and stays dead: its connections break and \
             its port is closed. Eight clients send one request after the other and do not repeat any. Lost: without a \
             whole response of status 200 within ten seconds; late: in the second half of the requests. Wrong text: other than an engine's own."
                .to_owned(),
        )
        .chain(examples)
        .collect(),
        table: Table::new(header, rows),
        goals: goals.collect(),
        ..Section::default()
    }
}

fn cost_json(costs: &Costs) -> Value {
    let all =
        costs.iter().flat_map(|(bytes, case)| case.iter().map(move |(way, samples)| (bytes, way, samples)));
    let median = |values: &[f64]| Spread::of(values.iter().copied()).median;
    all.map(|(bytes, way, samples)| {
        json!({
            "router": way.router, "engines": way.mode.name(), "body_bytes": bytes, "requests": samples.requests,
            "split": samples.split, "cpu_us_per_request": median(&samples.cpu_us),
            "p50_us": median(&samples.p50_us), "p99_us": median(&samples.p99_us),
        })
    })
    .collect()
}

fn kill_json(kills: &[Kill]) -> Value {
    let one = |kill: &Kill| {
        json!({
            "router": kill.way.router, "engines": kill.way.mode.name(), "killed": kill.victim.name(),
            "sent": kill.sent, "lost": kill.lost, "lost_late": kill.lost_late, "wrong": kill.wrong, "example": kill.example,
            "p50_us": {"before": kill.before_us.0, "after": kill.after_us.0},
            "longest_us": {"before": kill.before_us.1, "after": kill.after_us.1},
        })
    };
    kills.iter().map(one).collect()
}
