//! Text on both sides of the model: the prompt that a chat becomes, its tokens, and the words that are generated.

mod filler;
mod template;
mod tokenized;
mod tokens;
mod vocabulary;

pub use filler::{Filler, Word};
pub use template::{CHAT_ML, Template, Turn};
pub use tokenized::{Cut, Tokenized};
pub use tokens::token_ids;
pub use vocabulary::{Vocabulary, VocabularyError};
