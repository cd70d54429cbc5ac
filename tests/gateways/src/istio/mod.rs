//! EnvoyFilters, applied as istiod applies them (`pilot/pkg/networking/core/envoyfilter`), as far as our patches need.
//!
//! Stricter than istiod in one respect: it silently drops patches that match nothing, and operations that a kind of object does not
//! have. Here both are errors, because that is how EnvoyFilters usually fail.

mod apply;
mod matching;
mod merge;

pub use self::apply::{PatchError, apply};
pub use self::matching::Context;
pub use self::merge::MergeError;
