//! Log lines on standard error: text for people, JSON for collectors.

use crate::args::LogFormat;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Least time between two lines about an event that clients may cause many times a second.
const PACE: Duration = Duration::from_secs(30);

/// When each of a few reasons was last logged.
#[derive(Debug, Default)]
pub(crate) struct Paced {
    logged: Mutex<BTreeMap<&'static str, Instant>>,
}

/// Lines that say nothing new: whoever sends a request to the API server reports what becomes of it. A filter that names this
/// target overrides it.
const QUIET: &str = "kube_client=off";

/// Why logging could not be set up.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter is invalid.
    #[error("invalid log filter `{filter}`")]
    Filter {
        /// The given text.
        filter: String,
        /// The reason.
        source: ParseError,
    },
    /// This process has set up logging before.
    #[error("logging is set up already")]
    Taken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sets up logging for the process.
pub fn init(format: LogFormat, filter: &str) -> Result<(), LogError> {
    let env_filter = EnvFilter::try_new(format!("{QUIET},{filter}"))
        .map_err(|source| LogError::Filter { filter: filter.to_owned(), source })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(env_filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(LogError::Taken)
}

// === impl Paced ===

impl Paced {
    /// Whether there is to be a line about this reason now; it counts as written.
    pub(crate) fn is_due(&self, reason: &'static str) -> bool {
        let now = Instant::now();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = logged.get(reason).is_none_or(|last| now.duration_since(*last) >= PACE);
        if is_due {
            logged.insert(reason, now);
        }
        is_due
    }
}
