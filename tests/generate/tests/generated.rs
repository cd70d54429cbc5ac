//! The checked-in code is the one that the schema generates.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;

#[test]
fn checked_in_code_is_up_to_date() {
    let checked_in = fs::read_to_string(warmpath_generate::path()).unwrap();
    assert!(checked_in == warmpath_generate::code().unwrap(), "the schema has changed: run `just generate`");
}
