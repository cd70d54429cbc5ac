//! YAML text -> the tree that all configurations are read from, with the lines that messages name.

use serde::de::DeserializeOwned;
use serde_saphyr::{DuplicateKeyPolicy, Spanned};
use warmpath_config::tree::{Format, Node};
use warmpath_config::{Fault, Faults, Place, Problem};

/// YAML, whose parser reports the line of every value.
#[derive(Debug)]
enum Yaml {}

/// Parses one YAML document.
pub(super) fn parse(text: &str) -> Result<Node, Faults> {
    // The reader reports repeated names, together with everything else.
    let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::PassThrough };
    let document = serde_saphyr::from_str_with_options(text, options).map_err(|error| syntax(&error))?;
    Ok(Node::root::<Yaml>(document))
}

fn syntax(error: &serde_saphyr::Error) -> Faults {
    let line = error.location().and_then(|location| known(location.line()));
    let detail = error.without_snippet().to_string().lines().next().unwrap_or_default().to_owned();
    let remedy = "correct the syntax there; values that begin with * & ! or @ need quotes";
    let problem = Problem::Syntax { format: "YAML", detail, remedy };
    Faults::one(Fault { place: Place { path: String::new(), line }, problem })
}

/// The parser counts lines from one, and reports zero where it knows none.
fn known(line: u64) -> Option<u64> {
    (line > 0).then_some(line)
}

// === impl Yaml ===

impl Format for Yaml {
    type Part<T: DeserializeOwned> = Spanned<T>;

    fn open<T: DeserializeOwned>(part: Spanned<T>) -> (T, Option<u64>) {
        (part.value, known(part.referenced.line()))
    }
}
