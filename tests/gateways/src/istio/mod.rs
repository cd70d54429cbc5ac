//! EnvoyFilters, applied the way istiod applies them (`pilot/pkg/networking/core/envoyfilter`), as far as our patches go.
//!
//! Stricter than istiod in one point: there, a patch that matches nothing is dropped without a word, and so is an operation
//! that the kind of object does not have. Here both are errors, for they are the usual way in which an EnvoyFilter fails.

mod apply;
mod matching;
mod merge;

pub use self::apply::{PatchError, apply};
pub use self::matching::Context;
pub use self::merge::MergeError;
