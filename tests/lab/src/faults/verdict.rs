//! What a scenario came to, and the table of all of them.

use super::traffic::Heard;
use std::collections::BTreeMap;
use std::time::Duration;
use warmpath_report::{Row, Table, percent};

/// Fewer requests than these show nothing.
pub(super) const REQUESTS_MIN: usize = 1_000;

/// What a scenario came to.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Its name.
    pub(super) scenario: &'static str,
    /// Requests of clients.
    pub(super) requests: usize,
    /// Those without a whole response, by reason.
    pub(super) lost: BTreeMap<String, usize>,
    /// The largest share of the requests that may be lost.
    pub(super) lost_share_max: f64,
    /// The longest time in which no client got a first token, while some asked.
    pub(super) pause: Duration,
    /// The longest that a client waited for its first token.
    pub(super) wait: Duration,
    /// What else is wrong, if anything.
    pub(super) wrong: Option<String>,
    /// What was done, and what was seen.
    pub(super) note: String,
}

// === impl Verdict ===

impl Verdict {
    /// Of what clients heard.
    pub(super) fn new(scenario: &'static str, heard: Heard, note: String) -> Self {
        let (requests, pause, wait) = (heard.requests(), heard.pause(), heard.wait());
        Self { scenario, requests, lost: heard.lost, lost_share_max: 0.0, pause, wait, wrong: None, note }
    }

    fn lost(&self) -> usize {
        self.lost.values().sum()
    }

    fn lost_share(&self) -> f64 {
        self.lost() as f64 / self.requests.max(1) as f64
    }

    /// Whether it is as it should be.
    pub(super) fn is_right(&self) -> bool {
        self.wrong.is_none() && self.requests >= REQUESTS_MIN && self.lost_share() <= self.lost_share_max
    }

    fn row(&self) -> Row {
        let reasons: Vec<_> = self.lost.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let lost = match self.lost() {
            0 => "0".to_owned(),
            lost => format!("{lost} ({}): {}", percent(self.lost_share()), reasons.join(", ")),
        };
        let limit = match self.lost_share_max {
            none if none <= 0.0 => "0".to_owned(),
            share => format!("< {}", percent(share)),
        };
        let ms = |time: Duration| format!("{} ms", time.as_millis());
        let word = if self.is_right() { "right" } else { "WRONG" };
        let note = self.wrong.iter().chain([&self.note]).map(String::as_str).collect::<Vec<_>>().join("; ");
        let cells = [
            self.scenario.to_owned(),
            self.requests.to_string(),
            lost,
            limit,
            ms(self.pause),
            ms(self.wait),
            word.to_owned(),
            note,
        ];
        cells.into_iter().collect()
    }
}

/// The table of all.
pub(super) fn table(verdicts: &[Verdict]) -> Table {
    let header =
        ["scenario", "requests", "lost", "allowed", "longest pause", "longest wait", "", "what happened"];
    Table::new(header, verdicts.iter().map(Verdict::row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_right_with_enough_requests_and_few_enough_losses() {
        let verdict = |requests, lost, lost_share_max| Verdict {
            scenario: "x",
            requests,
            lost: BTreeMap::from([("status-503".to_owned(), lost)]),
            lost_share_max,
            pause: Duration::ZERO,
            wait: Duration::ZERO,
            wrong: None,
            note: String::new(),
        };
        assert!(verdict(1_000, 0, 0.0).is_right());
        assert!(!verdict(999, 0, 0.0).is_right(), "too few to show anything");
        assert!(!verdict(1_000, 1, 0.0).is_right());
        assert!(verdict(1_000, 9, 0.01).is_right() && !verdict(1_000, 11, 0.01).is_right());
        assert!(!Verdict { wrong: Some("no".to_owned()), ..verdict(1_000, 0, 0.0) }.is_right());
        assert!(table(&[verdict(1_000, 1, 0.0)]).to_text().contains("1 status-503"));
    }
}
