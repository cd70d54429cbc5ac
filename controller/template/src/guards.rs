//! Texts that a template looks for in what it is given: it may write something else where it finds one.

use crate::content::{Token, tags};

/// Methods and filters whose first argument is looked for.
const SEARCHES: [&str; 12] = [
    "split",
    "rsplit",
    "partition",
    "rpartition",
    "startswith",
    "endswith",
    "find",
    "rfind",
    "index",
    "count",
    "removeprefix",
    "replace",
];

/// Names of fields: templates ask whether an object has one as they ask whether a text contains another.
const FIELDS: [&str; 14] = [
    "role",
    "content",
    "tool_calls",
    "tool_call_id",
    "name",
    "type",
    "text",
    "function",
    "arguments",
    "parameters",
    "description",
    "reasoning",
    "reasoning_content",
    "properties",
];

/// See the module.
pub(crate) fn guards(template: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (_, tag) in tags(template) {
        for at in 0..tag.len() {
            let rest = tag.get(at..).unwrap_or_default();
            let text = match rest {
                [Token::Text(text), Token::Name(name), ..] if name == "in" => text,
                [Token::Text(text), Token::Name(not), Token::Name(name), ..]
                    if not == "not" && name == "in" =>
                {
                    text
                }
                [Token::Sign('.' | '|'), Token::Name(name), Token::Sign('('), Token::Text(text), ..]
                    if SEARCHES.contains(&name.as_str()) =>
                {
                    text
                }
                _ => continue,
            };
            let text = unescaped(text);
            if !text.trim().is_empty() && !FIELDS.contains(&text.as_str()) && !found.contains(&text) {
                found.push(text);
            }
        }
    }
    found
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => {}
            },
            other => out.push(other),
        }
    }
    out
}
