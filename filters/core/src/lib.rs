//! The routing core: everything that Warmpath decides, and nothing that it does.
//!
//! ```text
//!   request body ─► prompt ─► cells ─┐
//!                                    ├─► routing (cost) ─► decision ─► router ─► headers, booking
//!   events (wire) ─► view ───────────┘
//! ```
//!
//! Pure: no host, no clock, no randomness, no threads; time and chance are arguments. The same code runs in
//! the filter, in the controller, in the simulator and in tests, so what one shows holds for the others.

pub mod admission;
pub mod body;
pub mod config;
pub mod cost;
pub mod hash;
pub mod ids;
pub(crate) use warmpath_json as json;
pub mod limits;
pub mod num;
pub mod prompt;
pub mod response;
pub mod router;
pub mod routing;
mod share;
pub mod split;
mod steering;
pub mod time;
pub mod view;
pub mod wire;
pub mod work;
