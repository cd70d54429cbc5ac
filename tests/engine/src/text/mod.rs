//! Text on both sides of the model: the prompt that a chat becomes, and the words of an answer.

mod answer;
mod template;
mod tokens;

pub use answer::Filler;
pub use template::{Turn, render};
pub use tokens::token_ids;
