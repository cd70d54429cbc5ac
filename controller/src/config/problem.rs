//! What can be wrong with a configuration: one [`Problem`] for each fault, with its place and its remedy.
//!
//! A list rather than the first error, because a person who mends a file wants one round, not five.

use std::fmt;
use thiserror::Error;

/// One fault in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, counted from one; zero when the file as a whole is meant.
    pub line: u64,
    /// Path of the field, such as `pools[1].endpoints[0]`; empty for the whole file.
    pub field: String,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The file is no YAML at all.
    #[error("is not valid YAML: {0}")]
    Syntax(String),
    /// No such field.
    #[error("is not a known field")]
    Unknown {
        /// The fields that could stand here.
        known: Vec<&'static str>,
    },
    /// A field that must be there is not.
    #[error("is missing")]
    Missing,
    /// A value of another type.
    #[error("is {found}, not {wanted}")]
    Type {
        /// What would be right.
        wanted: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A number outside its bounds.
    #[error("is {value}")]
    Range {
        /// What is there.
        value: u64,
        /// The least that is allowed.
        min: u64,
        /// The most that is allowed.
        max: u64,
    },
    /// No `ip:port`.
    #[error("is `{0}`, not an address")]
    Address(String),
    /// Used before, where it must be unique.
    #[error("repeats `{value}` of line {line}")]
    Repeated {
        /// The value.
        value: String,
        /// Where it stands first.
        line: u64,
    },
    /// An address to listen on that is the other one's.
    #[error("is `{value}`, where the state stream and the pages cannot both be")]
    Both {
        /// The address.
        value: String,
    },
    /// What should be a whole number is none.
    #[error("is {found}")]
    NoCount {
        /// What is there.
        found: &'static str,
        /// The least that is allowed.
        min: u64,
        /// The most that is allowed.
        max: u64,
    },
    /// A field that stands twice in a mapping.
    #[error("has `{0}` twice")]
    Duplicate(String),
    /// A list or a name with nothing in it.
    #[error("is empty")]
    Empty,
    /// More entries than a limit allows.
    #[error("has {count} {of}")]
    TooMany {
        /// How many there are.
        count: usize,
        /// Of what.
        of: &'static str,
        /// The most that is allowed.
        max: usize,
    },
}

/// All faults of one file, in the order of their lines; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct Problems(Vec<Problem>);

// === impl Fault ===

impl Fault {
    /// How to mend it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Syntax(_) => "mend the syntax; names that begin with * & ! or @ need quotes".to_owned(),
            Self::Unknown { known } if known.is_empty() => "remove it".to_owned(),
            Self::Unknown { known } => format!("use one of: {}", known.join(", ")),
            Self::Missing => "add it".to_owned(),
            Self::Type { wanted: "text", .. } => "put it in quotes".to_owned(),
            Self::Type { wanted, .. } => format!("write {wanted}"),
            Self::Range { min, max, .. } => format!("choose a number from {min} to {max}"),
            Self::NoCount { min, max, .. } => format!("write a whole number from {min} to {max}"),
            Self::Both { .. } => "choose another port".to_owned(),
            Self::Address(_) => "write ip:port with a number for each, such as 10.0.0.1:8000".to_owned(),
            Self::Repeated { .. } | Self::Duplicate(_) => "name it once".to_owned(),
            Self::Empty => "name at least one".to_owned(),
            Self::TooMany { max, .. } => format!("keep to {max}"),
        }
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        let field = if self.field.is_empty() { "the file" } else { &self.field };
        write!(f, "{field} {}: {}", self.fault, self.fault.remedy())
    }
}

// === impl Problems ===

impl Problems {
    /// The faults as an error, if there are any.
    pub(super) fn check(mut found: Vec<Problem>) -> Result<(), Self> {
        if found.is_empty() {
            return Ok(());
        }
        found.sort_by_key(|problem| problem.line);
        Err(Self(found))
    }

    /// One fault after which no other can be looked for.
    pub(super) fn one(problem: Problem) -> Self {
        Self(vec![problem])
    }

    /// The faults.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}
