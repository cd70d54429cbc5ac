//! `warmpath proxy install`: copies the filter and this program to where Envoy's container finds them.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The names that Envoy's configuration and the pod's probes use.
const FILTER: &str = "router.wasm";
const PROGRAM: &str = "warmpath";

/// Why a file could not be copied.
#[derive(Debug, Error)]
pub enum InstallError {
    /// This program's own file is unknown.
    #[error("cannot find the program's own file")]
    Program(#[source] io::Error),
    /// A file cannot be copied.
    #[error("cannot copy {from} to {to}")]
    Copy {
        /// From where.
        from: PathBuf,
        /// To where.
        to: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Copies the filter and this program into a folder. Each is there as a whole or not at all, even if the container restarts
/// while Envoy runs.
pub fn install(filter: &Path, folder: &Path) -> Result<(), InstallError> {
    let program = std::env::current_exe().map_err(InstallError::Program)?;
    copy(filter, &folder.join(FILTER), 0o644)?;
    copy(&program, &folder.join(PROGRAM), 0o755)
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<(), InstallError> {
    let part = to.with_extension("part");
    let whole = || -> io::Result<()> {
        fs::copy(from, &part)?;
        fs::set_permissions(&part, fs::Permissions::from_mode(mode))?;
        fs::rename(&part, to)
    };
    whole().map_err(|source| InstallError::Copy { from: from.to_owned(), to: to.to_owned(), source })
}
