//! The measurement as tables on the terminal.

use super::models::{self, Restart, Then};
use super::scaling::{self, Part};
use super::{Cost, Found, Restarted};
use crate::args::BenchClusterArgs;
use std::collections::BTreeMap;
use std::time::Duration;
use warmpath_cluster::Call;
use warmpath_report::{Row, Table, percentile, times};

const BYTES_PER_MB: f64 = 1e6;

/// Prints what was found, with the machine's load, which it depends on.
pub(super) fn print(args: &BenchClusterArgs, found: &Found) {
    println!("\n{} pods in {} pools; {}\n", args.pods, args.pools, machine());
    let changes = format!("{} changes of pods", found.changes);
    println!("{}", costs(&[("at rest", &found.rest), (&changes, &found.change)]).to_text());
    println!("Calls of the API server, of all controllers, in {} s:\n", args.seconds);
    println!("{}", calls(["at rest", "while pods change"], [&found.calls, &found.calls_of_change]).to_text());
    println!("From the start of a controller's process:\n");
    println!("{}", restarts(&found.restarts).to_text());
}

/// Prints what ModelServices cost.
pub(super) fn print_models(args: &BenchClusterArgs, found: &models::Found) {
    let models::Found { ready, calls_of_ready, rest, calls: calls_at_rest, then } = found;
    println!(
        "\n{} ModelServices, each with a prefill and a decode engine; {}\n",
        args.model_services,
        machine()
    );
    println!("All were Ready {:.1} s after the first was created.\n", ready.as_secs_f64());
    println!("{}", costs(&[("at rest", rest)]).to_text());
    let at_rest = format!("{} s at rest", args.seconds);
    match then {
        Then::Restart(restart) => {
            println!("{}", after_kill(restart).to_text());
            println!("Calls of the API server, of all controllers:\n");
            let columns = ["until Ready", &at_rest, "after the kill"];
            println!("{}", calls(columns, [calls_of_ready, calls_at_rest, &restart.calls]).to_text());
        }
        Then::Scaling(scaling) => {
            println!("{} proxies, {} requests a second:\n", args.proxies, args.requests_per_s);
            println!("{}", with_scaling(scaling).to_text());
            println!("Calls of the API server, of all controllers:\n");
            println!("{}", calls(["until Ready", &at_rest], [calls_of_ready, calls_at_rest]).to_text());
        }
    }
}

/// The machine, as far as times depend on it.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    format!("{cores} cores, load averages {load}")
}

/// What scaling adds, as ratios to the mean of before and after.
fn with_scaling(found: &scaling::Found) -> Table {
    let [before, scaled, after] = &found.parts;
    let cpu = |part: &Part| part.costs.iter().map(|cost| cost.cpu).sum::<f64>();
    let bytes = |part: &Part| part.costs.iter().map(|cost| cost.bytes as f64).sum::<f64>() / BYTES_PER_MB;
    let events = |part: &Part| part.events / part.served.max(1) as f64;
    let row = |what: &str, of: &dyn Fn(&Part) -> f64, show: &dyn Fn(f64) -> String| {
        let without = f64::midpoint(of(before), of(after));
        let ratio = if without > 0.0 { times(of(scaled) / without) } else { String::new() };
        let cells = [of(before), of(scaled), of(after)].map(show);
        std::iter::once(what.to_owned()).chain(cells).chain([ratio]).collect::<Row>()
    };
    let whole = |value: f64| format!("{value:.0}");
    Table::new(
        ["all controllers", "without scaling", "with", "without", "ratio"],
        [
            row("of a core", &cpu, &|share| format!("{:.2} %", share * 100.0)),
            row("MB resident", &bytes, &whole),
            row("events sent for a request", &events, &|count| format!("{count:.1}")),
            row("requests served", &|part| part.served as f64, &whole),
            row("requests failed", &|part| part.failed as f64, &whole),
        ],
    )
}

fn after_kill(restart: &Restart) -> Table {
    let row =
        |what: &str, time: Duration| Row::from([what.to_owned(), format!("{:.2} s", time.as_secs_f64())]);
    let spent = restart.cpu.iter().enumerate();
    let spent =
        spent.map(|(at, time)| row(&format!("processor time of controller {} until then", at + 1), *time));
    let looked = [
        row("from the kill until the new leader had looked at all", restart.from_kill),
        row("of this, with the Lease", restart.from_lease),
    ];
    Table::new(["all controllers killed", ""], looked.into_iter().chain(spent))
}

fn costs(all: &[(&str, &[Cost])]) -> Table {
    let row = |(name, costs): &(&str, &[Cost])| -> Row {
        let cells = costs.iter().flat_map(|cost| {
            [format!("{:.1} %", cost.cpu * 100.0), format!("{:.0} MB", cost.bytes as f64 / BYTES_PER_MB)]
        });
        std::iter::once((*name).to_owned()).chain(cells).collect()
    };
    let controllers = all.first().map_or(0, |(_, costs)| costs.len());
    let columns = (1..=controllers)
        .flat_map(|number| [format!("controller {number}: of a core"), "resident".to_owned()]);
    Table::new(std::iter::once(String::new()).chain(columns), all.iter().map(row))
}

fn calls<const N: usize>(columns: [&str; N], times: [&[Call]; N]) -> Table {
    let mut counts: BTreeMap<(String, String), [usize; N]> = BTreeMap::new();
    for (at, calls) in times.into_iter().enumerate() {
        for call in calls {
            let count = counts.entry((call.verb.clone(), call.resource())).or_insert([0; N]);
            if let Some(count) = count.get_mut(at) {
                *count += 1;
            }
        }
    }
    let rows = counts.into_iter().map(|((verb, resource), counts)| -> Row {
        std::iter::once(format!("{verb} {resource}")).chain(counts.map(|count| count.to_string())).collect()
    });
    Table::new(std::iter::once("").chain(columns), rows)
}

fn restarts(restarts: &[Restarted]) -> Table {
    let row = |name: &str, times: &dyn Fn(&Restarted) -> Duration| {
        let ms = || restarts.iter().map(|restarted| times(restarted).as_secs_f64() * 1e3);
        Row::from([
            name.to_owned(),
            format!("{:.0} ms", percentile(ms(), 50)),
            format!("{:.0} ms", percentile(ms(), 100)),
        ])
    };
    let header = [String::new(), format!("median of {}", restarts.len()), "longest".to_owned()];
    Table::new(
        header,
        [
            row("all pods are known", &|restarted| restarted.known),
            row("all metrics are read", &|restarted| restarted.scraped),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_verb_and_kind() {
        let call = |verb: &str, uri: &str| Call { verb: verb.to_owned(), uri: uri.to_owned(), status: 200 };
        let lease = "/apis/coordination.k8s.io/v1/namespaces/llm/leases/warmpath";
        let rest = [call("get", lease), call("get", lease)];
        let change = [call("get", lease), call("watch", "/api/v1/namespaces/llm/pods?watch=1")];
        let text = calls(["at rest", "while pods change"], [&rest, &change]).to_text();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["get", "leases.coordination.k8s.io", "2", "1"]);
        assert_eq!(lines[2], ["watch", "pods", "0", "1"]);
    }
}
