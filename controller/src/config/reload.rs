//! Notices that the configuration file has new content.
//!
//! The content is read and compared, a few times a second. The obvious inotify watches an inode, and there
//! is none to hold on to: a ConfigMap volume swaps a symlink two levels above the file, editors rename a
//! new file over the old, and some network file systems notify of nothing. Reading a few kilobytes costs
//! less than getting those cases right.

use super::{LoadError, Settings};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Time between two reads. New content counts once two reads agree on it, so that a file caught half
/// written, which may well be valid YAML with half of the endpoints, is not acted upon.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A watched file.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    /// Acted upon.
    current: Content,
    /// Read last.
    latest: Content,
    /// When to read again. Kept when a caller stops waiting: two reads in a moment would agree on a file caught half written.
    due: Instant,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// It is in effect.
    Applied,
    /// It is in effect, but for fields that need a restart.
    NeedsRestart,
    /// The file is wrong or cannot be read; what was in effect stays.
    Refused,
}

/// A file's text, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Text(String),
    Unreadable(io::ErrorKind),
}

// === impl Watched ===

impl Watched {
    /// Watches a file whose present content is to be taken as acted upon only if it is `text`.
    pub fn new(path: PathBuf, text: String) -> Self {
        let current = Content::Text(text);
        Self { path, latest: current.clone(), current, due: Instant::now() }
    }

    /// Waits until the file has new content, and returns it. Cancel-safe.
    pub async fn changed(&mut self) -> Result<Settings, LoadError> {
        loop {
            sleep_until(self.due).await;
            let content = match tokio::fs::read_to_string(&self.path).await {
                Ok(text) => Content::Text(text),
                Err(error) => Content::Unreadable(error.kind()),
            };
            self.due = Instant::now() + POLL_INTERVAL;
            let is_settled = content == self.latest;
            self.latest = content;
            if is_settled && self.latest != self.current {
                self.current = self.latest.clone();
                return self.current.parse(&self.path);
            }
        }
    }
}

// === impl Content ===

impl Content {
    fn parse(&self, path: &std::path::Path) -> Result<Settings, LoadError> {
        match self {
            Self::Text(text) => {
                Settings::parse(text).map_err(|faults| LoadError::Invalid { path: path.to_owned(), faults })
            }
            Self::Unreadable(kind) => {
                Err(LoadError::Unreadable { path: path.to_owned(), source: io::Error::from(*kind) })
            }
        }
    }
}

// === impl Reload ===

impl Reload {
    /// What a change from `old` to `new` amounts to, with the fields that need a restart.
    pub fn of(old: &Settings, new: &Settings) -> (Self, Vec<&'static str>) {
        let fields = [
            ("listen.grpc", old.listen.grpc != new.listen.grpc),
            ("listen.http", old.listen.http != new.listen.http),
            ("listen.kv_events", old.listen_kv_events != new.listen_kv_events),
            ("cell_bytes", old.cell_bytes != new.cell_bytes),
            ("explain_token", old.explain_token != new.explain_token),
            ("kubernetes", old.kubernetes != new.kubernetes),
            ("tls", old.tls != new.tls),
            ("token_file", old.token_file != new.token_file),
            ("wasm_file", old.wasm_file != new.wasm_file),
            ("omitted_prefixes", old.omitted_prefixes != new.omitted_prefixes),
        ];
        let fields: Vec<&str> =
            fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect();
        (if fields.is_empty() { Self::Applied } else { Self::NeedsRestart }, fields)
    }

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::NeedsRestart => "needs_restart",
            Self::Refused => "refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Watched;
    use std::time::Duration;
    use tempfile::TempDir;
    use tokio::time::timeout;

    fn text(endpoints: &str) -> String {
        format!("pools: [{{name: a, models: [a], endpoints: [{endpoints}]}}]")
    }

    #[tokio::test]
    async fn a_file_caught_half_written_is_not_taken_however_often_the_wait_is_interrupted() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("warmpath.yaml");
        let mut watched = Watched::new(path.clone(), String::new());
        std::fs::write(&path, text("10.0.0.1:80")).unwrap();
        for _ in 0..3 {
            assert!(timeout(Duration::from_millis(20), watched.changed()).await.is_err());
        }
        std::fs::write(&path, text("10.0.0.1:80, 10.0.0.2:80")).unwrap();
        let settings = watched.changed().await.unwrap();
        assert_eq!(settings.pools[0].endpoints.len(), 2);
    }
}
