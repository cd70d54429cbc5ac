//! What is wrong with a ModelService, field by field.

use std::fmt;

/// What is wrong, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, from `spec` on: `spec.roles.decode.parallelism`.
    pub field: String,
    /// What is wrong, and how to mend it, without the field.
    pub message: String,
}

/// The problems of a ModelService: all are reported at once.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

// === impl Problems ===

impl Problems {
    pub(crate) fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        let problem = Problem { field: field.into(), message: message.into() };
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    pub(crate) fn into_list(self) -> Vec<Problem> {
        self.0
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}
