//! Invented measurements as charts.

use super::{Area, Arm, Axis, Bar, Group, Line, Panel, Range, Scale, areas, bars, lines, ranges};
use crate::{Role, percent, time_ms};
use maud::Render;

const TIME: Axis = Axis { label: "time", scale: Scale::Logarithmic, show: time_ms };
const SHARE: Axis = Axis { label: "share", scale: Scale::Linear, show: percent };

fn ours() -> Arm {
    Arm::new("<ours>", Role::Ours)
}

fn every_chart(value: f64) -> Vec<String> {
    let range = Range { arm: ours(), low: value, high: 2.0 * value, tick: Some(value), value };
    let bar = Bar { value, mark: Some(2.0 * value) };
    let panel = Panel { head: "cached", show: percent, is_cut: true, bars: vec![Some(bar), None] };
    let line =
        Line { arm: ours(), points: vec![[value, 0.0], [2.0 * value, value]], dots: vec![[value, value]] };
    let area =
        Area { arm: ours(), note: String::new(), bins: vec![[0.0, value, value], [1.0, value, value]] };
    [
        ranges("t", &TIME, &[Group { label: "case".to_owned(), ranges: vec![range] }]),
        bars("t", &[ours(), ours()], &[panel]),
        lines("t", [&TIME, &SHARE], &[line]),
        areas("t", "requests", &[area]),
    ]
    .map(|chart| chart.render().into_string())
    .into()
}

#[test]
fn names_are_escaped_and_places_are_numbers() {
    for chart in every_chart(3.0) {
        assert!(chart.contains("&lt;ours&gt;") && !chart.contains("<ours>"), "{chart}");
        assert!(!chart.contains("NaN") && !chart.contains("inf"), "{chart}");
    }
}

#[test]
fn nothing_measured_is_no_chart_or_an_empty_one() {
    for chart in every_chart(0.0) {
        assert!(!chart.contains("NaN") && !chart.contains("inf"), "{chart}");
    }
}

#[test]
fn a_bar_that_is_much_longer_than_the_others_is_cut() {
    let bar = |value| Some(Bar { value, mark: None });
    let panel = Panel { head: "", show: time_ms, is_cut: true, bars: vec![bar(1.0), bar(1.0), bar(9.0)] };
    let chart = bars("t", &[ours(), ours(), ours()], &[panel]).render().into_string();
    assert!(chart.contains("… 9 ms") && !chart.contains("… 1 ms"), "{chart}");
}
