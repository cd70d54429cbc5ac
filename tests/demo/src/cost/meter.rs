//! The processor time of a process, in nanoseconds where the kernel tells them: `/proc/PID/task/*/schedstat`.
//!
//! `/proc/PID/stat` counts in hundredths of a second, which is more than many of these measurements take.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;

const NS_PER_US: f64 = 1_000.0;

/// What the names of Envoy's worker threads begin with.
const WORKER: &str = "wrk:";

/// Processor time, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct CpuUs {
    /// Of all threads.
    pub(super) all: f64,
    /// Of the workers, which carry the requests; the main thread's VM may hold the controller's stream.
    pub(super) workers: f64,
}

/// Reads the processor time of one process. A thread that ends takes its time with it; Envoy's stay.
#[derive(Debug)]
pub(super) struct Meter {
    tasks: PathBuf,
}

impl Meter {
    pub(super) fn of(pid: u32) -> Self {
        Self { tasks: PathBuf::from(format!("/proc/{pid}/task")) }
    }

    /// Processor time of all threads since they began.
    pub(super) fn read(&self) -> anyhow::Result<CpuUs> {
        let mut cpu = CpuUs::default();
        let tasks = fs::read_dir(&self.tasks).with_context(|| format!("no {}", self.tasks.display()))?;
        for task in tasks {
            let task = task?.path();
            let line = fs::read_to_string(task.join("schedstat")).context("the kernel has no schedstat")?;
            let first = line.split_ascii_whitespace().next().context("an empty schedstat")?;
            let us = first.parse::<f64>()? / NS_PER_US;
            cpu.all += us;
            if fs::read_to_string(task.join("comm"))?.starts_with(WORKER) {
                cpu.workers += us;
            }
        }
        Ok(cpu)
    }
}

impl CpuUs {
    /// What was used since `before`, for each of `units`.
    pub(super) fn each_since(self, before: Self, units: usize) -> Self {
        let units = units as f64;
        Self { all: (self.all - before.all) / units, workers: (self.workers - before.workers) / units }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_processor_time() {
        let meter = Meter::of(std::process::id());
        let before = meter.read().unwrap();
        let mut sum = 0_u64;
        while meter.read().unwrap().all < before.all + 1_000.0 {
            sum = std::hint::black_box((0..100_000_u64).fold(sum, u64::wrapping_add));
        }
        let each = meter.read().unwrap().each_since(before, 10);
        assert!(
            each.all >= 100.0 && each.workers.abs() < f64::EPSILON,
            "{each:?}, there are no workers here"
        );
    }
}
