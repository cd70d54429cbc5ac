//! `warmpath check`: what is wrong with an installation, and how to fix it.
//!
//! ```text
//!   Envoy's admin page ─► envoy ──────┐
//!   controller's API ───► controller ─┼─► findings ─► report (text, JSON, exit status)
//!   API server ─────────► kubernetes ─┘
//! ```
//!
//! Each target is first read, and then judged by pure functions over what was read. One file for each subject; each check is a
//! constant with a stable id, why it matters, and its remedy, next to the code that judges it. docs/check.md lists them.

pub mod controller;
pub mod envoy;
pub mod finding;
mod json;
pub mod kubernetes;
pub mod report;

use crate::args::CheckArgs;
use finding::{Check, Findings};
use report::{Report, Unchecked};

/// All checks, in the order of docs/check.md.
pub fn catalog() -> impl Iterator<Item = &'static Check> {
    let targets: [&'static [&'static [&'static Check]]; 3] =
        [&envoy::CHECKS, &controller::CHECKS, &kubernetes::CHECKS];
    targets.into_iter().flatten().copied().flatten().copied()
}

/// Checks what the arguments name. What cannot be read is part of the report.
pub async fn run(args: &CheckArgs) -> Report {
    let mut report = Report::default();
    let mut wanted = None;
    if let Some(url) = controller_of(args) {
        let target = format!("controller {url}");
        match controller::Pages::of(&url).await {
            Ok(pages) => {
                let mut findings = Findings::new(target);
                controller::check(&pages, &mut findings);
                report.findings.extend(findings.into_vec());
                wanted = Some(pages.wanted());
            }
            Err(error) => report.unchecked.push(Unchecked { target, reason: chain(&error) }),
        }
    }
    for url in &args.envoy {
        let target = format!("envoy {url}");
        match envoy::Pages::of(url).await {
            Ok(pages) => {
                let mut findings = Findings::new(target);
                envoy::check(&pages, wanted.as_ref(), &mut findings);
                report.findings.extend(findings.into_vec());
            }
            Err(error) => report.unchecked.push(Unchecked { target, reason: chain(&error) }),
        }
    }
    if args.kubernetes {
        kubernetes::run(&args.namespace, &mut report).await;
    }
    report
}

/// The controller that is checked: the default one only where nothing else is named.
fn controller_of(args: &CheckArgs) -> Option<String> {
    let is_alone = args.envoy.is_empty() && !args.kubernetes;
    args.controller.clone().or_else(|| is_alone.then(|| crate::args::CONTROLLER_DEFAULT.to_owned()))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&[": ", &cause.to_string()].concat());
        source = cause.source();
    }
    text
}
