//! The addresses of a node's pods.

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A pod may ask for an address with this annotation, as some networks allow: so a test reuses one.
pub(super) const ADDRESS_ANNOTATION: &str = "warmpath.dev/test-address";

/// Addresses of a node.
const ADDRESSES_MAX: u8 = 250;

/// Which addresses are taken, and the devices by which they are reached.
#[derive(Debug)]
pub(super) struct Addresses {
    node: u8,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    last: u8,
    devices: BTreeMap<Ipv4Addr, String>,
}

// === impl Addresses ===

impl Addresses {
    pub(super) fn new(node: u8) -> Self {
        Self { node, taken: Mutex::default() }
    }

    /// The address that the pod asks for, or the next one: one that was given back comes again only when all others had
    /// their turn.
    pub(super) fn take(&self, pod: &Pod) -> anyhow::Result<Ipv4Addr> {
        let wanted = pod.metadata.annotations.as_ref().and_then(|all| all.get(ADDRESS_ANNOTATION));
        let mut taken = self.lock();
        let address = if let Some(address) = wanted {
            address.parse().context("the annotation is not an address")?
        } else {
            let after = (taken.last + 1)..=ADDRESSES_MAX;
            let addresses =
                after.chain(1..=taken.last).map(|number| Ipv4Addr::new(10, 99, self.node, number));
            let free = addresses.into_iter().find(|address| !taken.devices.contains_key(address));
            let free = free.context("the node has no address left")?;
            let [.., last] = free.octets();
            taken.last = last;
            free
        };
        ensure!(!taken.devices.contains_key(&address), "{address} is taken");
        taken.devices.insert(address, String::new());
        Ok(address)
    }

    /// Remembers the device by which an address is reached.
    pub(super) fn connect(&self, address: Ipv4Addr, device: &str) {
        self.lock().devices.insert(address, device.to_owned());
    }

    pub(super) fn give_back(&self, address: Ipv4Addr) {
        self.lock().devices.remove(&address);
    }

    /// The addresses of all pods, with their devices.
    pub(super) fn connected(&self) -> BTreeMap<Ipv4Addr, String> {
        let mut devices = self.lock().devices.clone();
        devices.retain(|_, device| !device.is_empty());
        devices
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_in_turn_and_on_request() {
        let addresses = Addresses::new(3);
        let pod = Pod::default();
        let first = addresses.take(&pod).unwrap();
        assert_eq!(first, Ipv4Addr::new(10, 99, 3, 1));
        addresses.give_back(first);
        assert_eq!(addresses.take(&pod).unwrap(), Ipv4Addr::new(10, 99, 3, 2));
        let mut asking = Pod::default();
        asking.metadata.annotations =
            Some(BTreeMap::from([(ADDRESS_ANNOTATION.to_owned(), first.to_string())]));
        assert_eq!(addresses.take(&asking).unwrap(), first);
        assert!(addresses.take(&asking).is_err(), "two pods at one address");
        for _ in 0..248 {
            addresses.take(&pod).unwrap();
        }
        assert!(addresses.take(&pod).is_err(), "more pods than addresses");
    }
}
