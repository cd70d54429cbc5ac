//! The canvas of a chart: a few shapes with the classes of the style sheet.

use super::Chart;
use maud::{Markup, PreEscaped, html};
use std::fmt::Write;

/// All charts are this wide.
pub(super) const WIDTH: f64 = 760.0;

/// Room for the arms' names at the left.
pub(super) const LEFT: f64 = 132.0;

/// A position, or a size.
pub(super) type Point = [f64; 2];

/// Which part of a text is at its position.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// What has been drawn.
#[derive(Default)]
pub(super) struct Canvas(String);

// === impl Canvas ===

impl Canvas {
    pub(super) fn line(&mut self, class: &str, from: Point, to: Point) {
        let ([x1, y1], [x2, y2]) = (from.map(px), to.map(px));
        self.put(&html! { line class=(class) x1=(x1) y1=(y1) x2=(x2) y2=(y2) {} });
    }

    pub(super) fn rect(&mut self, class: &str, at: Point, size: Point) {
        let ([x, y], [width, height]) = (at.map(px), size.map(px));
        self.put(&html! { rect class=(class) x=(x) y=(y) width=(width) height=(height) rx="2" {} });
    }

    pub(super) fn dot(&mut self, class: &str, at: Point, radius: f64, title: &str) {
        let [x, y] = at.map(px);
        self.put(&html! { circle class=(class) cx=(x) cy=(y) r=(px(radius)) { title { (title) } } });
    }

    pub(super) fn text(&mut self, class: &str, at: Point, anchor: Anchor, text: &str) {
        let [x, y] = at.map(px);
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.put(&html! { text class=(class) x=(x) y=(y) text-anchor=(anchor) { (text) } });
    }

    pub(super) fn polyline(&mut self, class: &str, points: impl IntoIterator<Item = Point>) {
        self.put(&html! { polyline class=(class) points=(path(points)) {} });
    }

    pub(super) fn polygon(&mut self, class: &str, points: impl IntoIterator<Item = Point>) {
        self.put(&html! { polygon class=(class) points=(path(points)) {} });
    }

    /// The chart, with a title for those who do not see it.
    pub(super) fn finish(self, height: f64, title: &str) -> Chart {
        Chart(html! {
            svg viewBox=(format!("0 0 {WIDTH} {height:.0}")) role="img" aria-label=(title) {
                title { (title) }
                (PreEscaped(self.0))
            }
        })
    }

    fn put(&mut self, shape: &Markup) {
        self.0.push_str(&shape.0);
        self.0.push('\n');
    }
}

fn px(value: f64) -> String {
    format!("{value:.1}")
}

fn path(points: impl IntoIterator<Item = Point>) -> String {
    let mut path = String::new();
    for [x, y] in points {
        let _ = write!(path, "{x:.1},{y:.1} ");
    }
    path
}
