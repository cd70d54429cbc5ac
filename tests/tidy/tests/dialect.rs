//! One dialect of Rust in all crates, where rustfmt leaves a choice.
#![allow(clippy::string_slice, reason = "what is sliced are the offsets of ASCII that was found")]

use warmpath_tidy::{File, assert_none, files};

/// The order in which derives begin.
const FIRST: [&str; 3] = ["Clone", "Copy", "Debug"];

/// Sources that people write.
fn sources() -> impl Iterator<Item = File> {
    files(&[".rs"]).into_iter().filter(|file| !file.path.ends_with("generated.rs"))
}

/// A place in a file, as a compiler shows it.
fn place(file: &File, at: usize) -> String {
    format!("{}:{}", file.path, file.text[..at].matches('\n').count() + 1)
}

#[test]
fn derives_begin_with_clone_copy_debug() {
    let mut offenders = Vec::new();
    for file in sources() {
        for (at, mark) in file.text.match_indices("#[derive(") {
            let rest = &file.text[at + mark.len()..];
            let names: Vec<&str> =
                rest.split(")]").next().unwrap_or_default().split(',').map(str::trim).collect();
            let expected: Vec<&str> = FIRST.into_iter().filter(|name| names.contains(name)).collect();
            if !names.starts_with(&expected) {
                offenders.push(place(&file, at));
            }
        }
    }
    assert_none(&offenders, "derives that do not begin with Clone, Copy, Debug, as far as they have them");
}

#[test]
fn imports_are_one_block() {
    let mut offenders = Vec::new();
    for file in sources() {
        for (at, gap) in file.text.match_indices(";\n\n") {
            let next = file.text[at + gap.len()..].lines().next().unwrap_or_default();
            let import = format!("{}use ", &next[..next.len() - next.trim_start().len()]);
            let mut statement = file.text[..at].rsplit(";\n").next().unwrap_or_default().lines();
            if next.starts_with(&import) && statement.any(|line| line.starts_with(&import)) {
                offenders.push(place(&file, at + gap.len()));
            }
        }
    }
    assert_none(&offenders, "blank lines between imports");
}
