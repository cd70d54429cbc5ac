//! The operating system's side of an Envoy: a process and the thread that owns it.
//!
//! The binary asks Linux for SIGTERM when its parent ends, and Linux takes the parent to be the thread that
//! started it. A thread of an async runtime may end long before the test, so each process gets a thread that
//! does nothing but start it, stay, and end it.

use std::io;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often the thread looks whether the process has ended by itself.
const EXIT_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A process that is killed, and waited for, when this is dropped.
#[derive(Debug)]
pub(super) struct Child {
    pid: u32,
    exit: Arc<OnceLock<ExitStatus>>,
    /// Dropped to tell the thread to end the process.
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Child {
    pub(super) fn spawn(command: Command) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let (started, start) = mpsc::channel();
        let exit = Arc::new(OnceLock::new());
        let keeper_exit = Arc::clone(&exit);
        let keeper = thread::Builder::new()
            .name("envoy-keeper".to_owned())
            .spawn(move || keep(command, &started, &stopped, &keeper_exit))?;
        let pid = start.recv().map_err(io::Error::other)??;
        Ok(Self { pid, exit, stop: Some(stop), keeper: Some(keeper) })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// The exit status, if the process has ended by itself.
    pub(super) fn exit(&self) -> Option<ExitStatus> {
        self.exit.get().copied()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take() {
            // A keeper that panicked has nothing left to end.
            let _ended = keeper.join();
        }
    }
}

fn keep(
    mut command: Command,
    started: &Sender<io::Result<u32>>,
    stopped: &Receiver<()>,
    exit: &OnceLock<ExitStatus>,
) {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let _caller_gone = started.send(Err(error));
            return;
        }
    };
    let _caller_gone = started.send(Ok(child.id()));
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(EXIT_POLL_INTERVAL) {
        if let Ok(Some(status)) = child.try_wait() {
            let _first = exit.set(status);
            return;
        }
    }
    // Both fail only for a process that has ended, which is what is wanted.
    let _killed = child.kill();
    let _waited = child.wait();
}
