//! The text of chats byte for byte against what vLLM and transformers make of them: `data/make.py` writes the expectations.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use warmpath_jinja::{ContentFormat, Source, Template, reduce};
use warmpath_json::Scanner;
use warmpath_template::{Chat, Unwritten};

/// 2026-11-26 09:05:07, as in `data/make.py`.
const NOW_US: u64 = 1_795_683_907_000_000;

const TOKENS: [(&str, &str); 3] =
    [("bos_token", "<|bos|>"), ("eos_token", "<|eos|>"), ("pad_token", "<|pad|>")];

struct Case {
    name: String,
    /// As it is written in `cases.json`: the order of fields counts.
    body: String,
    /// `None`: the engine rejects it.
    text: Option<String>,
}

struct Golden {
    name: String,
    template: String,
    content_format: ContentFormat,
    cases: Vec<Case>,
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// The fields of an object as they are written.
fn fields(json: &str) -> BTreeMap<String, String> {
    let mut scanner = Scanner::new(json.as_bytes());
    scanner.open_object().unwrap();
    let mut found = BTreeMap::new();
    while let Some(name) = scanner.next_key().unwrap() {
        let raw = scanner.raw().unwrap();
        found.insert(name.into_owned(), String::from_utf8(raw.bytes().to_vec()).unwrap());
    }
    found
}

fn goldens() -> Vec<Golden> {
    let bodies = fields(&fs::read_to_string(data().join("cases.json")).unwrap());
    let mut found = Vec::new();
    for entry in fs::read_dir(data().join("templates")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let expected = fs::read(data().join("expected").join(format!("{name}.json"))).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        let cases = bodies.iter().map(|(case, body)| Case {
            name: case.clone(),
            body: body.clone(),
            text: expected["cases"][case]["text"].as_str().map(str::to_owned),
        });
        found.push(Golden {
            template: fs::read_to_string(&path).unwrap(),
            content_format: if expected["content_format"] == "openai" {
                ContentFormat::Parts
            } else {
                ContentFormat::Text
            },
            cases: cases.collect(),
            name,
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn with_chat<T>(body: &str, then: impl FnOnce(&Chat<'_>) -> T) -> T {
    let fields = fields(body);
    let get = |name: &str| fields.get(name).filter(|raw| *raw != "null").map(String::as_bytes);
    then(&Chat {
        messages: get("messages").unwrap(),
        tools: get("tools"),
        documents: get("documents"),
        arguments: get("chat_template_kwargs"),
        reasoning_effort: get("reasoning_effort"),
        is_continued: get("continue_final_message") == Some(b"true"),
        has_no_generation_prompt: get("add_generation_prompt") == Some(b"false"),
    })
}

fn source(golden: &Golden) -> Source<'_> {
    Source { template: &golden.template, special_tokens: &TOKENS, ..Source::default() }
}

#[test]
fn the_content_format_is_found_as_vllm_finds_it() {
    for golden in goldens() {
        assert_eq!(ContentFormat::of(&golden.template), golden.content_format, "{}", golden.name);
    }
}

#[test]
fn a_rendered_chat_is_the_engines_byte_for_byte() {
    let mut differences = Vec::new();
    let mut equal = 0;
    for golden in goldens() {
        let template =
            Template::compile(&source(&golden)).unwrap_or_else(|error| panic!("{}: {error}", golden.name));
        for case in &golden.cases {
            let rendered = with_chat(&case.body, |chat| template.render(chat, Some(NOW_US)));
            match (&case.text, rendered) {
                (Some(text), Ok(rendered)) if *text == rendered => equal += 1,
                (None, Err(_)) => {}
                (text, rendered) => differences.push(format!(
                    "{} {}\n expected {text:?}\n got      {rendered:?}",
                    golden.name, case.name
                )),
            }
        }
    }
    assert!(equal > 400, "only {equal} cases have a text");
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

/// What the program of a template writes is what the template does, or nothing. `data/coverage.txt` says how much that is.
#[test]
fn a_reduced_template_writes_the_same_or_nothing() {
    let mut page =
        String::from("template, cases with a text, of them written by the program, the others by reason\n");
    let mut differences = Vec::new();
    for golden in goldens() {
        let template = Template::compile(&source(&golden)).unwrap();
        let program = reduce(&template);
        let (mut texts, mut written) = (0, 0);
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for case in &golden.cases {
            let Some(expected) = &case.text else { continue };
            texts += 1;
            let mut text = Vec::new();
            let result = with_chat(&case.body, |chat| match &program {
                Some(program) => program.write(chat, Some(NOW_US), &mut |piece| {
                    text.extend_from_slice(piece);
                    true
                }),
                None => Err(Unwritten::Failed),
            });
            match result {
                Ok(()) if text == expected.as_bytes() => written += 1,
                Ok(()) => differences.push(format!(
                    "{} {}\n expected {expected:?}\n got      {:?}",
                    golden.name,
                    case.name,
                    String::from_utf8_lossy(&text)
                )),
                Err(reason) => reasons.entry(reason.label()).or_default().push(&case.name),
            }
        }
        let reasons: Vec<String> =
            reasons.iter().map(|(reason, cases)| format!("{reason}: {}", cases.join(" "))).collect();
        writeln!(page, "{}, {texts}, {written}, {}", golden.name, reasons.join("; ")).unwrap();
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    let known = fs::read_to_string(data().join("coverage.txt")).unwrap_or_default();
    // Write it: WARMPATH_COVERAGE=1 cargo test -p warmpath-jinja --test golden
    if std::env::var_os("WARMPATH_COVERAGE").is_some() {
        fs::write(data().join("coverage.txt"), &page).unwrap();
        return;
    }
    assert!(known == page, "coverage.txt is out of date, or less is covered:\n{page}");
}
