//! The configuration file: text -> tree -> validated [`Settings`], or every fault at once.
//!
//! ```text
//!   YAML ─► tree (values with lines) ─► reader (typed, faults collected) ─► Settings | Faults
//! ```
//!
//! The reader and the pools' rules are `warmpath-config`'s, which the filter reads its plugin configuration with.

mod kubernetes;
mod names;
mod reload;
mod settings;
mod tree;

pub use kubernetes::{Kubernetes, ObjectName, PORTS_MAX, Peers, PodPool, Selector};
pub use names::{Names, RESOLVE_INTERVAL};
pub use reload::{Reload, Watched};
pub use settings::{Listen, Scrape, Settings, Tls};
pub use warmpath_config::{Member, Pool};

use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use warmpath_config::Faults;

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
    /// It was read, and is not valid.
    #[error("{path} is not valid:\n{faults}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong with it.
        faults: Faults,
    },
}

/// Reads and validates a file; the text comes along for [`Watched`].
pub fn load(path: &Path) -> Result<(Settings, String), LoadError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| LoadError::Unreadable { path: path.to_owned(), source })?;
    let settings =
        Settings::parse(&text).map_err(|faults| LoadError::Invalid { path: path.to_owned(), faults })?;
    Ok((settings, text))
}
