//! docs/check.md lists every check with the texts of the code.

use std::collections::BTreeSet;
use std::fmt::Write;
use warmpath::check::catalog;

const PAGE: &str = include_str!("../../../../docs/check.md");
const HEADING: &str = "| id | severity | why it matters | how to fix it |\n|---|---|---|---|\n";

#[test]
fn the_page_has_the_checks_of_the_code() {
    let mut table = HEADING.to_owned();
    for check in catalog() {
        writeln!(table, "| `{}` | {} | {} | {} |", check.id, check.worst.label(), check.why, check.remedy)
            .unwrap();
    }
    assert!(PAGE.contains(&table), "docs/check.md must contain this table:\n{table}");
    assert_eq!(PAGE.matches(HEADING).count(), 1);
}

#[test]
fn ids_are_unique_and_of_one_form() {
    let ids: Vec<&str> = catalog().map(|check| check.id).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id occurs twice");
    for id in ids {
        let (subject, thing) = id.split_once('.').unwrap();
        let is_word = |word: &str| {
            !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || "-0123456789".contains(c))
        };
        assert!(is_word(subject) && is_word(thing), "{id}");
    }
}
