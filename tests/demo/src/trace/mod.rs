//! Recorded traces: when requests came, how long they were, and which of them began alike.
//!
//! Traces have no text. The text of a block is made from its id, so equal ids are equal bytes, and a prompt's
//! blocks are in its order, so prompts that shared a prefix share it here.

mod arrivals;
mod azure;
mod mooncake;
mod prompt;

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

pub use prompt::prompt;

/// Tokens of a block of the trace: Mooncake's.
pub const BLOCK_TOKENS: usize = 512;

/// One request of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// When it came, in milliseconds since the first.
    pub at_ms: f64,
    /// Length of the prompt.
    pub input_tokens: usize,
    /// Length of the answer.
    pub output_tokens: usize,
    /// Ids of the blocks of the prompt, the last of which may be partly used.
    pub blocks: Vec<u64>,
}

/// A trace that cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Its name ends neither in `.jsonl` nor in `.csv`.
    #[error("{path} is neither .jsonl (Mooncake) nor .csv (Azure)")]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// It has no requests.
    #[error("the trace is empty")]
    Empty,
    /// A line is not what the format asks for.
    #[error("line {line}: {problem}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

/// Reads the first `limit` requests of a file; its name tells the format.
pub fn load(path: &Path, limit: usize) -> Result<Vec<Recorded>, TraceError> {
    let read: fn(&str, usize) -> Result<Vec<Recorded>, TraceError> =
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("jsonl") => mooncake::read,
            Some("csv") => azure::read,
            _ => return Err(TraceError::UnknownFormat { path: path.to_owned() }),
        };
    let text = fs::read_to_string(path)
        .map_err(|source| TraceError::Unreadable { path: path.to_owned(), source })?;
    let requests = read(&text, limit)?;
    if requests.is_empty() { Err(TraceError::Empty) } else { Ok(requests) }
}

fn wrong(line: usize, problem: &dyn Display) -> TraceError {
    TraceError::Line { line, problem: problem.to_string() }
}
