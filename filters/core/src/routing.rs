//! temporary
pub use crate::decision::*;
