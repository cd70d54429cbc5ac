//! Things that become stale. Each test collects all offenders before it fails.

#![allow(
    clippy::panic,
    clippy::string_slice,
    clippy::indexing_slicing,
    reason = "a tree that is not as expected is a failed test"
)]

use warmpath_tidy::{File, assert_none, files, root};

/// Lines that a source file may have before it should be split.
const LINES_MAX: usize = 500;

/// Every `"prefix..."` literal of a source file.
fn literals(file: &File, prefix: &str) -> Vec<String> {
    let starts = file.text.match_indices(&format!("\"{prefix}")).map(|(at, _)| at + 1).collect::<Vec<_>>();
    starts.into_iter().filter_map(|at| file.text[at..].split('"').next().map(str::to_owned)).collect()
}

fn file(path: &str) -> File {
    let text = std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    File { path: path.to_owned(), text }
}

#[test]
fn every_source_file_opens_with_a_module_doc() {
    let offenders: Vec<String> = files(&[".rs"])
        .into_iter()
        .filter(|file| !file.text.starts_with("//!"))
        .map(|file| file.path)
        .collect();
    assert_none(&offenders, "files without a module doc in their first line");
}

#[test]
fn no_source_file_is_too_long() {
    let offenders: Vec<String> = files(&[".rs"])
        .into_iter()
        .map(|file| (file.text.lines().count(), file.path))
        // Nobody reads generated code from end to end.
        .filter(|(lines, path)| *lines > LINES_MAX && !path.ends_with("/generated.rs"))
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    assert_none(&offenders, "files over 500 lines");
}

#[test]
fn links_between_docs_lead_to_files() {
    let mut offenders = Vec::new();
    for doc in files(&[".md"]) {
        let folder = root().join(&doc.path).parent().map(std::path::Path::to_path_buf).unwrap_or_default();
        for (at, _) in doc.text.match_indices("](") {
            let target = doc.text[at + 2..].split([')', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !folder.join(target).exists() {
                offenders.push(format!("{}: {target}", doc.path));
            }
        }
    }
    assert_none(&offenders, "links to files that are not there");
}

#[test]
fn every_dependency_of_the_workspace_has_a_user() {
    // cargo-machete checks the members' own dependencies, and not the shared list.
    let root = file("Cargo.toml").text;
    let (_, shared) = root.split_once("[workspace.dependencies]\n").unwrap_or_default();
    let (shared, _) = shared.split_once("\n[").unwrap_or_default();
    let names: Vec<&str> = shared.lines().filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
    assert!(names.len() > 20, "found only {names:?}: the test looks at the wrong place");
    let members = files(&["Cargo.toml"]);
    let is_used = |name: &str| {
        let uses = [format!("\n{name}.workspace = true"), format!("\n{name} = {{ workspace = true")];
        members.iter().any(|member| uses.iter().any(|used| member.text.contains(used)))
    };
    let unused: Vec<String> = names.into_iter().filter(|name| !is_used(name)).map(str::to_owned).collect();
    assert_none(&unused, "shared dependencies that no member uses");
}

#[test]
fn comments_contain_no_marks_of_unfinished_work() {
    // Written in two halves, so that this file does not find itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut offenders = Vec::new();
    for file in files(&[".rs", ".md", ".yaml", ".toml"]) {
        for (number, line) in file.text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                offenders.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    assert_none(&offenders, "marks of unfinished work: do it, or open an issue");
}

#[test]
fn only_host_rs_names_hostcalls() {
    let offenders: Vec<String> = files(&[".rs"])
        .into_iter()
        .filter(|file| file.path.starts_with("filters/router/") && !file.path.ends_with("/host.rs"))
        .filter(|file| file.text.contains("hostcalls::"))
        .map(|file| file.path)
        .collect();
    assert_none(&offenders, "files beside host.rs that name hostcalls");
}

#[test]
fn the_metrics_page_lists_the_filters_metrics() {
    let page = file("docs/metrics.md").text;
    let sources = ["filters/core/src/router/metrics.rs", "filters/core/src/router/reasons.rs"];
    let names: Vec<String> = sources.iter().flat_map(|path| literals(&file(path), "warmpath.")).collect();
    assert!(names.len() > 20, "found only {} metrics: the test looks at the wrong place", names.len());
    let missing: Vec<String> =
        names.iter().filter(|name| !page.contains(&format!("`{name}`"))).cloned().collect();
    assert_none(&missing, "metrics that docs/metrics.md does not list");
    let stale: Vec<String> = page
        .split('`')
        .filter(|word| word.starts_with("warmpath.") && !names.iter().any(|name| name == word))
        .map(str::to_owned)
        .collect();
    assert_none(&stale, "metrics in docs/metrics.md that do not exist");
}

#[test]
fn the_metrics_page_lists_the_controllers_metrics() {
    let page = file("docs/metrics.md").text;
    let source = file("controller/src/metrics.rs").text;
    let names: Vec<&str> = source
        .split("register(")
        .skip(1)
        .filter_map(|call| call.trim_start().strip_prefix('"')?.split('"').next())
        .collect();
    assert!(names.len() > 10, "found only {} metrics: the test looks at the wrong place", names.len());
    let missing: Vec<String> = names
        .iter()
        .filter(|name| !page.contains(&format!("| `{name}` |")))
        .map(|name| (*name).to_owned())
        .collect();
    assert_none(&missing, "metrics that docs/metrics.md does not list");
}

#[test]
fn the_readme_names_the_two_commands() {
    let readme = file("README.md").text;
    let justfile = file("justfile").text;
    for recipe in ["demo", "test"] {
        assert!(readme.contains(&format!("./just {recipe}")), "README.md does not name ./just {recipe}");
        assert!(justfile.lines().any(|line| line.starts_with(recipe)), "the justfile has no {recipe}");
    }
}
