//! Runs commands in a running container.

use crate::command::{Finished, run};
use std::net::Ipv4Addr;
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
    /// Runs a command in the container's network and file system.
    pub(super) async fn run(&self, command: &[String]) -> anyhow::Result<Finished> {
        let mut entered = Command::new("nsenter");
        entered
            .args(["--target", &self.pid.to_string(), "--net", "--mount", "--root", "--wd", "--"])
            .args(command);
        run(entered, "").await
    }
}
