//! Text on both sides of the model: the prompt that a chat becomes, and the words that are generated.

mod filler;
mod template;
mod tokens;

pub use filler::Filler;
pub use template::{Turn, render};
pub use tokens::token_ids;
