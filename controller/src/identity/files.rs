//! Secret files that are read again when they change.
//!
//! Polled, like the configuration and for the same reason: a Secret's volume swaps a symlink above the files. Files that belong
//! together are compared together, and count once two reads agree on all of them, so that no half of a change is used.

use crate::config::Tls;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Time between two reads.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The longest file that is read, in bytes: a chain of certificates takes some thousands.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What the files hold, or why they cannot be read.
pub(super) type Contents = Vec<Result<Vec<u8>, io::ErrorKind>>;

/// Files that belong together.
#[derive(Clone)]
pub(super) struct Files {
    paths: Vec<PathBuf>,
    /// What was returned last.
    current: Contents,
    /// What was read last.
    latest: Contents,
}

// === impl Files ===

impl Files {
    /// The files of a certificate: the chain, then the key.
    pub(super) fn of_certificate(tls: &Tls) -> Self {
        Self::new(vec![tls.cert.clone(), tls.key.clone()])
    }

    /// The file of a token.
    pub(super) fn of_token(path: &Path) -> Self {
        Self::new(vec![path.to_owned()])
    }

    /// What they hold now counts as applied.
    fn new(paths: Vec<PathBuf>) -> Self {
        let current = read_all(&paths);
        Self { paths, latest: current.clone(), current }
    }

    /// What they hold.
    pub(super) fn read(&self) -> &Contents {
        &self.current
    }

    /// Waits until they hold something else, and returns it.
    pub(super) async fn changed(&mut self) -> Contents {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Some kilobytes from a memory file system, where Secrets are: too little for a thread of its own.
            let read = read_all(&self.paths);
            let is_settled = read == self.latest;
            self.latest = read;
            if is_settled && self.latest != self.current {
                self.current.clone_from(&self.latest);
                return self.current.clone();
            }
        }
    }
}

impl fmt::Debug for Files {
    /// Shows the paths, not the contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.paths.fmt(f)
    }
}

fn read_all(paths: &[PathBuf]) -> Contents {
    paths.iter().map(|path| read(path).map_err(|error| error.kind())).collect()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}
