//! How far a run is: one line on standard error before each step, so that minutes without a table are no standstill.
//!
//! Lines and no bar, because a run is also read in logs; and between measurements only, so that they cost nothing of
//! what is measured.

use std::fmt::Display;

/// The next step begins.
#[expect(
    clippy::print_stderr,
    reason = "progress is for whoever waits, and not for whoever reads the tables"
)]
pub(crate) fn step(what: impl Display) {
    eprintln!(".. {what}");
}

/// The next repetition of a case begins; `at` counts from zero.
pub(crate) fn repetition(case: impl Display, at: usize, all: usize) {
    step(format_args!("{case}: repetition {} of {all}", at + 1));
}
