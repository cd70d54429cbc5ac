//! Where things lie: the built filter, and where reports go.

use std::env;
use std::path::{Path, PathBuf};

/// Names the built filter when it is not where `just wasm` puts it.
const WASM_VARIABLE: &str = "WARMPATH_WASM";

/// Names the build that can be made to trap.
const WASM_FAULTY_VARIABLE: &str = "WARMPATH_WASM_FAULTY";

/// There is no filter to load.
#[derive(Debug, thiserror::Error)]
#[error("no filter at {path}: run `./just wasm`, or set {WASM_VARIABLE}")]
pub struct NoWasm {
    /// Where it would be.
    path: PathBuf,
}

/// The built filter.
pub fn wasm() -> Result<PathBuf, NoWasm> {
    let built = || target_folder().join("wasm32-wasip1/wasm/warmpath_router.wasm");
    let path = env::var_os(WASM_VARIABLE).map_or_else(built, PathBuf::from);
    if path.is_file() { Ok(path) } else { Err(NoWasm { path }) }
}

/// The built filter that can be made to trap.
pub fn wasm_faulty() -> Result<PathBuf, NoWasm> {
    let built = || target_folder().join("wasm/warmpath-router-faulty.wasm");
    let path = env::var_os(WASM_FAULTY_VARIABLE).map_or_else(built, PathBuf::from);
    if path.is_file() { Ok(path) } else { Err(NoWasm { path }) }
}

/// The folder of a subcommand's report.
pub fn report_folder(subcommand: &str) -> PathBuf {
    target_folder().join(subcommand)
}

/// Files that come with this crate.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Cargo's target folder; a relative one counts from the workspace root.
fn target_folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().unwrap_or(root);
    root.join(env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from))
}
