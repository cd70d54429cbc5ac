//! JSON as Python's `json.dumps` writes it, from JSON as a client wrote it: without a value in between, because the order of
//! fields stays and only space, escapes and the notation of floats change.

use std::fmt::Write;
use warmpath_json::{Scanner, unescape};

/// Objects and lists around a value, at most: the stack of a wasm module is a megabyte.
const DEPTH_MAX: usize = 64;

/// Where space stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// After commas and colons.
    Spaced,
    /// Nowhere.
    Compact,
    /// In lines, indented by so many spaces a level.
    Indented(usize),
}

/// Writes a JSON value again. `None`: not JSON, nested too deep, with text that is not UTF-8, or with a repeated key.
pub(crate) fn dump(json: &[u8], layout: Layout) -> Option<String> {
    let mut out = String::with_capacity(json.len() + json.len() / 8);
    let mut scanner = Scanner::new(json);
    Dump { out: &mut out, layout }.value(&mut scanner, 0)?;
    scanner.end().ok()?;
    Some(out)
}

/// Writes text as a JSON string, all beyond ASCII as it is.
pub(crate) fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|character: char| matches!(character, '"' | '\\' | '\0'..='\x1f')) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut characters = special.chars();
        match characters.next() {
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some('\x08') => out.push_str("\\b"),
            Some('\x0c') => out.push_str("\\f"),
            Some(other @ ('"' | '\\')) => out.extend(['\\', other]),
            // Into a string, nothing fails.
            Some(other) => _ = write!(out, "\\u{:04x}", u32::from(other)),
            None => {}
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// The shortest digits that read as the same number, in Python's notation: with an exponent below 1e-4 and from 1e16.
fn float(number: f64, out: &mut String) {
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let plain = number.to_string();
        out.push_str(&plain);
        if !plain.contains('.') {
            out.push_str(".0");
        }
        return;
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    // Into a string, nothing fails.
    _ = write!(out, "{digits}e{sign}{:02}", exponent.unsigned_abs());
}

struct Dump<'a> {
    out: &'a mut String,
    layout: Layout,
}

impl Dump<'_> {
    fn value(&mut self, scanner: &mut Scanner<'_>, depth: usize) -> Option<()> {
        match scanner.peek().ok()? {
            b'{' if depth < DEPTH_MAX => {
                scanner.open_object().ok()?;
                self.out.push('{');
                let mut is_first = true;
                let mut keys = Vec::new();
                while let Some(key) = scanner.next_key().ok()? {
                    self.next(&mut is_first, depth + 1);
                    quote(&key, self.out);
                    keys.push(key);
                    self.out.push_str(if self.layout == Layout::Compact { ":" } else { ": " });
                    self.value(scanner, depth + 1)?;
                }
                self.close(is_first, depth, '}');
                // Of a repeated key, Python writes the last value in the place of the first.
                keys.sort_unstable();
                if keys.windows(2).any(|pair| pair.first() == pair.last()) {
                    return None;
                }
            }
            b'[' if depth < DEPTH_MAX => {
                scanner.open_list().ok()?;
                self.out.push('[');
                let mut is_first = true;
                while scanner.has_item().ok()? {
                    self.next(&mut is_first, depth + 1);
                    self.value(scanner, depth + 1)?;
                }
                self.close(is_first, depth, ']');
            }
            b'{' | b'[' => return None,
            b'"' => {
                let raw = scanner.raw().ok()?;
                let body = raw.string_body()?;
                if raw.has_escape() {
                    quote(&decoded(body)?, self.out);
                } else {
                    quote(str::from_utf8(body).ok()?, self.out);
                }
            }
            _ => number_or_word(str::from_utf8(scanner.raw().ok()?.bytes()).ok()?, self.out)?,
        }
        Some(())
    }

    fn next(&mut self, is_first: &mut bool, depth: usize) {
        if !std::mem::replace(is_first, false) {
            self.out.push_str(if self.layout == Layout::Spaced { ", " } else { "," });
        }
        self.line(depth);
    }

    fn close(&mut self, is_empty: bool, depth: usize, bracket: char) {
        if !is_empty {
            self.line(depth);
        }
        self.out.push(bracket);
    }

    fn line(&mut self, depth: usize) {
        if let Layout::Indented(spaces) = self.layout {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', spaces * depth));
        }
    }
}

fn number_or_word(word: &str, out: &mut String) -> Option<()> {
    if matches!(word, "NaN" | "Infinity" | "-Infinity") || !word.contains(['.', 'e', 'E']) {
        // Python has no negative zero among its integers.
        out.push_str(if word == "-0" { "0" } else { word });
        return Some(());
    }
    if word == "true" || word == "false" {
        out.push_str(word);
        return Some(());
    }
    let number: f64 = word.parse().ok()?;
    if number.is_infinite() {
        out.push_str(if number > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        float(number, out);
    }
    Some(())
}

/// A JSON string's text. `None`: half of a surrogate pair.
pub(crate) fn decoded(body: &[u8]) -> Option<String> {
    let mut text = Vec::with_capacity(body.len());
    unescape(body, &mut |piece| {
        text.extend_from_slice(piece);
        true
    });
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::{Layout, dump};

    #[test]
    fn values_are_written_as_python_writes_them() {
        let json = r#" {"b" : 1.0,"a":[ ] , "c":{}, "d":[1e16,1.5e-7,-0,-0.0,123456789012345678901234567890,1E2,0.1],"e":"\u00e9\/\n\u0001\"<", "f":[true,false,null,NaN]} "#;
        assert_eq!(
            dump(json.as_bytes(), Layout::Spaced).unwrap(),
            "{\"b\": 1.0, \"a\": [], \"c\": {}, \"d\": [1e+16, 1.5e-07, 0, -0.0, 123456789012345678901234567890, 100.0, 0.1], \"e\": \"é/\\n\\u0001\\\"<\", \"f\": [true, false, null, NaN]}"
        );
        assert_eq!(dump(br#"{"a": [1, {}], "b": 2}"#, Layout::Compact).unwrap(), r#"{"a":[1,{}],"b":2}"#);
        assert_eq!(
            dump(br#"{"a": [1, {}], "b": 2}"#, Layout::Indented(2)).unwrap(),
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": 2\n}"
        );
        for wrong in ["", "{", "[1", "{\"a\":1}}", "\"\\ud800\"", &"[".repeat(100), r#"{"a":1,"b":2,"a":3}"#]
        {
            assert_eq!(dump(wrong.as_bytes(), Layout::Spaced), None, "{wrong}");
        }
    }
}
