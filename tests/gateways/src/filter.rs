//! The built filter. Tests do not build it: its target differs, and a build inside a test hides its errors.

use std::env;
use std::path::PathBuf;
use warmpath_envoy::target_folder;

/// There is no filter.
#[derive(Debug, thiserror::Error)]
#[error("no filter at {path}: run `./just wasm`, or set WARMPATH_WASM")]
pub struct NoFilter {
    path: PathBuf,
}

/// The file, which must be there.
pub fn built_filter() -> Result<PathBuf, NoFilter> {
    let built = || target_folder().join("wasm/warmpath-router.wasm");
    let path = env::var_os("WARMPATH_WASM").map_or_else(built, PathBuf::from);
    if path.is_file() { Ok(path) } else { Err(NoFilter { path }) }
}
