//! What is checked in is what the schema and the types generate.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;

#[test]
fn checked_in_code_is_up_to_date() {
    let checked_in = fs::read_to_string(warmpath_generate::path()).unwrap();
    assert!(checked_in == warmpath_generate::code().unwrap(), "the schema has changed: run `just generate`");
}

#[test]
fn the_charts_definition_of_modelservice_is_up_to_date() {
    let checked_in = fs::read_to_string(warmpath_generate::definition::path()).unwrap();
    let generated = warmpath_generate::definition::yaml().unwrap();
    assert!(checked_in == generated, "the types have changed: run `just generate`");
}
