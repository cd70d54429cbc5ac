//! What can be wrong with a configuration: one [`Fault`] for each mistake, with its place and its remedy.
//!
//! Enums rather than texts, so that tests can compare what two formats report, and all texts are in one file.

use std::fmt;

/// Where something is in a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Path of the field, such as `pools[1].endpoints[0]`; empty for the whole configuration.
    pub path: String,
    /// Line in the document, counted from one, if its format reports lines.
    pub line: Option<u64>,
}

/// One mistake in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What is wrong there.
    pub problem: Problem,
}

/// All faults of one configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The document cannot be parsed.
    Syntax {
        /// Its format.
        format: &'static str,
        /// What the parser reports.
        detail: String,
        /// What to look for.
        remedy: &'static str,
    },
    /// No field of this name exists here.
    Unknown {
        /// The fields that do.
        known: Vec<&'static str>,
    },
    /// The map has another field of this name.
    Duplicate,
    /// A required field is not there.
    Missing,
    /// The value has another type.
    Type {
        /// The type that the field takes.
        wanted: Wanted,
        /// What is there: [`crate::tree::Value::describe`].
        found: &'static str,
    },
    /// A number outside its bounds.
    Range {
        /// What is there.
        value: u64,
        /// The smallest that is allowed.
        min: u64,
        /// The largest that is allowed.
        max: u64,
    },
    /// Text that is not an `ip:port`.
    Address {
        /// The text.
        text: String,
        /// What it should be.
        wanted: Wanted,
    },
    /// Text that is not a token.
    Token {
        /// The longest that is one.
        bytes_max: usize,
    },
    /// A field that excludes another, which is there, too.
    Excluded {
        /// The other.
        other: &'static str,
    },
    /// Text that is not the name of a header.
    Header(String),
    /// A name with a control character.
    Control(char),
    /// A name or a list with nothing in it.
    Empty {
        /// What to put there.
        remedy: &'static str,
    },
    /// A value that must be unique and is not.
    Repeated {
        /// The value.
        value: String,
        /// Where it is first.
        first: Place,
        /// How to make it unique.
        remedy: &'static str,
    },
    /// More than a limit allows.
    TooMany {
        /// How many there are.
        count: usize,
        /// Of what.
        of: &'static str,
        /// The limit.
        max: usize,
    },
    /// Text that is none of those that the field takes.
    Choice {
        /// The text.
        text: String,
        /// What it takes.
        choices: &'static [&'static str],
    },
    /// A port for a server that the protocol does not have.
    NoBootstrap {
        /// The protocol.
        protocol: &'static str,
    },
    /// Endpoints for single legs in a pool that does not say how its engines pass KV on.
    NoTransfer,
    /// A `hold` without a wait.
    HoldsNothing,
    /// A wait for room in a pool whose engines pass KV on.
    RoomApart,
    /// A wait for an endpoint in a filter without a controller: its pool never lacks one.
    AlwaysEndpoints,
    /// Text that is no JSON object.
    NoObject {
        /// The text.
        text: String,
    },
    /// A port of KV events whose source names its own, or has none.
    NoPorts {
        /// The source.
        source: &'static str,
    },
    /// KV events in a pool whose prompts' text is not known.
    NoPrompt,
    /// A filter's pool without endpoints, and no controller that could publish them.
    NoEndpoints,
    /// A filter with neither pools nor a controller.
    NothingToRouteTo,
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Text.
    Text,
    /// `ip:port`.
    Address,
    /// `ip:port` or `name:port`.
    Endpoint,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Number {
        /// The smallest that is allowed.
        min: u64,
        /// The largest that is allowed.
        max: u64,
    },
    /// A list.
    List,
    /// A map.
    Map,
}

// === impl Place ===

impl Place {
    /// The place of a field that is not in this map.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        Self { path: self.path_of(name), line: None }
    }

    /// The path of a field of this map.
    pub(crate) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

// === impl Fault ===

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.place.line {
            write!(f, "line {line}: ")?;
        }
        let path = &self.place.path;
        f.write_str(if path.is_empty() { "the configuration" } else { path })?;
        write!(f, " {}", self.problem)
    }
}

// === impl Faults ===

impl Faults {
    /// A fault after which no other can be looked for.
    pub fn one(fault: Fault) -> Self {
        Self(vec![fault])
    }

    /// The faults; `None` if there are none.
    pub(crate) fn of(faults: Vec<Fault>) -> Option<Self> {
        (!faults.is_empty()).then_some(Self(faults))
    }

    /// The same faults in the order of their lines, for a format that reports lines.
    #[must_use]
    pub fn by_line(mut self) -> Self {
        self.0.sort_by_key(|fault| fault.place.line);
        self
    }

