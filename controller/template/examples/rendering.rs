//! What the text of a chat costs: rendered by the template, written by its program, and merely copied. Prints a table.
//!
//!     cargo run --release -p warmpath-jinja --example rendering -- controller/template/tests/data/templates/*.jinja

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a table of times for people"
)]

use serde_json::{Value, json};
use std::hint::black_box;
use std::time::Instant;
use std::{env, fs};
use warmpath_jinja::{Source, Template, reduce};
use warmpath_template::Chat;

const TOKENS: [(&str, &str); 2] = [("bos_token", "<|bos|>"), ("eos_token", "<|eos|>")];
const ROUNDS: usize = 200;

/// An agent's chat: a long system prompt, tools, and turns with calls.
fn chat(turns: usize, tools: usize) -> (Value, Value) {
    let text = "Some words of a file that an agent reads, with \"quotes\" and\n\tlines.\n";
    let mut messages = vec![json!({"role": "system", "content": text.repeat(60)})];
    for turn in 0..turns {
        let id = format!("call{turn:05}");
        messages.extend([
            json!({"role": "user", "content": text}),
            json!({"role": "assistant", "content": "I look.", "tool_calls": [
                {"id": id, "type": "function", "function": {"name": "read", "arguments": "{\"path\": \"a/b\"}"}}]}),
            json!({"role": "tool", "tool_call_id": id, "content": text.repeat(10)}),
            json!({"role": "assistant", "content": text}),
        ]);
    }
    messages.push(json!({"role": "user", "content": text}));
    let tool = |at: usize| {
        json!({"type": "function", "function": {"name": format!("tool_{at}"), "description": text.repeat(5),
            "parameters": {"type": "object", "properties": {"path": {"type": "string", "description": text}}}}})
    };
    (messages.into(), (0..tools).map(tool).collect())
}

/// Nanoseconds for each KiB of text: the fastest of many rounds, because other work only makes them slower.
fn ns_per_kib(mut run: impl FnMut() -> usize) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let bytes = black_box(run());
        best = best.min(begun.elapsed().as_nanos() as f64 / bytes as f64 * 1024.0);
    }
    best
}

fn main() {
    println!("template, KiB, ns per KiB: rendered, by the program, copied");
    for path in env::args().skip(1) {
        let source = fs::read_to_string(&path).expect("a template");
        let template =
            Template::compile(&Source { template: &source, special_tokens: &TOKENS, ..Source::default() });
        let template = template.expect("a template that compiles");
        let Some(program) = reduce(&template) else { continue };
        for (turns, tools) in [(20, 0), (20, 30)] {
            let (messages, list) = chat(turns, tools);
            let (messages, list) = (messages.to_string(), list.to_string());
            let tools = (tools > 0).then_some(list.as_bytes());
            let chat = Chat { messages: messages.as_bytes(), tools, ..Chat::default() };
            let Ok(text) = template.render(&chat, Some(1)) else { continue };
            let rendered = ns_per_kib(|| template.render(&chat, Some(1)).map_or(1, |text| text.len()));
            let written = ns_per_kib(|| {
                let mut bytes = Vec::with_capacity(text.len());
                let result = program.write(&chat, Some(1), &mut |piece| {
                    bytes.extend_from_slice(piece);
                    true
                });
                if result.is_ok() { bytes.len() } else { 0 }
            });
            let copied = ns_per_kib(|| black_box(text.clone()).len());
            let kib = text.len() as f64 / 1024.0;
            println!("{path}, {kib:.0}, {rendered:.0}, {written:.0}, {copied:.0}");
        }
    }
}
