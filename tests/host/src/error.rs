//! Errors between a test and a VM. A refusal by the guest (a `false` from `on_configure`) is a result, not an error;
//! these are the cases without a result.

use std::path::PathBuf;

/// A callback's result, or the trap that ended the VM. Once trapped, every later call gives the same trap.
pub type Outcome<T> = Result<T, Trap>;

/// The guest panicked, ran into `unreachable`, left its memory, or exited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the VM trapped in {callback}: {message}")]
pub struct Trap {
    /// The export in which it happened.
    pub callback: &'static str,
    /// wasmtime's account of it, with the guest's stack where the module has names.
    pub message: String,
}

/// A module cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The path.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The bytes are not a valid module.
    #[error("cannot compile the module: {0}")]
    Compile(String),
}

/// A VM cannot be started from a module.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The module imports what Envoy does not offer, or its start function trapped.
    #[error("cannot instantiate the module: {0}")]
    Instantiate(String),
    /// The module lacks an export that every proxy-wasm module has.
    #[error("the module does not export {0}")]
    Export(&'static str),
    /// The guest trapped while it was started or configured again.
    #[error(transparent)]
    Trapped(#[from] Trap),
    /// The guest returned `false` for a configuration that it had accepted before.
    #[error("the guest refused its configuration")]
    Refused,
}
