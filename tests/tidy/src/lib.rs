//! The tree as text: the files that the tidy tests look at.
//!
//! The tests read files and check what reviewers forget. They are no linter: they parse nothing and have no opinion
//! about style.

#![allow(clippy::expect_used, reason = "a tree that cannot be read is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

/// Folders without sources of ours.
const SKIPPED: [&str; 6] = ["target", "dist", ".git", "node_modules", "snapshots", "data"];

/// One text file.
pub struct File {
    /// Relative to the root, with `/`.
    pub path: String,
    /// Its contents.
    pub text: String,
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All files below the root whose name ends in one of `endings`, in order.
///
/// # Panics
///
/// When there is none: a test over nothing would pass.
pub fn files(endings: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    collect(&root(), &root(), endings, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no file ends in {endings:?}: the tests look at nothing");
    found
}

/// Fails with a list of all offenders, if there are any.
///
/// # Panics
///
/// When there is one.
pub fn assert_none(offenders: &[String], what: &str) {
    assert!(offenders.is_empty(), "{what}:\n  {}", offenders.join("\n  "));
}

fn collect(root: &Path, folder: &Path, endings: &[&str], found: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("a folder of the tree") {
        let path = entry.expect("an entry of the tree").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                collect(root, &path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            let relative = path.strip_prefix(root).expect("below the root");
            found.push(File {
                path: relative.to_string_lossy().replace('\\', "/"),
                text: fs::read_to_string(&path).expect("a text file"),
            });
        }
    }
}
