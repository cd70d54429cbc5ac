//! The simulator beside the published ladders.

use crate::calibrate::{ArmRun, Ladder, Measured, Point};
use warmpath_report::chart::{self, Arm, Axis, Line, Scale};
use warmpath_report::{Role, Row, Section, Table, percent};

/// Colours of the arms, in their order.
const ROLES: [Role; 3] = [Role::Other, Role::Bound, Role::Ours];

const RATE: Axis = Axis { label: "requests/s", scale: Scale::Linear, show: whole };
const TOKENS: Axis = Axis { label: "output tokens/s", scale: Scale::Linear, show: whole };

const ARMS: [&str; 5] =
    ["arm", "output tokens/s: mean error", "bias", "mean TTFT below saturation: error", "difference"];

const POINTS: [&str; 8] = [
    "arm",
    "requests/s",
    "output tokens/s, published",
    "simulated",
    "error",
    "mean TTFT, published",
    "simulated",
    "error",
];

/// The section; `None` where no ladder was played.
pub(super) fn section(ladders: &[Ladder]) -> Option<Section> {
    let note = "Published ladders of llm-d, played with the same stages. Dots as published, lines as simulated; where two lines \
                are for the same published arm, its dots have both colours. Output tokens/s count from a stage's first \
                request to its last response's end. What does not fit is reported and not tuned away.";
    (!ladders.is_empty()).then(|| Section {
        title: "Calibration: the simulator against real clusters".to_owned(),
        notes: vec![note.to_owned()],
        parts: ladders.iter().map(ladder).collect(),
        ..Section::default()
    })
}

fn ladder(ladder: &Ladder) -> Section {
    let row = |arm: &ArmRun| {
        Row::from([
            name(arm),
            percent(arm.output_error_mean),
            format!("{:+.1} %", arm.output_bias * 100.0),
            arm.ttft_error_mean.map_or_else(String::new, percent),
            arm.ttft_difference_mean_s.map_or_else(String::new, |s| format!("{:+.0} ms", s * 1_000.0)),
        ])
    };
    let point =
        |arm: &ArmRun, point: &Point| std::iter::once(name(arm)).chain(point.cells()).collect::<Row>();
    let points = ladder.arms.iter().flat_map(|arm| arm.points.iter().map(move |of| point(arm, of)));
    let every_point = Section {
        title: "Every point".to_owned(),
        table: Table::new(POINTS, points),
        is_folded: true,
        ..Section::default()
    };
    Section {
        title: ladder.name.to_owned(),
        notes: vec![format!("{}; {}.", ladder.about, ladder.note)],
        charts: vec![(String::new(), self::chart(ladder))],
        table: Table::new(ARMS, ladder.arms.iter().map(row)),
        parts: vec![every_point],
        ..Section::default()
    }
}

fn chart(ladder: &Ladder) -> chart::Chart {
    let line = |(arm, role): (&ArmRun, Role)| {
        let of = |read: fn(&Point) -> &Measured| {
            arm.points.iter().map(|point| [point.rate, read(point).output_tokens_per_s]).collect()
        };
        Line {
            arm: Arm::new(name(arm), role),
            points: of(|point| &point.simulated),
            dots: of(|point| &point.published),
        }
    };
    let lines: Vec<Line> = ladder.arms.iter().zip(ROLES).map(line).collect();
    chart::lines("Output tokens a second by request rate, published and simulated", [&RATE, &TOKENS], &lines)
}

fn name(arm: &ArmRun) -> String {
    format!("{} against {}", arm.rule, arm.published)
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}
