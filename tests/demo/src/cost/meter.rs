//! The processor time of a process, in nanoseconds where the kernel tells them: `/proc/PID/task/*/schedstat`.
//!
//! `/proc/PID/stat` counts in hundredths of a second, which is more than many of these measurements take.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;

/// Reads the processor time of one process. A thread that ends takes its time with it; Envoy's stay.
#[derive(Debug)]
pub(super) struct Meter {
    tasks: PathBuf,
}

impl Meter {
    pub(super) fn of(pid: u32) -> Self {
        Self { tasks: PathBuf::from(format!("/proc/{pid}/task")) }
    }

    /// Processor time of all threads since they began, in microseconds.
    pub(super) fn cpu_us(&self) -> anyhow::Result<f64> {
        let mut nanoseconds = 0.0;
        let tasks = fs::read_dir(&self.tasks).with_context(|| format!("no {}", self.tasks.display()))?;
        for task in tasks {
            let line = fs::read_to_string(task?.path().join("schedstat")).context("the kernel has no schedstat")?;
            let first = line.split_ascii_whitespace().next().context("an empty schedstat")?;
            nanoseconds += first.parse::<f64>()?;
        }
        Ok(nanoseconds / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_processor_time() {
        let meter = Meter::of(std::process::id());
        let before_us = meter.cpu_us().unwrap();
        let mut sum = 0_u64;
        while meter.cpu_us().unwrap() < before_us + 1_000.0 {
            sum = std::hint::black_box((0..100_000_u64).fold(sum, u64::wrapping_add));
        }
        assert!(meter.cpu_us().unwrap() > before_us);
    }
}
