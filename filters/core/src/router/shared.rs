//! The data shared by the VMs of one process: values under keys, each with a version.
//!
//! Besides its inputs, the router needs only this from a shell. It is a trait and not a queue of outputs, because the
//! router reads and writes it in the middle of a decision: the booking of a request is stored with a compare-and-swap
//! on the very value that the decision was made on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Shared data with versions. In proxy-wasm it is one map per process; in tests and in the simulator a map on the heap.
pub trait SharedMap {
    /// Reads the value under `key`.
    fn get(&mut self, key: &str) -> Stored;

    /// Stores `value`, if nothing was stored under `key` since `version` was read. Without a version it always
    /// stores: proxy-wasm has no "only if absent".
    fn set(&mut self, key: &str, value: &[u8], version: Option<Version>) -> Result<(), Conflict>;
}

/// A value as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The value; empty when there is none.
    pub value: Vec<u8>,
    /// Its version; `None` when nothing was ever stored under the key.
    pub version: Option<Version>,
}

/// The version of a value; means nothing but equal or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u32);

/// Another VM stored a value in between: read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict;

/// A map on the heap, shared by its clones: for shells without a host, such as the simulator and tests.
#[derive(Clone, Debug, Default)]
pub struct LocalMap(Rc<RefCell<Values>>);

type Values = BTreeMap<String, (Vec<u8>, Version)>;

// === impl LocalMap ===

impl LocalMap {
    /// Every key and its value, in order.
    pub fn entries(&self) -> Vec<(String, Vec<u8>)> {
        self.0.borrow().iter().map(|(key, (value, _))| (key.clone(), value.clone())).collect()
    }
}

impl SharedMap for LocalMap {
    fn get(&mut self, key: &str) -> Stored {
        self.0.borrow().get(key).map_or_else(Stored::default, |(value, version)| Stored {
            value: value.clone(),
            version: Some(*version),
        })
    }

    fn set(&mut self, key: &str, value: &[u8], version: Option<Version>) -> Result<(), Conflict> {
        let mut map = self.0.borrow_mut();
        let stored = map.get(key).map(|(_, version)| *version);
        if version.is_some() && version != stored {
            return Err(Conflict);
        }
        // Zero means "always" in proxy-wasm.
        let next = Version(stored.map_or(1, |version| version.0.wrapping_add(1)));
        map.insert(key.to_owned(), (value.to_vec(), next));
        Ok(())
    }
}
