//! What an Envoy has written, read from its file: the file outlives a crash, a pipe may lose its end.

use std::fs;
use std::path::{Path, PathBuf};

/// The log of one Envoy: standard output and error, so that V8's last words are in it too.
#[derive(Clone, Debug)]
pub struct Log {
    path: PathBuf,
}

// === impl Log ===

impl Log {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All of it; empty when it cannot be read.
    pub fn text(&self) -> String {
        fs::read(&self.path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Whether some line has this text.
    pub fn contains(&self, text: &str) -> bool {
        self.text().contains(text)
    }

    /// The last lines.
    pub fn tail(&self, lines: usize) -> String {
        let text = self.text();
        let all: Vec<&str> = text.lines().collect();
        all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
    }

    /// Shows the last lines to whoever reads a failing test.
    #[expect(clippy::print_stderr, reason = "the test harness shows what a failing test prints")]
    pub(super) fn print_tail(&self, lines: usize) {
        eprintln!("--- the last lines of {}:\n{}\n---", self.path.display(), self.tail(lines));
    }
}
