//! The adapters that each engine of a ModelService should have, as engines are asked to load them.

use crate::api::{AdapterLoad, ModelServiceSpec};
use crate::engines::adapter_path;

/// An adapter that each engine should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The name that requests use.
    pub name: String,
    /// Where the engine finds it: a directory of its container, or a repository on the hub.
    pub path: String,
}

/// The adapters that each engine should have.
pub fn pinned(spec: &ModelServiceSpec) -> Vec<Pinned> {
    let all = spec.adapters.iter().flat_map(|adapters| &adapters.list);
    let pinned = all.filter(|adapter| adapter.load == AdapterLoad::Pinned);
    pinned.map(|adapter| Pinned { name: adapter.name.clone(), path: adapter_path(adapter) }).collect()
}
