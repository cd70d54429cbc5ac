//! A process that does not outlive its owner, with its output in a file.

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// What a process has written, read from its file.
#[derive(Clone, Debug)]
pub struct Log {
    path: PathBuf,
}

/// A running process, at the head of a process group of its own.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    group: Pid,
}

// === impl Log ===

impl Log {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// All of it; empty when it cannot be read.
    pub fn text(&self) -> String {
        fs::read(&self.path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines.
    pub fn tail(&self, lines: usize) -> String {
        let text = self.text();
        let all: Vec<&str> = text.lines().collect();
        all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

// === impl Process ===

impl Process {
    /// Starts the command; what it writes is appended to the log.
    pub(crate) fn spawn(mut command: Command, log: &Log) -> anyhow::Result<Self> {
        let open = || OpenOptions::new().create(true).append(true).open(&log.path);
        let output = open().with_context(|| format!("cannot write {}", log.path.display()))?;
        let errors = output.try_clone().context("cannot share a log")?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("cannot run {:?}", command.as_std()))?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, group: pid.context("a process without an id")? })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the end.
    pub(crate) async fn wait(&mut self) -> Option<ExitStatus> {
        self.child.wait().await.ok()
    }

    /// Signals the process itself, as a container engine does.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.child.id().is_some() {
            // It fails only for a process that has ended.
            let _sent = rustix::process::kill_process(self.group, signal);
        }
    }

    /// Ends the process and all that it started.
    pub(crate) async fn kill(&mut self) {
        let _sent = kill_process_group(self.group, Signal::KILL);
        let _waited = self.child.wait().await;
    }

    /// Asks the process to end, and ends it if that takes longer than `grace`.
    pub(crate) async fn stop(&mut self, grace: Duration) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        let ended = timeout(grace, self.child.wait()).await;
        self.kill().await;
        ended.ok().and_then(Result::ok)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.id().is_some() {
            let _sent = kill_process_group(self.group, Signal::KILL);
        }
    }
}
