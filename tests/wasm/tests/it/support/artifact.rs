//! Where the built filter is, and what to do when it is not there.
//!
//! The tests do not build it: the file under test is the file that ships, built once by the recipe that ships it.

use std::path::{Path, PathBuf};
use warmpath_host::Module;

/// Where cargo puts the filter below a target folder.
const FILE: &str = "wasm32-wasip1/wasm/warmpath_router.wasm";

/// The filter as it ships.
pub(crate) fn filter() -> Module {
    load(&path_of_filter(), "just wasm")
}

/// Its bytes.
pub(crate) fn filter_bytes() -> Vec<u8> {
    std::fs::read(path_of_filter()).unwrap_or_else(|error| panic!("the filter: {error}; build it: just wasm"))
}

/// The filter with the feature `fault-injection`: a request with `x-warmpath-test-trap` ends its VM.
pub(crate) fn filter_that_traps() -> Module {
    let place = Path::new("fault-injection").join(FILE);
    load(&path("WARMPATH_WASM_FAULTY", &place), "just wasm-faulty")
}

fn path_of_filter() -> PathBuf {
    path("WARMPATH_WASM", Path::new(FILE))
}

fn path(variable: &str, place: &Path) -> PathBuf {
    // Cargo's folder for a test's files is `<target>/tmp`.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("..");
    std::env::var_os(variable).map_or_else(|| target.join(place), PathBuf::from)
}

fn load(path: &Path, recipe: &str) -> Module {
    Module::load(path).unwrap_or_else(|error| panic!("{error} ({}); build it: {recipe}", path.display()))
}
