//! What templates may call, as Hugging Face's rendering has it: filters, functions and the methods of Python's types.
//!
//! The template engine has its own `tojson`, `trim` and `string`, but for HTML and with Rust's notion of space.

use crate::python::{self, Dumps};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};
use minijinja_contrib::pycompat;
use std::fmt;
use warmpath_template::{is_space, strftime};

/// Units of work of one rendering, at most: an instruction, or 64 bytes of text that are made. A conversation of a thousand
/// turns with a hundred tools takes a tenth; all of it takes some tens of milliseconds.
const FUEL_MAX: u64 = 1_000_000;

/// Nested blocks and macros of a template, at most: the stack of a wasm module is a megabyte.
const RECURSION_MAX: usize = 100;

/// The name of the variable that holds the time. No template can name it.
pub(crate) const NOW: &str = " now";

/// The time of a probe: the format is written in its place, between characters for private use.
pub(crate) const PROBED: &str = "probed";

/// The only template's name.
pub(crate) const TEMPLATE: &str = "chat";

/// The template itself rejects the request: `raise_exception`. Engines then respond with an error.
#[derive(Debug)]
pub(crate) struct Refusal;

/// `strftime_now` was called while the time is not known.
#[derive(Debug)]
pub(crate) struct NoClock;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the template rejects the request")
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for NoClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time is not known")
    }
}

impl std::error::Error for NoClock {}

/// The environment of chat templates.
pub(crate) fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = bare_environment()?;
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    Ok(environment)
}

/// What vLLM tries a template in: without the functions that only chat templates have.
pub(crate) fn bare_environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_fuel(Some(FUEL_MAX));
    environment.set_recursion_limit(RECURSION_MAX);
    environment.set_formatter(write_value);
    environment.set_unknown_method_callback(method);
    environment.add_filter("tojson", to_json);
    environment.add_filter("trim", trim);
    environment.add_filter("string", string);
    Ok(environment)
}

fn write_value(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    python::write_str(out, value).map_err(|_| invalid("a value is nested too deep"))
}

fn raise_exception(message: Option<&str>) -> Result<Value, Error> {
    Err(invalid(message.unwrap_or_default().to_owned()).with_source(Refusal))
}

fn strftime_now(state: &State<'_, '_>, format: &str) -> Result<String, Error> {
    let now = state.lookup(NOW);
    if now.as_ref().and_then(Value::as_str) == Some(PROBED) {
        return Ok(format!("\u{e000}{format}\u{e001}"));
    }
    let now = now.and_then(|now| u64::try_from(now).ok());
    let now = now.ok_or_else(|| invalid("the time is not known").with_source(NoClock))?;
    strftime(now, format).ok_or_else(|| invalid("unknown directive of strftime"))
}

#[expect(clippy::needless_pass_by_value, reason = "a filter's arguments are passed by value")]
fn to_json(value: &Value, positional: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let mut how = Dumps::default();
    for (at, name) in ["ensure_ascii", "indent", "separators", "sort_keys"].into_iter().enumerate() {
        let given = named.get::<Option<Value>>(name)?.or_else(|| positional.get(at).cloned());
        let Some(given) = given.filter(|value| !value.is_none()) else { continue };
        match name {
            "ensure_ascii" => how.is_ascii = given.is_true(),
            "sort_keys" => how.is_sorted = given.is_true(),
            "separators" => {
                let texts: Vec<Value> = given.try_iter()?.collect();
                let [item, key] = texts.as_slice() else { return Err(invalid("separators are two")) };
                (how.item, how.key) = (item.to_string(), key.to_string());
            }
            _ => {
                let spaces = given.as_usize().map(|spaces| " ".repeat(spaces.min(80)));
                how.indent = Some(spaces.unwrap_or_else(|| given.to_string()));
            }
        }
    }
    named.assert_all_used()?;
    let has_separators = named.has("separators") || positional.len() > 2;
    if how.indent.is_some() && !has_separators {
        how.item = ",".into();
    }
    let mut out = String::new();
    python::dump(&mut out, value, &how).map_err(|_| invalid("not serializable as JSON"))?;
    Ok(out)
}

