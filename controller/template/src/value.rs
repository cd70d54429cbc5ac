//! JSON as a template's value: what Python's `json.loads` makes of it.
//!
//! The order of an object's fields is kept, because templates write tools as JSON again. Of a repeated field the first place
//! and the last value count, as in a Python dictionary.

use minijinja::Value;
use warmpath_json::{Raw, Scanner, unescape};
use warmpath_template::Unwritten;

/// Objects and lists around a value, at most: engines write prompts with a recursion of their own, and ours has the stack of
/// a wasm module.
const DEPTH_MAX: usize = 64;

/// Reads a whole JSON text.
pub(crate) fn from_json(json: &[u8]) -> Result<Value, Unwritten> {
    let mut scanner = Scanner::new(json);
    let value = read(&mut scanner, DEPTH_MAX)?;
    scanner.end()?;
    Ok(value)
}

/// Text, decoded.
pub(crate) fn text(raw: Raw<'_>) -> Result<String, Unwritten> {
    let body = raw.string_body().ok_or(Unwritten::Malformed)?;
    let mut text = Vec::with_capacity(body.len());
    if raw.has_escape() {
        unescape(body, &mut |piece| {
            text.extend_from_slice(piece);
            true
        });
    } else {
        text.extend_from_slice(body);
    }
    // Half of a surrogate pair: no tokenizer takes it.
    String::from_utf8(text).map_err(|_| Unwritten::Malformed)
}

fn read(scanner: &mut Scanner<'_>, depth: usize) -> Result<Value, Unwritten> {
    match scanner.peek()? {
        b'{' => {
            let depth = depth.checked_sub(1).ok_or(Unwritten::TooLarge)?;
            let mut pairs = Vec::new();
            scanner.open_object()?;
            while let Some(key) = scanner.next_key()? {
                pairs.push((key.into_owned(), read(scanner, depth)?));
            }
            Ok(Value::from_pairs(pairs))
        }
        b'[' => {
            let depth = depth.checked_sub(1).ok_or(Unwritten::TooLarge)?;
            let mut items = Vec::new();
            scanner.open_list()?;
            while scanner.has_item()? {
                items.push(read(scanner, depth)?);
            }
            Ok(Value::from(items))
        }
        b'"' => text(scanner.raw()?).map(Value::from),
        _ => scalar(scanner.raw()?.bytes()),
    }
}

fn scalar(word: &[u8]) -> Result<Value, Unwritten> {
    let word = str::from_utf8(word).map_err(|_| Unwritten::Malformed)?;
    match word {
        "null" => return Ok(Value::from(())),
        "true" => return Ok(Value::from(true)),
        "false" => return Ok(Value::from(false)),
        "NaN" => return Ok(Value::from(f64::NAN)),
        "Infinity" => return Ok(Value::from(f64::INFINITY)),
        "-Infinity" => return Ok(Value::from(f64::NEG_INFINITY)),
        _ => {}
    }
    if word.contains(['.', 'e', 'E']) {
        return word.parse::<f64>().map(Value::from).map_err(|_| Unwritten::Number);
    }
    let small = word.parse::<i64>().map(Value::from);
    small.or_else(|_| word.parse::<i128>().map(Value::from)).map_err(|_| Unwritten::Number)
}
