//! Traps on demand, so that tests can see what is left after one. Never in a shipped file.
//!
//! A request can reach the VM of its worker only, and the lease is often held by the VM of Envoy's main thread: so a
//! request may also ask for whichever VM holds the lease, which finds the wish in shared data at its next tick.

use crate::host::HostMap;
use warmpath_core::router::SharedMap;

/// `holder` asks for the VM with the lease, anything else for the one that reads it.
const TRAP_HEADER: &str = "x-warmpath-test-trap";
const HOLDER: &[u8] = b"holder";
const HOLDER_KEY: &str = "warmpath/test/trap-holder";

/// Looks for the wish in a request's headers.
pub(crate) fn on_headers(headers: &[(String, Vec<u8>)]) {
    match headers.iter().find(|(name, _)| name == TRAP_HEADER) {
        Some((_, value)) if value == HOLDER => {
            let _ = HostMap.set(HOLDER_KEY, HOLDER, None);
        }
        Some(_) => std::process::abort(),
        None => {}
    }
}

/// Looks for the wish in shared data, in a VM that may hold the lease.
pub(crate) fn on_tick(holds_lease: bool) {
    if holds_lease && HostMap.get(HOLDER_KEY).value == HOLDER {
        let _ = HostMap.set(HOLDER_KEY, b"", None);
        std::process::abort();
    }
}
