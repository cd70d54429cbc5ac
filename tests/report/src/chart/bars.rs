//! Amounts, an arm a row, one or more figures side by side; a mark shows what could be reached.

use super::svg::{Anchor, Canvas, LEFT, WIDTH};
use super::{Arm, Chart};

const ROW: f64 = 20.0;
const TOP: f64 = 24.0;
const GAP: f64 = 26.0;
const HEIGHT: f64 = 12.0;
/// Room for the number behind a bar.
const NUMBER: f64 = 66.0;
/// Where a panel is cut: a bar that would be so many times as long as the median one.
const LONGEST: f64 = 3.0;

/// One figure.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Which.
    pub head: &'static str,
    /// How a value is shown.
    pub show: fn(f64) -> String,
    /// Whether very long bars are cut.
    pub is_cut: bool,
    /// By arm; `None` leaves its row empty.
    pub bars: Vec<Option<Bar>>,
}

/// One bar.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// How much there was.
    pub value: f64,
    /// How much there could be.
    pub mark: Option<f64>,
}

/// The chart.
pub fn bars(title: &str, arms: &[Arm], panels: &[Panel]) -> Chart {
    let mut canvas = Canvas::default();
    let y = |row: usize| TOP + ROW * (row as f64 + 0.5);
    for (row, arm) in arms.iter().enumerate() {
        canvas.text(arm.name_class(), [LEFT - 12.0, y(row) + 4.0], Anchor::End, &arm.name);
    }
    let width = (WIDTH - LEFT + GAP) / panels.len().max(1) as f64 - GAP;
    for (number, panel) in panels.iter().enumerate() {
        let from = LEFT + (width + GAP) * number as f64;
        canvas.text("head", [from, 13.0], Anchor::Start, panel.head);
        let most = panel.most();
        let length = |value: f64| (value / most).min(1.0) * (width - NUMBER);
        for (row, (arm, bar)) in arms.iter().zip(&panel.bars).enumerate() {
            let Some(bar) = bar else { continue };
            let end = length(bar.value);
            let size = [end, HEIGHT];
            canvas.rect(&format!("bar {}", arm.role.class()), [from, y(row) - HEIGHT / 2.0], size);
            if let Some(mark) = bar.mark.map(|mark| from + length(mark)) {
                canvas.line("mark", [mark, y(row) - 8.0], [mark, y(row) + 8.0]);
            }
            // Behind bar and mark, where nothing is in its way.
            let free = from + end.max(bar.mark.map_or(0.0, length)) + 8.0;
            let cut = if bar.value > most { "… " } else { "" };
            let number = format!("{cut}{}", (panel.show)(bar.value));
            canvas.text("tick", [free, y(row) + 4.0], Anchor::Start, &number);
        }
    }
    canvas.finish(TOP + ROW * arms.len() as f64 + 4.0, title)
}

// === impl Panel ===

impl Panel {
    /// What the longest bar stands for.
    fn most(&self) -> f64 {
        let mut values: Vec<f64> =
            self.bars.iter().flatten().map(|bar| bar.value.max(bar.mark.unwrap_or(0.0))).collect();
        values.sort_by(f64::total_cmp);
        let most = values.last().copied().unwrap_or_default();
        let median = values.get(values.len() / 2).copied().unwrap_or_default();
        if self.is_cut { most.min(LONGEST * median) } else { most }.max(1e-9)
    }
}
