//! The processor time of a process tree, in nanoseconds where the kernel tells them:
//! `/proc/PID/task/*/schedstat`.
//!
//! `/proc/PID/stat` counts in hundredths of a second, which is more than many of these measurements take. But it
//! remembers threads that have ended, which take their `schedstat` with them: where one has ended between two
//! readings, its count is taken instead.

use super::tree;
use anyhow::Context;
use std::collections::BTreeMap;
use std::fs;

const NS_PER_US: f64 = 1_000.0;

/// Microseconds of the kernel's tick in `/proc/PID/stat`, which is a hundredth of a second on every Linux that these
/// programs run on.
const TICK_US: f64 = 10_000.0;

/// Fields between a process's name and its user and system time in `/proc/PID/stat`.
const FIELDS_BEFORE_TIMES: usize = 11;

/// Reads the processor time of one process and its children.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    pid: u32,
}

/// Processor time that was used until a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cpu {
    /// By thread id: its name, and its microseconds.
    threads: BTreeMap<u32, (String, f64)>,
    /// Of all threads, those that have ended included, in whole ticks.
    ticks_us: f64,
}

// === impl Meter ===

impl Meter {
    /// Of this process.
    pub fn of(pid: u32) -> Self {
        Self { pid }
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        super::memory::resident_bytes(self.pid)
    }

    /// Processor time since the processes began.
    pub fn read(&self) -> anyhow::Result<Cpu> {
        let mut cpu = Cpu::default();
        for pid in tree::pids(self.pid) {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("a process has ended")?;
            cpu.ticks_us += ticks(&stat).context("an unreadable /proc/PID/stat")? * TICK_US;
            for task in fs::read_dir(format!("/proc/{pid}/task")).context("a process has ended")? {
                let task = task?.path();
                let id = task.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
                // A thread may end between its listing and its reading.
                let Ok(line) = fs::read_to_string(task.join("schedstat")) else { continue };
                let Ok(name) = fs::read_to_string(task.join("comm")) else { continue };
                let ns: f64 = line.split_ascii_whitespace().next().context("no schedstat")?.parse()?;
                if let Some(id) = id {
                    cpu.threads.insert(id, (name.trim_end().to_owned(), ns / NS_PER_US));
                }
            }
        }
        Ok(cpu)
    }
}

// === impl Cpu ===

impl Cpu {
    /// Microseconds of all threads since `before`.
    pub fn since(&self, before: &Self) -> f64 {
        if before.threads.keys().all(|id| self.threads.contains_key(id)) {
            self.by_thread(before).map(|(_, us)| us).sum()
        } else {
            self.ticks_us - before.ticks_us
        }
    }

    /// Microseconds since `before` of each thread that lives, with its name.
    pub fn by_thread<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = (&'a str, f64)> {
        self.threads.iter().map(|(id, (name, us))| {
            let earlier = before.threads.get(id).map_or(0.0, |(_, us)| *us);
            (name.as_str(), us - earlier)
        })
    }
}

/// User and system time in ticks. The name before them may hold anything, spaces and brackets too.
fn ticks(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(FIELDS_BEFORE_TIMES);
    let mut next = || times.next()?.parse::<f64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn cpu(threads: &[(u32, f64)], ticks_us: f64) -> Cpu {
        let threads = threads.iter().map(|(id, us)| (*id, (format!("t{id}"), *us))).collect();
        Cpu { threads, ticks_us }
    }

    #[test]
    fn work_costs_processor_time() {
        // A process of its own: children that other tests start and end within this one would end between two readings.
        // It ends by itself, seconds after it is needed, where this test fails and does not end it.
        let script = "i=0; while [ $i -lt 5000000 ]; do i=$((i+1)); done";
        let mut busy = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let meter = Meter::of(busy.id());
        let before = meter.read().unwrap();
        let after = loop {
            let after = meter.read().unwrap();
            if after.since(&before) >= 1_000.0 {
                break after;
            }
            std::thread::yield_now();
        };
        busy.kill().unwrap();
        busy.wait().unwrap();
        assert!(after.by_thread(&before).any(|(_, us)| us > 0.0));
    }

    #[test]
    fn a_thread_that_began_counts_whole_and_one_that_ended_is_counted_in_ticks() {
        let before = cpu(&[(1, 100.0), (2, 50.0)], 10_000.0);
        let after = cpu(&[(1, 130.0), (2, 50.0), (3, 7.0)], 20_000.0);
        assert!((after.since(&before) - 37.0).abs() < 1e-9);
        let after = cpu(&[(1, 130.0)], 20_000.0);
        assert!((after.since(&before) - 10_000.0).abs() < 1e-9);
    }

    #[test]
    fn names_with_brackets_do_not_shift_the_fields() {
        let stat = "12 (a) b) S 1 12 12 0 -1 4194304 1 0 0 0 34 5 0 0 20 0 1 0 100 0 0";
        assert_eq!(ticks(stat), Some(39.0));
    }
}
