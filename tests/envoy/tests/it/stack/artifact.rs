//! The built filter. Tests do not build it: its target is another, and a build inside a test hides its errors.

use std::env;
use std::path::PathBuf;
use warmpath_envoy::target_folder;

/// Which build of the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// The one that users get.
    Shipped,
    /// The one that traps when a request asks for it with [`TRAP_HEADER`].
    Faulty,
}

/// Makes the faulty build trap.
pub(crate) const TRAP_HEADER: (&str, &str) = ("x-warmpath-test-trap", "1");

// === impl Build ===

impl Build {
    /// The file, which must be there.
    pub(crate) fn path(self) -> PathBuf {
        let (variable, file, recipe) = match self {
            Self::Shipped => ("WARMPATH_WASM", "warmpath-router.wasm", "wasm"),
            Self::Faulty => ("WARMPATH_WASM_FAULTY", "warmpath-router-faulty.wasm", "wasm-faulty"),
        };
        let built = || target_folder().join("wasm").join(file);
        let path = env::var_os(variable).map_or_else(built, PathBuf::from);
        assert!(path.is_file(), "no filter at {}: run `./just {recipe}`, or set {variable}", path.display());
        path
    }
}
