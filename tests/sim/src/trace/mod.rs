//! Recorded traces: when requests came, how long they were, and which of them began alike.
//!
//! ```text
//!  .jsonl (Mooncake) ─┐
//!  .csv (Azure)      ─┼─► requests by the clock ─┐
//!  .jsonl (sessions) ─┴─► sessions, closed loop ─┴─► workload
//! ```
//!
//! Traces have no text. The text of a block is made from its id, so equal ids are equal bytes, and a prompt's
//! blocks are in its order, so prompts that shared a prefix share it here. Files may be compressed (`.gz`).

mod arrivals;
mod azure;
mod file;
mod mooncake;
mod sessions;

use std::fmt::Display;
use std::path::{Path, PathBuf};

pub use sessions::{RecordedSession, RecordedTurn, SESSION_BLOCK_TOKENS};

/// Tokens of a block of the trace: Mooncake's.
pub const BLOCK_TOKENS: usize = 512;

/// One request of a trace.
#[derive(Clone, Debug, PartialEq)]
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

/// A trace in one of the known formats.
#[derive(Clone, Debug, PartialEq)]
pub enum Trace {
    /// Requests that come by the clock, whatever became of those before.
    Requests(Vec<Recorded>),
    /// Sessions whose next request waits for the answer to the one before.
    Sessions(Vec<RecordedSession>),
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
    #[error("{path} is neither .jsonl (Mooncake, or sessions) nor .csv (Azure)")]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// It has sessions where requests with a time of their own are needed.
    #[error("{path} has sessions: only the simulator can play them")]
    Sessions {
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

/// Reads the first `limit` requests, or sessions, of a file; its name and its first line tell the format.
pub fn load(path: &Path, limit: usize) -> Result<Trace, TraceError> {
    let text = file::read(path).map_err(|source| TraceError::Unreadable { path: path.to_owned(), source })?;
    let trace = match file::format(path) {
        Some("csv") => Trace::Requests(azure::read(&text, limit)?),
        Some("jsonl") if sessions::is_one(&text) => Trace::Sessions(sessions::read(&text, limit)?),
        Some("jsonl") => Trace::Requests(mooncake::read(&text, limit)?),
        _ => return Err(TraceError::UnknownFormat { path: path.to_owned() }),
    };
    let is_empty = match &trace {
        Trace::Requests(requests) => requests.is_empty(),
        Trace::Sessions(sessions) => sessions.is_empty(),
    };
    if is_empty { Err(TraceError::Empty) } else { Ok(trace) }
}

/// The same, for those who can play requests by the clock only.
pub fn load_requests(path: &Path, limit: usize) -> Result<Vec<Recorded>, TraceError> {
    match load(path, limit)? {
        Trace::Requests(requests) => Ok(requests),
        Trace::Sessions(_) => Err(TraceError::Sessions { path: path.to_owned() }),
    }
}

fn wrong(line: usize, problem: &dyn Display) -> TraceError {
    TraceError::Line { line, problem: problem.to_string() }
}
