//! What terminal and page show of a comparison.

use super::chart;
use super::headline::{ours, part_of_ideal, rows};
use super::json::{Kind, RunInfo, late_ms_p99, lost};
use crate::arm::Arm;
use crate::measure::{ArmRun, Summary};
use warmpath_report::{Document, Row, Section, Table, percent, time_ms};

/// What a seed does not fix.
const VARIES: &str = "The seed fixes the requests. Envoy, the network and the clock are real, so the numbers vary from run to \
                      run.";

/// What the mark beside each arm's hits is.
const ENDLESS: &str = "One endless cache: what a single cache that never forgets would have found, with the requests in the \
                       order in which they were sent. No set of engines can find more.";

/// The last column where an arm without the filter is the measure.
pub(super) const BESIDE_BEST_PLAIN: &str = "vs best plain";

/// The document.
pub(super) fn document(info: &RunInfo, runs: &[ArmRun], arms: &[Summary]) -> Document {
    let requests = arms.first().map_or(0, |arm| arm.requests);
    let charts = |title: &str, note: &str, chart| Section {
        title: title.to_owned(),
        notes: vec![note.to_owned()],
        charts: vec![(String::new(), chart)],
        ..Section::default()
    };
    let title = match info.kind {
        Kind::Demo => "The same conversations, with and without cache-aware routing",
        Kind::Replay => "A recorded trace, with and without cache-aware routing",
        Kind::Pd => "The same requests, with prefill and decode together and apart",
        Kind::Agents => "The same coding agents, with and without waiting in the proxy",
    };
    let differs = match info.kind {
        Kind::Demo | Kind::Replay => "Only the choice of the engine differs.",
        Kind::Pd => {
            "Only the legs of requests that each engine takes differ: all (together), one half prefills and the other \
                     decodes (apart), or each also for others (either)."
        }
        Kind::Agents => {
            "Only whether requests wait in the proxy for room in the caches differs: none (all-at-once), or those of agents \
                     for which there is no room (held)."
        }
    };
    let same = match info.kind {
        Kind::Demo | Kind::Replay | Kind::Pd => format!("The same {requests} requests"),
        Kind::Agents => "The same agents".to_owned(),
    };
    let sections = [
        charts("Time to first token", "Further left is faster.", chart::distribution(runs)),
        charts("Prompt tokens that an engine had cached", ENDLESS, chart::cached(arms)),
        numbers(info, runs, arms),
        charts(
            "Requests of an engine over time",
            "Sending alike requests to the same engine must not mean sending all requests to one engine.",
            chart::engines(runs, info.engines),
        ),
        method(info),
    ];
    Document {
        title: title.to_owned(),
        lead: format!(
            "{same} in every arm, {} cold simulated engines each, a real Envoy {}. {differs}",
            info.engines, info.envoy_version
        ),
        facts: facts(info, arms),
        notes: Vec::new(),
        sections: sections.into(),
    }
}

/// The few numbers to remember.
fn facts(info: &RunInfo, arms: &[Summary]) -> Vec<(String, String)> {
    let Some(ours) = ours(arms) else { return Vec::new() };
    let wanted = match info.kind {
        Kind::Demo | Kind::Replay => ["TTFT p50", "TTFT p99", "output tokens/s"],
        Kind::Pd => ["TTFT p50", "time per token p99", "output tokens/s"],
        Kind::Agents => ["requests/s", "TTFT p50", "end to end p50"],
    };
    let beside = match info.kind {
        Kind::Demo | Kind::Replay => "the best plain arm",
        Kind::Pd => Arm::Together.name(),
        Kind::Agents => Arm::AllAtOnce.name(),
    };
    let verdicts = rows(arms).into_iter().filter(|row| wanted.contains(&row.label)).filter_map(|row| {
        let label = format!("{}, beside {beside}", row.label);
        Some((row.verdict?, label))
    });
    let hits = (percent(part_of_ideal(ours)), "of one endless cache's hits".to_owned());
    verdicts.chain([hits, (ours.lost.to_string(), "requests lost".to_owned())]).collect()
}

/// All numbers of all arms.
fn numbers(info: &RunInfo, runs: &[ArmRun], arms: &[Summary]) -> Section {
    let scale = info.time_scale;
    let mut notes = vec![
        format!(
            "Times are model time (wall time x {scale}): the proxy and this client count {scale} times against every arm."
        ),
        VARIES.to_owned(),
    ];
    notes.extend(info.goals.iter().map(|(value, label)| format!("{value} {label}.")));
    for (run, arm) in runs.iter().zip(arms) {
        if info.kind == Kind::Replay {
            let (part, late) = (percent(part_of_ideal(arm)), time_ms(late_ms_p99(run)));
            notes.push(format!("{}: {part} of the endless cache's hits; client late p99 {late}.", arm.name));
        }
        for (reason, count) in lost(run) {
            notes.push(format!("{}: lost {count} by {reason}.", arm.name));
        }
    }
    let versus = match info.kind {
        Kind::Demo | Kind::Replay => BESIDE_BEST_PLAIN,
        Kind::Pd => "apart vs together",
        Kind::Agents => "held vs all-at-once",
    };
    Section { title: "All numbers".to_owned(), notes, table: all_numbers(arms, versus), ..Section::default() }
}

/// The table of all numbers; the last column compares.
pub(super) fn all_numbers(arms: &[Summary], versus: &str) -> Table {
    let row = |row: super::headline::Row| {
        let verdict = row.verdict.unwrap_or_default();
        std::iter::once(row.label.to_owned()).chain(row.cells).chain([verdict]).collect::<Row>()
    };
    let header = std::iter::once("").chain(arms.iter().map(|arm| arm.name)).chain([versus]);
    Table::new(header, rows(arms).into_iter().map(row))
}

/// How it was measured, so that somebody else could.
fn method(info: &RunInfo) -> Section {
    let scale = info.time_scale;
    let choice = match info.kind {
        Kind::Demo | Kind::Replay => "the plain arms leave out the filter and let Envoy choose",
        Kind::Pd | Kind::Agents => "in every arm, the filter chooses",
    };
    let line = |name: &str, value: String| (name.to_owned(), value);
    let mut lines = vec![
        line("seed", info.seed.to_string()),
        line("engines", format!("{}, {}, {} KV tokens each", info.engines, info.preset, info.kv_tokens)),
        line("Envoy", format!("{}, {} with {} worker(s)", info.envoy_version, info.envoys, info.workers)),
        line("Warmpath", info.warmpath_version.to_owned()),
        line("tokens a piece", info.tokens_per_chunk.to_string()),
    ];
    lines.extend(info.parameters.clone());
    Section {
        title: "How it was measured".to_owned(),
        notes: vec![
            format!(
                "Each arm has its own engines, which begin with empty caches, and its own Envoy with the configuration that \
                 comes with Warmpath; {choice}. The engines are \
                 simulated: their step times are composed from measured kernels, and they run {scale} times faster than \
                 real. The client streams every response, and takes cached tokens from the engine's usage. A request is \
                 lost when its status is not 200 or its stream ends early."
            ),
            format!(
                "All times are model time: wall time multiplied by {scale}. Envoy, filter and client do not run faster, so \
                 what they cost counts {scale} times against every arm."
            ),
        ],
        table: Table::pairs(lines),
        is_for_page: true,
        ..Section::default()
    }
}
