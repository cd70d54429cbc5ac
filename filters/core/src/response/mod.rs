//! What a response shows while it passes: its first token, its id and its usage.
//!
//! ```text
//!   pieces of the body ─┬─► Events ─┬─► FirstToken: whether the engine has begun to generate
//!                       │           └─► IdScan: the id under which the engine stores it
//!                       └─► UsageScan: the tokens, as the engine counted them
//! ```
//!
//! Each reads a piece once and keeps a bounded number of bytes, whatever the length of the response; the response itself
//! is never held back. A parser of whole events would have to buffer them.

mod events;
mod first_token;
mod id;
mod usage;

pub use first_token::FirstToken;
pub use id::IdScan;
pub use usage::{TAIL_BYTES_MAX, Usage, UsageScan, usage_of};
