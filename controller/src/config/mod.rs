//! The configuration file: text -> tree -> validated [`Settings`], or all that is wrong with it.
//!
//! ```text
//!   YAML ─► tree (values with lines) ─► fields (typed, faults collected) ─► Settings | Problems
//! ```

mod fields;
mod pools;
mod problem;
mod settings;
mod tree;
mod watch;

pub use pools::Pool;
pub use problem::{Fault, Problem, Problems};
pub use settings::{Listen, Scrape, Settings};
pub use watch::{Reload, Watched};

use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A file that cannot be used.
#[derive(Debug, Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is read and wrong.
    #[error("{path} is wrong:\n{problems}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong with it.
        problems: Problems,
    },
}

/// Reads and validates a file; the text comes along for [`Watched`].
pub fn load(path: &Path) -> Result<(Settings, String), LoadError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| LoadError::Unreadable { path: path.to_owned(), source })?;
    let settings =
        Settings::parse(&text).map_err(|problems| LoadError::Wrong { path: path.to_owned(), problems })?;
    Ok((settings, text))
}
