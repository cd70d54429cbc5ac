//! Configuration: a document -> a tree of values -> validated structs, or every fault at once.
//!
//! ```text
//!   plugin configuration (JSON) ─► tree ─► reader ─► plugin ───► core's Config  | Faults
//!                                            │  └──► pools
//!   controller's file (YAML) ────► tree ─► reader ─► settings ─► Settings       | Faults
//!                                  └─── in the controller ────┘
//! ```
//!
//! The filter and the controller read the same `pools`, each in its own format. The tree is what both formats have in
//! common, so each rule and each text exists once, and what one accepts the other accepts. Derived `Deserialize`
//! structs would stop at the first fault; whoever pushes a configuration to a fleet wants the whole list.

pub mod cells;
pub mod fault;
pub mod hold;
pub mod host;
pub mod kv_events;
mod members;
pub mod omitted;
pub mod plugin;
pub mod pools;
pub mod prompt;
pub mod reader;
mod rewrites;
pub mod transfer;
pub mod tree;

pub use fault::{Fault, Faults, Place, Problem, Wanted};
pub use host::Host;
pub use kv_events::KvEvents;
pub use members::{Member, NamedMembers};
pub use pools::Pool;
pub use prompt::Prompt;
pub use reader::{Entry, Fields, Reader, Unique};
pub use rewrites::WEIGHT_MAX;
