//! How far an arm is: a bar on a terminal, a few plain lines elsewhere.

use crate::arm::Arm;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Plain lines of an arm.
const LINES: usize = 4;

/// How far an arm is.
#[derive(Debug)]
pub struct Progress {
    arm: Arm,
    requests: usize,
    done: AtomicUsize,
    lost: AtomicUsize,
    bar: Option<ProgressBar>,
}

// === impl Progress ===

impl Progress {
    /// Requests of an arm that time ends: no part of them is done.
    pub const ENDLESS: usize = usize::MAX;

    /// Nothing done yet of `requests`.
    pub fn new(arm: Arm, requests: usize) -> Self {
        let has_end = requests != Self::ENDLESS;
        let bar = (has_end && std::io::stderr().is_terminal()).then(|| {
            let template = "{prefix:>14} [{bar:40}] {pos}/{len} {elapsed} {msg}";
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(requests as u64).with_prefix(arm.name()).with_style(style.progress_chars("=> "))
        });
        Self { arm, requests, done: AtomicUsize::new(0), lost: AtomicUsize::new(0), bar }
    }

    /// One more request has ended.
    pub(super) fn step(&self, is_lost: bool) {
        let lost = self.lost.fetch_add(usize::from(is_lost), Ordering::Relaxed) + usize::from(is_lost);
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(bar) = &self.bar {
            bar.inc(1);
            if lost > 0 {
                bar.set_message(format!("{lost} lost"));
            }
        } else if done * LINES / self.requests.max(1) > (done - 1) * LINES / self.requests.max(1) {
            println!("{:>14}: {done} of {} requests, {lost} lost", self.arm.name(), self.requests);
        }
    }

    /// The arm is over.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}
