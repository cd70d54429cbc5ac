//! The process-wide key-value store that all VMs of one `vm_id` share
//! (`proxy-wasm-cpp-host`, `src/shared_data.cc`).

use crate::abi::Status;
use std::collections::BTreeMap;

/// A value and the compare-and-swap number of its last write, which is never 0.
pub(crate) type Versioned = (Vec<u8>, u32);

#[derive(Default)]
pub(crate) struct SharedData {
    entries: BTreeMap<Vec<u8>, Versioned>,
    cas: u32,
}

// === impl SharedData ===

impl SharedData {
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Versioned> {
        self.entries.get(key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.entries.keys()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.entries.iter().map(|(key, (value, _))| key.len() + value.len()).sum()
    }

    /// Writes unless `cas` is neither 0 nor the number of the value that is there. A key that is not there
    /// is written whatever `cas` is: Envoy compares only with an existing value.
    pub(crate) fn set(&mut self, key: &[u8], value: &[u8], cas: u32) -> Result<(), Status> {
        if let Some((_, current)) = self.entries.get(key)
            && cas != 0
            && cas != *current
        {
            return Err(Status::CasMismatch);
        }
        self.cas = self.cas.wrapping_add(1).max(1);
        self.entries.insert(key.to_vec(), (value.to_vec(), self.cas));
        Ok(())
    }
}
