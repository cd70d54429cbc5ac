//! `report.html`: one page that needs nothing but itself, to be sent around and read in ten years.

use std::fmt::{Display, Write};

use warmpath_sim::page::{percent, time_ms};

use super::chart;
use super::headline::{Row, part_of_ideal, rows};
use super::json::{Kind, RunInfo, late_ms_p99};
use super::page::{self, escape, fact};
use super::table::VARIES;
use crate::arm::Arm;
use crate::measure::{ArmRun, Summary};

/// The page.
pub(super) fn render(info: &RunInfo, runs: &[ArmRun], arms: &[Summary]) -> String {
    let rows = rows(arms);
    let mut page = page::open(title(info.kind));
    let requests = arms.first().map_or(0, |arm| arm.requests);
    let _ = writeln!(
        page,
        "<p class=\"soft\">The same {requests} requests in every arm, {} cold simulated engines each, a real Envoy \
         {}. Only the choice of the engine differs.</p>",
        info.engines,
        escape(&info.envoy_version)
    );
    facts(&mut page, arms, &rows);
    page.push_str("<h2>Time to first token</h2>\n<p class=\"soft\">Further left is faster.</p>\n");
    legend(&mut page, runs);
    page.push_str(&chart::distribution(runs));
    page.push_str("<h2>Prompt tokens that an engine had cached</h2>\n");
    page.push_str(&chart::bars(arms));
    page.push_str("<h2>All numbers</h2>\n");
    table(&mut page, arms, &rows);
    page.push_str(
        "<h2>Requests of each engine over time</h2>\n<p class=\"soft\">Sending alike requests to the same engine must \
         not mean sending all requests to one engine.</p>\n",
    );
    page.push_str(&chart::engines(runs, info.engines));
    method(&mut page, info, runs);
    page.push_str(page::CLOSE);
    page
}

fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Demo => "The same conversations, with and without cache-aware routing",
        Kind::Replay => "A recorded trace, with and without cache-aware routing",
    }
}

/// The few numbers to remember.
fn facts(page: &mut String, arms: &[Summary], rows: &[Row]) {
    let Some(ours) = arms.iter().find(|arm| arm.name == Arm::Warmpath.name()) else { return };
    page.push_str("<dl class=\"facts\">\n");
    for label in ["TTFT p50", "TTFT p99", "output tokens/s"] {
        let verdict = rows.iter().find(|row| row.label == label).and_then(|row| row.verdict.as_deref());
        if let Some(verdict) = verdict {
            fact(page, verdict, &format!("{label}, beside the best plain arm"));
        }
    }
    fact(page, &percent(part_of_ideal(ours)), "of one endless cache's hits");
    fact(page, &ours.lost.to_string(), "requests lost");
    page.push_str("</dl>\n");
}

fn legend(page: &mut String, runs: &[ArmRun]) {
    page.push_str("<p class=\"legend\">");
    for run in runs {
        let _ = write!(page, "<span><i class=\"{0}\"></i>{0}</span>", run.arm.name());
    }
    page.push_str("</p>\n");
}

fn table(page: &mut String, arms: &[Summary], rows: &[Row]) {
    page.push_str("<div class=\"scroll\"><table>\n<thead><tr><th></th>");
    for arm in arms {
        let _ = write!(page, "<th>{}</th>", arm.name);
    }
    page.push_str("<th>vs best plain</th></tr></thead>\n<tbody>\n");
    for row in rows {
        let _ = write!(page, "<tr><td>{}</td>", escape(row.label));
        for cell in &row.cells {
            let _ = write!(page, "<td>{}</td>", escape(cell));
        }
        let _ = writeln!(page, "<td>{}</td></tr>", escape(row.verdict.as_deref().unwrap_or_default()));
    }
    page.push_str("</tbody>\n</table></div>\n");
}

/// How it was measured, so that somebody else could.
fn method(page: &mut String, info: &RunInfo, runs: &[ArmRun]) {
    let _ = write!(
        page,
        "<h2>How it was measured</h2>\n\
         <p>Each arm has its own engines, which begin with empty caches, and its own Envoy with the configuration that \
         comes with Warmpath; the plain arms leave out the filter and let Envoy choose. The engines are simulated: \
         their step times are composed from measured kernels, and they run {scale} times faster than real. The \
         client streams every answer, and takes cached tokens from the engine's usage. A request is lost when its \
         status is not 200 or its stream ends early.</p>\n\
         <p>All times are model time: wall time multiplied by {scale}. Envoy, filter and client do not run faster, so \
         what they cost counts {scale} times against every arm.</p>\n\
         <p>{VARIES}</p>\n\
         <p>One endless cache: what a single cache that never forgets would have found, with the requests in the \
         order in which they were sent. No set of engines can find more.</p>\n\
         <div class=\"scroll\"><table>\n<tbody>\n",
        scale = info.time_scale
    );
    let mut line = |name: &str, value: &dyn Display| {
        let value = escape(&value.to_string());
        let _ = writeln!(page, "<tr><td>{}</td><td class=\"wrap\">{value}</td></tr>", escape(name));
    };
    line("seed", &info.seed);
    line("engines", &format!("{}, {}, {} KV tokens each", info.engines, info.preset, info.kv_tokens));
    line("Envoy", &format!("{}, {} with {} worker(s)", info.envoy_version, info.envoys, info.workers));
    line("Warmpath", &info.warmpath_version);
    line("tokens a piece", &info.tokens_per_chunk);
    for (name, value) in &info.parameters {
        line(name, value);
    }
    if info.kind == Kind::Replay {
        for run in runs {
            line(&format!("client late p99, {}", run.arm), &time_ms(late_ms_p99(run)));
        }
    }
    page.push_str("</tbody>\n</table></div>\n");
}