    /// Each fault.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

// === impl Problem ===

impl Problem {
    /// The text of one that names nothing of the document.
    fn fixed(&self) -> &'static str {
        match self {
            Self::Duplicate => "is given twice: remove one",
            Self::Missing => "is missing: add it",
            Self::NoTransfer => {
                "lists engines for one leg of a request, and the pool has no `transfer`, so that no request would be split: \
                 add `transfer` with the engines' protocol, or list them in `endpoints`"
            }
            Self::HoldsNothing => {
                "holds no request: set `room_s`, `endpoint_s` or both to the longest wait in seconds, or remove it"
            }
            Self::RoomApart => {
                "is a wait for room, and the pool has `transfer`, where requests wait for an endpoint only: remove one of both"
            }
            Self::AlwaysEndpoints => {
                "is a wait for an endpoint, and without a `controller` a pool always has those of its list: remove it, or \
                 add a `controller`"
            }
            Self::NoPrompt => {
                "follows the engines' KV events, and the pool has no `prompt`, without which their tokens are no text: add \
                 `prompt` with the model's tokenizer, or remove it"
            }
            Self::NoEndpoints => {
                "lists no engine, and no `controller` publishes any: list the ip:port of at least one, or add a \
                 `controller`"
            }
            Self::NothingToRouteTo => {
                "has neither `pools` nor a `controller`, so there is nothing to route to: add one of them"
            }
            _ => "is not valid",
        }
    }
}

/// What is wrong, a colon, and how to fix it; the field's path is the subject.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { format, detail, remedy } => {
                write!(f, "is not valid {format} ({detail}): {remedy}")
            }
            Self::Unknown { known } => {
                write!(f, "is not a known field: remove it, or use one of {}", known.join(", "))
            }
            Self::Type { wanted, found } => write!(f, "must be {wanted}, but {found}: {}", wanted.remedy()),
            Self::Range { value, min, max } => {
                let size = if value < min { "small" } else { "large" };
                write!(f, "is {value}, which is too {size}: choose a whole number from {min} to {max}")
            }
            Self::Address { text, wanted } => {
                write!(f, "is `{}`, which is not {wanted}: {}", shown(text), wanted.remedy())
            }
            Self::Token { bytes_max } => {
                write!(f, "is not a token: write 1 to {bytes_max} printable ASCII characters, without spaces")
            }
            Self::Excluded { other } => write!(f, "is given together with `{other}`: remove one of them"),
            Self::Header(text) => write!(
                f,
                "is `{}`, which is not the name of a header: write letters, digits and hyphens, such as x-session-id",
                shown(text)
            ),
            Self::Control(character) => {
                write!(f, "contains the control character U+{:04X}: remove it", u32::from(*character))
            }
            Self::Empty { remedy } => write!(f, "is empty: {remedy}"),
            Self::Repeated { value, first, remedy } => {
                write!(f, "repeats `{}` of {}", shown(value), first.path)?;
                if let Some(line) = first.line {
                    write!(f, " (line {line})")?;
                }
                write!(f, ": {remedy}")
            }
            Self::TooMany { count, of, max } => write!(f, "has {count} {of}: use at most {max}"),
            Self::Choice { text, choices } => {
                write!(f, "is `{}`, which is not known: write one of {}", shown(text), choices.join(", "))
            }
            Self::NoBootstrap { protocol } => {
                write!(f, "is a port that the protocol {protocol} does not have: remove it")
            }
            Self::NoObject { text } => {
                write!(f, "is `{}`, which is not a JSON object: write it as {{\"name\": value}}", shown(text))
            }
            Self::NoPorts { source } => write!(
                f,
                "belongs to the source `ports`, and the source is `{source}`: remove it, or change `source`"
            ),
            other => f.write_str(other.fixed()),
        }
    }
}

// === impl Wanted ===

impl Wanted {
    fn remedy(self) -> String {
        let remedy = match self {
            Self::Text => "write it in quotes",
            Self::Address => "write ip:port, such as 10.0.0.1:8000; host names are not resolved",
            Self::Endpoint => "write ip:port or name:port, such as 10.0.0.1:8000 or engines.example:8000",
            Self::Flag => "write true or false, without quotes",
            Self::Number { min, max } => return format!("write digits only, from {min} to {max}"),
            Self::List => "write it in brackets",
            Self::Map => "write its fields with their names",
        };
        remedy.to_owned()
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Address => "an address",
            Self::Endpoint => "an address or a host name with a port",
            Self::Flag => "true or false",
            Self::Number { .. } => "a whole number",
            Self::List => "a list",
            Self::Map => "a map",
        })
    }
}

/// Characters of a document's own text that a message repeats at most.
const SHOWN_CHARS_MAX: usize = 100;

/// A document's own text, made fit for a message: a short one on one line, whatever the document holds.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == SHOWN_CHARS_MAX {
            shown.push('…');
            break;
        }
        shown.push(if character.is_control() { char::REPLACEMENT_CHARACTER } else { character });
    }
    shown
}
