//! The command line as its user sees it: what goes wrong is one line, and what is printed can be run again.

#![allow(clippy::unwrap_used, reason = "a helper of a test that fails is a failed test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of this run alone.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn sim(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warmpath-sim"));
    command
        .current_dir(folder)
        .env("RUST_BACKTRACE", "1")
        .args(words)
        .args(["--out", "out"])
        .output()
        .unwrap()
}

#[test]
fn an_error_is_one_line_without_a_backtrace() {
    let folder = folder("error");
    std::fs::write(folder.join("bad.csv"), "yesterday,1,1\n2023-11-16 18:17:03,1,x\n").unwrap();
    for (trace, cause) in
        [("bad.csv", "line 2: \"x\" is no count of tokens"), ("none.csv", "cannot read none.csv: ")]
    {
        let output = sim(&folder, &["--trace", trace, "--threads", "1"]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert_eq!(told.lines().count(), 1, "no progress of what was not played: {told}");
        assert!(told.starts_with("error: ") && told.contains(cause), "{told}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_trace_of_ones_own_is_told_with_the_command_that_plays_it_again() {
    let folder = folder("again");
    std::fs::write(folder.join("my trace.csv"), "2023-11-16 18:17:03,100,2\n2023-11-16 18:17:05,90,2\n")
        .unwrap();
    let words = ["--trace", "my trace.csv", "--speed", "2", "--pool", "unequal", "--rules", "lmetric"];
    let output = sim(&folder, &words);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}");
    let again = "./just sim --trace 'my trace.csv' --speed 2 --pool unequal --rules Y --seeds Z\n";
    assert!(told.contains(again) && told.contains("2 requests"), "{told}");
    assert!(!told.contains("calibration"), "the published ladders say nothing of it: {told}");
    let json = std::fs::read_to_string(folder.join("out/report.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let trace = serde_json::json!({ "path": "my trace.csv", "speed": 2.0, "pool": "unequal" });
    assert_eq!(json.pointer("/run/trace"), Some(&trace));
    std::fs::remove_dir_all(folder).unwrap();
}
