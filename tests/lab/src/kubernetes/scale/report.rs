//! The measurement as tables on the terminal.

use super::{Cost, Found, Restarted};
use crate::args::BenchClusterArgs;
use std::collections::BTreeMap;
use std::time::Duration;
use warmpath_cluster::Call;
use warmpath_report::{Row, Table, percentile};

const BYTES_PER_MB: f64 = 1e6;

/// Prints what was found, with the machine's load, which it depends on.
pub(super) fn print(args: &BenchClusterArgs, found: &Found) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    println!("\n{} pods in {} pools; {cores} cores, load averages {load}\n", args.pods, args.pools);
    println!("{}", costs(found).to_text());
    println!("Calls of the API server, of all controllers, in {} s:\n", args.seconds);
    println!("{}", calls(&found.calls, &found.calls_of_change).to_text());
    println!("From the start of a controller's process:\n");
    println!("{}", restarts(&found.restarts).to_text());
}

fn costs(found: &Found) -> Table {
    let row = |name: String, costs: &[Cost]| -> Row {
        let cells = costs.iter().flat_map(|cost| {
            [format!("{:.1} %", cost.cpu * 100.0), format!("{:.0} MB", cost.bytes as f64 / BYTES_PER_MB)]
        });
        std::iter::once(name).chain(cells).collect()
    };
    let columns = (1..=found.rest.len())
        .flat_map(|number| [format!("controller {number}: of a core"), "resident".to_owned()]);
    let header = std::iter::once(String::new()).chain(columns);
    let changes = format!("{} changes of pods", found.changes);
    Table::new(header, [row("at rest".to_owned(), &found.rest), row(changes, &found.change)])
}

fn calls(rest: &[Call], change: &[Call]) -> Table {
    let mut counts: BTreeMap<(String, String), [usize; 2]> = BTreeMap::new();
    for (at, calls) in [rest, change].into_iter().enumerate() {
        for call in calls {
            let count = counts.entry((call.verb.clone(), call.resource())).or_default();
            if let Some(count) = count.get_mut(at) {
                *count += 1;
            }
        }
    }
    let rows = counts.into_iter().map(|((verb, resource), [rest, change])| {
        Row::from([format!("{verb} {resource}"), rest.to_string(), change.to_string()])
    });
    Table::new(["", "at rest", "while pods change"], rows)
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
        let text = calls(&rest, &change).to_text();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["get", "leases.coordination.k8s.io", "2", "1"]);
        assert_eq!(lines[2], ["watch", "pods", "0", "1"]);
    }
}
