//! Paths that docs and module heads name in backticks must exist: files move, and prose does not follow.

use std::path::Path;
use warmpath_tidy::{File, assert_none, files, root};

/// Endings by which a word with a slash is the path of a file.
const ENDINGS: [&str; 9] = ["rs", "md", "yaml", "toml", "json", "jsonl", "csv", "txt", "wasm"];

/// Folders that are built, installed or fetched, not checked in.
const GENERATED: [&str; 3] = ["target/", "dist/", "traces/"];

/// Words that look like paths of ours and are not.
const FOREIGN: [(&str, &str); 2] = [
    ("application/json", "a media type"),
    ("FAST25-release/traces/conversation_trace.jsonl", "a file of Mooncake's repository"),
];

#[test]
fn paths_in_backticks_exist() {
    let mut offenders = Vec::new();
    let top = top_folders();
    for file in files(&[".md", ".rs"]) {
        for (number, line) in prose(&file) {
            for word in line.split('`').skip(1).step_by(2) {
                if is_path(word, &top) && !exists(&file.path, word) {
                    offenders.push(format!("{}:{number}: {word}", file.path));
                }
            }
        }
    }
    assert_none(&offenders, "paths that do not exist");
}

#[test]
fn only_words_that_must_exist_are_taken_for_paths() {
    let top = ["filters".to_owned()];
    for word in ["filters/core", "src/{a,b}.rs", "data/*.csv"] {
        assert!(is_path(word, &top), "{word}");
    }
    for word in
        ["/v1/models", "target/x.json", "https://a/b.md", "lib.rs", "a/<n>.rs", "src/exports.cc", "a/b"]
    {
        assert!(!is_path(word, &top), "{word}");
    }
}

/// The lines of a page outside its code blocks, or of a module's head.
fn prose(file: &File) -> Vec<(usize, String)> {
    let mut in_code = false;
    let is_page = !file.path.contains(".rs");
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        let Some(text) = (if is_page { Some(line) } else { line.strip_prefix("//!") }) else { break };
        if text.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            lines.push((number, text.to_owned()));
        }
    }
    lines
}

fn top_folders() -> Vec<String> {
    let entries = std::fs::read_dir(root()).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn is_path(word: &str, top: &[String]) -> bool {
    let is_plain = word.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-*{},".contains(letter));
    if !is_plain || !word.contains('/') || word.starts_with('/') || word.contains("//") {
        return false;
    }
    if GENERATED.iter().any(|folder| word.starts_with(folder))
        || FOREIGN.iter().any(|(name, _)| *name == word)
    {
        return false;
    }
    let ending = word.rsplit_once('.').map(|(_, ending)| ending);
    let head = word.split('/').next().unwrap_or_default();
    ending.is_some_and(|ending| ENDINGS.contains(&ending)) || top.iter().any(|folder| folder == head)
}

/// Whether each path that `word` names is there: from the root, or from a folder around the file that names it.
fn exists(path: &str, word: &str) -> bool {
    let folders: Vec<&Path> = Path::new(path).ancestors().skip(1).collect();
    let is_there = |name: &String| folders.iter().any(|folder| matches(&root().join(folder), name));
    expand(word).iter().all(is_there)
}

/// `a.{b,c}` is `a.b` and `a.c`.
fn expand(word: &str) -> Vec<String> {
    let Some((head, rest)) = word.split_once('{') else { return vec![word.to_owned()] };
    let Some((choices, tail)) = rest.split_once('}') else { return vec![word.to_owned()] };
    choices.split(',').flat_map(|choice| expand(&format!("{head}{choice}{tail}"))).collect()
}

/// Whether a file below `folder` has this name, in which a `*` stands for a part of one step.
fn matches(folder: &Path, name: &str) -> bool {
    let (step, rest) = name.split_once('/').unwrap_or((name, ""));
    let Some((head, tail)) = step.split_once('*') else {
        let next = folder.join(step);
        return if rest.is_empty() { next.exists() } else { matches(&next, rest) };
    };
    std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let found = entry.file_name().to_string_lossy().into_owned();
        let fits = found.len() >= head.len() + tail.len() && found.starts_with(head) && found.ends_with(tail);
        fits && (rest.is_empty() || matches(&entry.path(), rest))
    })
}
