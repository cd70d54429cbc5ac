//! The result of a check: one line for people, one object for programs.

use serde::{Serialize, Serializer};
use std::collections::BTreeSet;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could.
    Warning,
    /// Requests fail or hang, or the caches are useless.
    Error,
}

/// Something that is checked. Its id is stable; docs/check.md lists them all.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    /// `subject.thing`.
    pub id: &'static str,
    /// How bad it is at worst.
    pub worst: Level,
    /// Why it matters.
    pub why: &'static str,
    /// How to fix it.
    pub remedy: &'static str,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was checked.
    pub check: &'static Check,
    /// How bad it is.
    pub level: Level,
    /// A controller, an Envoy or a cluster.
    pub target: String,
    /// Where in the target; empty for the target as a whole.
    pub subject: String,
    /// What was seen.
    pub seen: String,
}

/// The findings at one target.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    target: String,
    found: Vec<Finding>,
    /// What `found` contains already: a listener with several filter chains would repeat everything.
    known: BTreeSet<(&'static str, String, String)>,
}

// === impl Level ===

impl Level {
    /// Its name in reports.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.label())
    }
}

// === impl Findings ===

impl Findings {
    /// None yet.
    pub fn new(target: impl Into<String>) -> Self {
        Self { target: target.into(), ..Self::default() }
    }

    /// Something is as it should be.
    pub fn ok(&mut self, check: &'static Check, subject: impl Into<String>, seen: impl Into<String>) {
        self.add(check, Level::Ok, subject, seen);
    }

    /// Something is as bad as it can be.
    pub fn bad(&mut self, check: &'static Check, subject: impl Into<String>, seen: impl Into<String>) {
        self.add(check, check.worst, subject, seen);
    }

    /// Something is as it should be, or as bad as it can be.
    pub fn judge(
        &mut self,
        check: &'static Check,
        is_ok: bool,
        subject: impl Into<String>,
        seen: impl Into<String>,
    ) {
        self.add(check, if is_ok { Level::Ok } else { check.worst }, subject, seen);
    }

    /// Something is as bad as this.
    pub fn add(
        &mut self,
        check: &'static Check,
        level: Level,
        subject: impl Into<String>,
        seen: impl Into<String>,
    ) {
        let (subject, seen) = (subject.into(), seen.into());
        if self.known.insert((check.id, subject.clone(), seen.clone())) {
            self.found.push(Finding { check, level, target: self.target.clone(), subject, seen });
        }
    }

    /// All of them.
    pub fn into_vec(self) -> Vec<Finding> {
        self.found
    }
}
