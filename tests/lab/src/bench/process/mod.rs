//! Processes that a run starts, and what the kernel tells of them.

pub mod controller;
pub mod engines;
mod memory;
mod meter;
mod own;
mod port;
mod tree;

pub use meter::{Cpu, Meter};
pub use own::Own;
pub use port::free_port;
pub use tree::pids;
