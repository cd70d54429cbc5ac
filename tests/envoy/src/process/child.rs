//! The operating system's side of an Envoy: a process that does not outlive its owner.

use std::io;
use std::process::{Child as Process, Command, ExitStatus};
use std::sync::{Mutex, PoisonError};

/// A process that is killed, and waited for, when this is dropped.
#[derive(Debug)]
pub(super) struct Child {
    pid: u32,
    /// Behind a lock because to ask whether it has ended is, for the system, to change it.
    process: Mutex<Process>,
}

// === impl Child ===

impl Child {
    pub(super) fn spawn(mut command: Command) -> io::Result<Self> {
        let process = command.spawn()?;
        Ok(Self { pid: process.id(), process: Mutex::new(process) })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// The exit status, if the process has ended by itself.
    pub(super) fn exit(&self) -> Option<ExitStatus> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).try_wait().ok().flatten()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Both fail only for a process that has ended, which is what is wanted.
        let _killed = process.kill();
        let _waited = process.wait();
    }
}
