//! The router, driven natively: generated sequences of inputs against naive models.
//!
//! What one VM does with requests is in `retry`, what several VMs and a controller do together in `resume`. The host's
//! side of it (hostcalls, copies, traps) is tested with the built filter in tests/wasm.

#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod resume;
mod retry;
mod support;
mod uplink;