fn trim(value: &Value, characters: Option<&str>) -> String {
    strip(&string(value), characters, true, true).to_owned()
}

fn string(value: &Value) -> String {
    let mut out = String::new();
    // Too deep a value is cut.
    let _ = python::write_str(&mut out, value);
    out
}

/// Removes characters from the ends as Python's `strip` does.
fn strip<'a>(text: &'a str, of: Option<&str>, start: bool, end: bool) -> &'a str {
    let is_removed = |character: char| of.map_or_else(|| is_space(character), |of| of.contains(character));
    let text = if start { text.trim_start_matches(is_removed) } else { text };
    if end { text.trim_end_matches(is_removed) } else { text }
}

/// The methods of Python's types that differ from, or are missing in, those that come with the template engine.
fn method(state: &mut State<'_, '_>, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    if value.kind() == ValueKind::Map {
        return match name {
            "copy" => Ok(value.clone()),
            _ => pycompat::unknown_method_callback(state, value, name, args),
        };
    }
    let Some(text) = value.as_str() else {
        return pycompat::unknown_method_callback(state, value, name, args);
    };
    match name {
        "strip" | "lstrip" | "rstrip" => {
            let (of,): (Option<&str>,) = from_args(args)?;
            Ok(Value::from(strip(text, of, name != "rstrip", name != "lstrip")))
        }
        "split" | "rsplit" => split(text, name == "rsplit", args),
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            let found =
                if name == "partition" { text.split_once(separator) } else { text.rsplit_once(separator) };
            let parts = match found {
                Some((before, after)) => [before, separator, after],
                None if name == "partition" => [text, "", ""],
                None => ["", "", text],
            };
            Ok(parts.into_iter().map(Value::from).collect())
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)))
        }
        "index" => {
            let at = pycompat::unknown_method_callback(state, value, "find", args)?;
            if at.as_i64() == Some(-1) { Err(invalid("substring not found")) } else { Ok(at) }
        }
        _ => pycompat::unknown_method_callback(state, value, name, args),
    }
}

/// `str.split` and `str.rsplit`: at a separator, or at runs of space.
fn split(text: &str, is_reversed: bool, args: &[Value]) -> Result<Value, Error> {
    let (separator, count, named): (Option<Value>, Option<i64>, Kwargs) = from_args(args)?;
    let separator = separator.or(named.get("sep")?).filter(|separator| !separator.is_none());
    let count = count.or(named.get("maxsplit")?).and_then(|count| usize::try_from(count).ok());
    named.assert_all_used()?;
    let limit = count.map_or(usize::MAX, |count| count.saturating_add(1));
    let mut parts: Vec<&str> =
        match separator.as_ref().map(|separator| separator.as_str().unwrap_or_default()) {
            Some("") => return Err(invalid("empty separator")),
            Some(separator) if is_reversed => text.rsplitn(limit, separator).collect(),
            Some(separator) => text.splitn(limit, separator).collect(),
            None => split_at_space(text, is_reversed, limit),
        };
    if is_reversed {
        parts.reverse();
    }
    Ok(parts.into_iter().map(Value::from).collect())
}

/// In the order in which they are found.
fn split_at_space(text: &str, is_reversed: bool, limit: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = strip(text, None, !is_reversed, is_reversed);
    while !rest.is_empty() {
        if parts.len() + 1 >= limit {
            parts.push(rest);
            break;
        }
        let found = if is_reversed { rest.rfind(is_space) } else { rest.find(is_space) };
        let Some(at) = found else {
            parts.push(rest);
            break;
        };
        let (head, tail) = rest.split_at(at);
        if is_reversed {
            parts.push(strip(tail, None, true, false));
            rest = strip(head, None, false, true);
        } else {
            parts.push(head);
            rest = strip(tail, None, true, false);
        }
    }
    parts
}

pub(crate) fn invalid(what: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}
