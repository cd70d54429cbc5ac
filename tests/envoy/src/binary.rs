//! Where the Envoy binary is: what the user says, else what `install-envoy` has put under the target folder.
//!
//! Tests do not download: a test run that needs the network fails for reasons that are not the code's.

use std::env;
use std::path::{Path, PathBuf};

/// The version that `install-envoy` pins.
const ENVOY_VERSION: &str = "1.40.0";

/// Names another binary, for example to try another version of Envoy.
const BINARY_VARIABLE: &str = "WARMPATH_ENVOY";

/// There is no Envoy to run.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// The variable names a file that does not exist.
    #[error("{BINARY_VARIABLE} names {path}, which is not a file")]
    NotAFile {
        /// What the variable says.
        path: PathBuf,
    },
    /// `install-envoy` has not run for this target folder.
    #[error("no envoy at {path}: run tests/envoy/install-envoy, or set {BINARY_VARIABLE} to an envoy binary")]
    NotInstalled {
        /// Where it would be.
        path: PathBuf,
    },
}

/// The path of the Envoy binary that the tests run.
pub fn envoy_binary() -> Result<PathBuf, BinaryError> {
    if let Some(path) = env::var_os(BINARY_VARIABLE).map(PathBuf::from) {
        return if path.is_file() { Ok(path) } else { Err(BinaryError::NotAFile { path }) };
    }
    let path = installed(&target_folder());
    if path.is_file() { Ok(path) } else { Err(BinaryError::NotInstalled { path }) }
}

/// The place that `install-envoy` writes to.
fn installed(target: &Path) -> PathBuf {
    target.join("tools").join(format!("envoy-{ENVOY_VERSION}")).join("envoy/_bin/envoy")
}

/// Cargo's target folder, where what was built lies; a relative one counts from the workspace root, as in
/// `install-envoy`.
pub fn target_folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join(env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from))
}
