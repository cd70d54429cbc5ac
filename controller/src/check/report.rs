//! The findings as a report for people or for programs, and as an exit status.

use super::finding::{Finding, Level};
use serde::Serialize;
use std::io::{self, Write};

/// Exit status: no error was found.
pub const STATUS_FINE: u8 = 0;
/// Exit status: errors were found.
pub const STATUS_ERRORS: u8 = 1;
/// Exit status: something could not be checked.
pub const STATUS_UNCHECKED: u8 = 2;

/// Width of the column of levels.
const LEVEL_WIDTH: usize = 7;

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In the order of the checks.
    pub findings: Vec<Finding>,
    /// What could not be checked, and why.
    pub unchecked: Vec<Unchecked>,
}

/// A target that could not be checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unchecked {
    /// The target.
    pub target: String,
    /// Why.
    pub reason: String,
}

/// The report for programs.
#[derive(Debug, Serialize)]
struct Page<'a> {
    version: &'static str,
    errors: usize,
    warnings: usize,
    unchecked: &'a [Unchecked],
    findings: Vec<Line<'a>>,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    id: &'static str,
    level: Level,
    target: &'a str,
    subject: &'a str,
    seen: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

// === impl Report ===

impl Report {
    /// The exit status.
    pub fn status(&self) -> u8 {
        if !self.unchecked.is_empty() {
            STATUS_UNCHECKED
        } else if self.count(Level::Error) > 0 {
            STATUS_ERRORS
        } else {
            STATUS_FINE
        }
    }

    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// Prints it for people: the findings of each target, and the remedy of what is wrong.
    pub fn print_text(&self, out: &mut impl Write, is_quiet: bool) -> io::Result<()> {
        let mut target = "";
        for finding in self.findings.iter().filter(|finding| !is_quiet || finding.level > Level::Ok) {
            if finding.target != target {
                target = &finding.target;
                writeln!(out, "{target}")?;
            }
            print_finding(out, finding)?;
        }
        for Unchecked { target, reason } in &self.unchecked {
            writeln!(out, "{target}\n  could not be checked: {reason}")?;
        }
        let (errors, warnings) = (self.count(Level::Error), self.count(Level::Warning));
        let all = self.findings.len();
        writeln!(out, "{all} checks, errors: {errors}, warnings: {warnings}")
    }

    /// Prints it as JSON.
    pub fn print_json(&self, out: &mut impl Write) -> io::Result<()> {
        let page = Page {
            version: env!("CARGO_PKG_VERSION"),
            errors: self.count(Level::Error),
            warnings: self.count(Level::Warning),
            unchecked: &self.unchecked,
            findings: self.findings.iter().map(Line::of).collect(),
        };
        writeln!(out, "{}", serde_json::to_string_pretty(&page)?)
    }
}

fn print_finding(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    let Finding { check, level, subject, seen, .. } = finding;
    let subject = if subject.is_empty() { String::new() } else { format!("{subject}: ") };
    writeln!(out, "  {:<LEVEL_WIDTH$}  {}  {subject}{seen}", level.label(), check.id)?;
    if *level == Level::Ok {
        return Ok(());
    }
    let indent = " ".repeat(LEVEL_WIDTH + 4);
    writeln!(out, "{indent}why:  {}", check.why)?;
    writeln!(out, "{indent}fix:  {}", check.remedy)
}

// === impl Line ===

impl<'a> Line<'a> {
    fn of(finding: &'a Finding) -> Self {
        let is_wrong = finding.level > Level::Ok;
        Self {
            id: finding.check.id,
            level: finding.level,
            target: &finding.target,
            subject: &finding.subject,
            seen: &finding.seen,
            why: is_wrong.then_some(finding.check.why),
            remedy: is_wrong.then_some(finding.check.remedy),
        }
    }
}
