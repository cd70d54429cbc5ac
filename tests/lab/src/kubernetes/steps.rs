//! The steps of the demo, each with the time that it took.

use std::time::Instant;

/// A stopwatch that prints.
#[derive(Debug)]
pub(super) struct Steps {
    begun: Instant,
}

// === impl Steps ===

impl Default for Steps {
    fn default() -> Self {
        Self { begun: Instant::now() }
    }
}

impl Steps {
    /// Prints what was done since the last step, and how long it took.
    pub(super) fn done(&mut self, what: &str) {
        println!("{:>6.1} s  {what}", self.begun.elapsed().as_secs_f64());
        self.restart();
    }

    /// Begins the next step now.
    pub(super) fn restart(&mut self) {
        self.begun = Instant::now();
    }
}
