//! What is sent while processor time and clocks are read.

mod body;
mod burst;
mod client;
mod requests;
mod streams;

pub use body::hello;
pub use burst::{Burst, Crowd};
pub use client::Client;
pub use requests::Requests;
pub use streams::Streams;

/// Numbers that make every prompt of a run a new one.
#[derive(Debug, Default)]
pub struct Numbers {
    next: u64,
}

// === impl Numbers ===

impl Numbers {
    /// The first of `count` numbers that nobody has had.
    pub fn take(&mut self, count: usize) -> u64 {
        let first = self.next;
        self.next += count as u64;
        first
    }
}

/// What became of a load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sent {
    /// Requests, or pieces of streams.
    pub units: usize,
    /// Microseconds from the begin of each request to the end of its answer, or to its first byte in a burst.
    pub latency_us: Vec<f64>,
    /// Requests without a whole answer of status 200; only a burst goes on after one.
    pub lost: usize,
}
