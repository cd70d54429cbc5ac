//! `warmpath check` of the configurations of real gateways, and of the states of controllers.

mod controller;
mod documented;
mod gateways;
mod guards;
mod kubernetes;
mod plain;

use warmpath::check::finding::{Finding, Findings, Level};

/// What is wrong, a line each: level, id, where and what.
fn wrong(findings: Findings) -> Vec<String> {
    let line = |finding: &Finding| {
        let Finding { check, level, subject, seen, .. } = finding;
        assert!(*level <= check.worst, "{} is worse than its check allows", check.id);
        let subject = if subject.is_empty() { String::new() } else { format!("{subject}: ") };
        (*level > Level::Ok).then(|| format!("{} {} {subject}{seen}", level.label(), check.id))
    };
    findings.into_vec().iter().filter_map(line).collect()
}
