//! The text of chats byte for byte against what vLLM and transformers make of them: `data/make.py` writes the expectations.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use warmpath_jinja::{ContentFormat, Source, Template, reduce};
use warmpath_json::{Raw, Scanner};
use warmpath_template::{Chat, MessagesBody, Program, ResponsesBody, Unwritten};

/// 2026-11-26 09:05:07, as in `data/make.py`.
const NOW_US: u64 = 1_795_683_907_000_000;

const TOKENS: [(&str, &str); 3] =
    [("bos_token", "<|bos|>"), ("eos_token", "<|eos|>"), ("pad_token", "<|pad|>")];

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Chat,
    Messages,
    Responses,
}

struct Case {
    format: Format,
    name: String,
    /// As it is written in its file: the order of fields counts.
    body: String,
    /// `None`: the engine rejects it.
    text: Option<String>,
}

struct Golden {
    name: String,
    template: String,
    content_format: ContentFormat,
    /// `None`: an engine with this template does not start.
    merges_system: Option<bool>,
    cases: Vec<Case>,
}

// === impl Format ===

impl Format {
    const ALL: [Self; 3] = [Self::Chat, Self::Messages, Self::Responses];

    /// The name of its file, and of its expectations.
    fn name(self) -> &'static str {
        match self {
            Self::Chat => "cases",
            Self::Messages => "messages",
            Self::Responses => "responses",
        }
    }
}

// === impl Case ===

impl Case {
    /// What a program writes of it.
    fn written(&self, program: &Program) -> Result<String, Unwritten> {
        let fields = fields(&self.body);
        let raw = |name: &str| fields.get(name).filter(|raw| *raw != "null").map(|raw| raw_of(raw));
        let mut text = Vec::new();
        let mut sink = |piece: &[u8]| {
            text.extend_from_slice(piece);
            true
        };
        let given = match self.format {
            Format::Chat => {
                with_chat(&self.body, |chat| program.write(chat, Some(NOW_US), &mut sink))?;
                return Ok(String::from_utf8(text).unwrap());
            }
            Format::Messages => {
                let body = MessagesBody {
                    messages: raw("messages").unwrap().bytes(),
                    system: raw("system"),
                    tools: raw("tools"),
                    thinking: raw("thinking"),
                    output_config: raw("output_config"),
                    arguments: raw("chat_template_kwargs"),
                };
                body.given(program)?
            }
            Format::Responses => {
                let body = ResponsesBody {
                    instructions: raw("instructions"),
                    input: raw("input"),
                    tools: raw("tools"),
                    reasoning: raw("reasoning"),
                    arguments: raw("chat_template_kwargs"),
                };
                body.given()?
            }
        };
        program.write_given(given, Some(NOW_US), &mut sink)?;
        Ok(String::from_utf8(text).unwrap())
    }
}

fn raw_of(json: &str) -> Raw<'_> {
    Scanner::new(json.as_bytes()).raw().unwrap()
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
    let bodies = Format::ALL.map(|format| {
        (format, fields(&fs::read_to_string(data().join(format!("{}.json", format.name()))).unwrap()))
    });
    let mut found = Vec::new();
    for entry in fs::read_dir(data().join("templates")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let expected = fs::read(data().join("expected").join(format!("{name}.json"))).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        let cases = bodies.iter().flat_map(|(format, bodies)| bodies.iter().map(|body| (*format, body)));
        let cases = cases.map(|(format, (case, body))| Case {
            format,
            name: case.clone(),
            body: body.clone(),
            text: expected[format.name()][case]["text"].as_str().map(str::to_owned),
        });
        found.push(Golden {
            template: fs::read_to_string(&path).unwrap(),
            content_format: if expected["content_format"] == "openai" {
                ContentFormat::Parts
            } else {
                ContentFormat::Text
            },
            merges_system: expected["merges_system"].as_bool(),
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

fn compiled(golden: &Golden) -> Template {
    Template::compile(&source(golden)).unwrap_or_else(|error| panic!("{}: {error}", golden.name))
}

#[test]
fn what_vllm_derives_from_a_template_is_found() {
    for golden in goldens() {
        assert_eq!(ContentFormat::of(&golden.template), golden.content_format, "{}", golden.name);
        if let Some(merges_system) = golden.merges_system {
            assert_eq!(compiled(&golden).merges_system(), merges_system, "{}", golden.name);
        }
    }
}

#[test]
fn a_rendered_chat_is_the_engines_byte_for_byte() {
    let mut differences = Vec::new();
    let mut equal = 0;
    for golden in goldens() {
        let template = compiled(&golden);
        // Of a chat that is continued, only the program knows where it ends.
        let is_rendered =
            |case: &&Case| case.format == Format::Chat && with_chat(&case.body, |chat| !chat.is_continued);
        for case in golden.cases.iter().filter(is_rendered) {
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

/// The lines of a template in `data/coverage.txt`, and where its program writes something else than the engine.
fn coverage(golden: &Golden) -> (String, Vec<String>) {
    let program = reduce(&compiled(golden));
    let (mut lines, mut differences) = (String::new(), Vec::new());
    for format in Format::ALL {
        let (mut texts, mut written) = (0, 0);
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for case in golden.cases.iter().filter(|case| case.format == format) {
            let result = program.as_ref().map_or(Err(Unwritten::Failed), |program| case.written(program));
            // What the engine rejects may have any text.
            let Some(expected) = &case.text else { continue };
            texts += 1;
            match result {
                Ok(text) if text == *expected => written += 1,
                Ok(text) => differences.push(format!(
                    "{} {format:?} {}\n expected {expected:?}\n got      {text:?}",
                    golden.name, case.name
                )),
                Err(reason) => reasons.entry(reason.label()).or_default().push(&case.name),
            }
        }
        let reasons: Vec<String> =
            reasons.iter().map(|(reason, cases)| format!("{reason}: {}", cases.join(" "))).collect();
        let name = format.name();
        writeln!(lines, "{}, {name}, {texts}, {written}, {}", golden.name, reasons.join("; ")).unwrap();
    }
    (lines, differences)
}

/// What the program of a template writes is what the template does, or nothing. `data/coverage.txt` says how much that is.
#[test]
fn a_reduced_template_writes_the_same_or_nothing() {
    let mut page = String::from(
        "template, format, cases with a text, of them written by the program, the others by reason\n",
    );
    let goldens = goldens();
    let found: Vec<(String, Vec<String>)> = thread::scope(|scope| {
        let running: Vec<_> = goldens.iter().map(|golden| scope.spawn(|| coverage(golden))).collect();
        running.into_iter().map(|running| running.join().unwrap()).collect()
    });
    let mut differences = Vec::new();
    for (lines, of_one) in found {
        page.push_str(&lines);
        differences.extend(of_one);
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
