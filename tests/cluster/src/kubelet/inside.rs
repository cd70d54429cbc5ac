//! Runs commands in a running container.

use crate::command::{Finished, run};
use anyhow::Context;
use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use tokio::process::Command;

/// A running container.
#[derive(Clone, Debug)]
pub(super) struct Inside {
    pub(super) address: Ipv4Addr,
    /// Its first process.
    pub(super) pid: i32,
}

// === impl Inside ===

impl Inside {
    /// Runs a command in the container.
    pub(super) async fn run(&self, command: &[String]) -> anyhow::Result<Finished> {
        exec(self.pid, command).await
    }
}

/// Runs a command in the network and file system of a container with this first process, and with its environment.
pub(crate) async fn exec(pid: i32, command: &[String]) -> anyhow::Result<Finished> {
    let environment = tokio::fs::read(format!("/proc/{pid}/environ")).await;
    let environment = environment.context("the container has ended")?;
    let mut entered = Command::new("nsenter");
    entered
        .args(["--target", &pid.to_string(), "--net", "--mount", "--root", "--wd", "--"])
        .args(command)
        .env_clear()
        .envs(environment.split(|byte| *byte == 0).filter_map(variable));
    run(entered, "").await
}

/// `NAME=value`.
fn variable(line: &[u8]) -> Option<(&OsStr, &OsStr)> {
    let at = line.iter().position(|byte| *byte == b'=')?;
    Some((OsStr::from_bytes(line.get(..at)?), OsStr::from_bytes(line.get(at + 1..)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_may_have_an_equals_sign_in_its_value() {
        assert_eq!(variable(b"A=b=c"), Some((OsStr::new("A"), OsStr::new("b=c"))));
        assert_eq!(variable(b""), None);
    }
}
