//! A compiled module, shared by every VM and every test of one process.
//!
//! Compiling is by far the slowest thing this crate does, so it happens once per file and process. The
//! result is not kept on disk: a stale artefact would test yesterday's filter.

use crate::error::LoadError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use wasmtime::Engine;

static ENGINE: LazyLock<Engine> = LazyLock::new(Engine::default);
static LOADED: Mutex<BTreeMap<PathBuf, Module>> = Mutex::new(BTreeMap::new());

/// One function that a module imports from its host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// `env` or `wasi_snapshot_preview1`.
    pub module: String,
    /// The function.
    pub name: String,
}

/// A compiled module. Cheap to clone.
#[derive(Clone)]
pub struct Module {
    pub(crate) inner: wasmtime::Module,
}

// === impl Module ===

impl Module {
    /// Compiles the file, or gives what an earlier call compiled from the same path.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = loaded.get(path) {
            return Ok(module.clone());
        }
        let bytes =
            std::fs::read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
        let module = Self::compile(&bytes)?;
        loaded.insert(path.to_owned(), module.clone());
        Ok(module)
    }

    /// Compiles wasm or WAT text, without the cache.
    pub fn compile(bytes: &[u8]) -> Result<Self, LoadError> {
        let inner = wasmtime::Module::new(&ENGINE, bytes)
            .map_err(|error| LoadError::Compile(format!("{error:#}")))?;
        Ok(Self { inner })
    }

    /// All imports of the module, sorted.
    pub fn imports(&self) -> Vec<Import> {
        let mut imports: Vec<_> = self
            .inner
            .imports()
            .map(|import| Import { module: import.module().to_owned(), name: import.name().to_owned() })
            .collect();
        imports.sort();
        imports
    }

    /// The names of everything it exports, sorted.
    pub fn exports(&self) -> Vec<String> {
        let mut exports: Vec<_> = self.inner.exports().map(|export| export.name().to_owned()).collect();
        exports.sort();
        exports
    }
}
