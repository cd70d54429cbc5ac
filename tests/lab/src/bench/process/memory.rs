//! Memory of a process tree: what is resident, which is what a node has to have.

use super::tree;
use anyhow::Context;
use std::fs;

const BYTES_PER_KIB: u64 = 1024;

/// Resident bytes of the process and its children.
pub(super) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    tree::pids(pid).into_iter().map(of_process).sum()
}

fn of_process(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("a process has ended")?;
    parse(&status).context("the kernel tells no VmRSS")
}

fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * BYTES_PER_KIB)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(parse("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2 << 20));
        assert_eq!(parse("Name:\tx\n"), None);
        // A process of its own, which lives until its input is closed: children that other tests start and end within
        // this one have no memory any more when they are read.
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let bytes = resident_bytes(child.id());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(bytes.unwrap() > 0);
    }
}
