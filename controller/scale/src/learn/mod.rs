//! What is learned of a role's engines for [`Speeds`](crate::Speeds): how long their decode steps take, and their starts.
//!
//! The speed of prefill and the size of KV caches are not learned here: proxies learn the one to route by, engines show the other.

mod steps;
mod wake;

pub use steps::Steps;
pub use wake::Wake;
