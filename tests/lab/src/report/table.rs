//! The table on the terminal.

use std::fmt::Write;

use warmpath_sim::page::{percent, time_ms};

use super::headline::{part_of_ideal, rows};
use super::json::{Kind, RunInfo, late_ms_p99, lost};
use crate::measure::{ArmRun, Summary};

/// What a seed does not fix.
pub(super) const VARIES: &str = "The seed fixes the requests. Envoy, the network and the clock are real, so the numbers vary \
                                 from run to run.";

const LABEL_WIDTH: usize = 24;
const CELL_WIDTH: usize = 15;

/// The table and the notes under it.
pub(super) fn render(info: &RunInfo, runs: &[ArmRun], arms: &[Summary]) -> String {
    let mut text = format!("{:LABEL_WIDTH$}", "");
    for arm in arms {
        let _ = write!(text, "{:>CELL_WIDTH$}", arm.name);
    }
    let _ = writeln!(text, "{:>20}", "vs best plain");
    for row in rows(arms) {
        let _ = write!(text, "{:LABEL_WIDTH$}", row.label);
        for cell in row.cells {
            let _ = write!(text, "{cell:>CELL_WIDTH$}");
        }
        let _ = writeln!(text, "{:>20}", row.verdict.unwrap_or_default());
    }
    let _ = writeln!(
        text,
        "\nTimes are model time (wall time x {}): the proxy and this client count {} times against every arm.",
        info.time_scale, info.time_scale
    );
    let _ = writeln!(text, "{VARIES}");
    for (run, arm) in runs.iter().zip(arms) {
        if info.kind == Kind::Replay {
            let (part, late) = (percent(part_of_ideal(arm)), time_ms(late_ms_p99(run)));
            let _ = writeln!(
                text,
                "{:>14}: {part} of the endless cache's hits; client late p99 {late}",
                arm.name
            );
        }
        for (reason, count) in lost(run) {
            let _ = writeln!(text, "{:>14}: lost {count} by {reason}", arm.name);
        }
    }
    text
}
