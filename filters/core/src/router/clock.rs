//! The time of an input, read at most once and only where a decision needs it.
//!
//! Time is an argument in the core. In proxy-wasm reading the clock is a hostcall, and most inputs of a request do not
//! need it; so the argument is a clock to read on demand, not a time that was read in advance.

use crate::time::Timestamp;

/// The wall clock at the moment of one input.
pub trait Clock {
    /// The same at every call for one input.
    fn now(&self) -> Timestamp;
}

impl Clock for Timestamp {
    fn now(&self) -> Timestamp {
        *self
    }
}
