//! Reads typed fields out of the tree and notes every fault on the way instead of stopping at the first.

use super::problem::{Fault, Problem};
use super::tree::{Node, Value};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use warmpath_core::limits::NAME_BYTES_MAX;

/// Collects the faults of one file.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// What was found so far.
    pub(super) problems: Vec<Problem>,
}

/// A mapping whose fields are taken one by one; [`Fields::finish`] reports those that nobody took.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    line: u64,
    path: String,
    entries: Vec<Entry<'a>>,
    known: Vec<&'static str>,
}

/// One value with its place.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    name: &'a str,
    /// Line of the value's name, or of the value itself in a list.
    pub(super) line: u64,
    /// Path of the field.
    pub(super) path: String,
    value: &'a Value,
}

// === impl Entry ===

impl<'a> Entry<'a> {
    /// The whole file.
    pub(super) fn root(node: &'a Node) -> Self {
        Self { name: "", line: node.referenced.line(), path: String::new(), value: &node.value }
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// The field's value, if it is there.
    pub(super) fn optional(&mut self, name: &'static str) -> Option<Entry<'a>> {
        self.known.push(name);
        let at = self.entries.iter().position(|entry| entry.name == name)?;
        Some(self.entries.swap_remove(at))
    }

    /// The field's value, or a fault if it is not there.
    pub(super) fn required(&mut self, name: &'static str, reader: &mut Reader) -> Option<Entry<'a>> {
        let found = self.optional(name);
        if found.is_none() {
            reader.report(self.line, join(&self.path, name), Fault::Missing);
        }
        found
    }

    /// Reports every field that nobody asked for.
    pub(super) fn finish(self, reader: &mut Reader) {
        for entry in self.entries {
            reader.report(entry.line, entry.path, Fault::Unknown { known: self.known.clone() });
        }
    }
}

// === impl Reader ===

impl Reader {
    /// Notes a fault.
    pub(super) fn report(&mut self, line: u64, field: String, fault: Fault) {
        self.problems.push(Problem { line, field, fault });
    }

    /// A mapping's fields.
    pub(super) fn fields<'a>(&mut self, entry: &Entry<'a>) -> Option<Fields<'a>> {
        let Value::Map(map) = entry.value else { return self.mistyped(entry, "a mapping") };
        let entries = map.iter().map(|(name, node)| Entry {
            name: &name.value,
            line: name.referenced.line(),
            path: join(&entry.path, &name.value),
            value: &node.value,
        });
        let entries = entries.collect();
        Some(Fields { line: entry.line, path: entry.path.clone(), entries, known: Vec::new() })
    }

    /// A list's entries.
    pub(super) fn list<'a>(&mut self, entry: &Entry<'a>) -> Option<Vec<Entry<'a>>> {
        let Value::List(list) = entry.value else { return self.mistyped(entry, "a list") };
        let entries = list.iter().enumerate().map(|(at, node)| Entry {
            name: "",
            line: node.referenced.line(),
            path: format!("{}[{at}]", entry.path),
            value: &node.value,
        });
        Some(entries.collect())
    }

    /// A number within `bounds`.
    pub(super) fn number(&mut self, entry: &Entry<'_>, bounds: RangeInclusive<u64>) -> Option<u64> {
        let (min, max) = (*bounds.start(), *bounds.end());
        let fault = match entry.value {
            Value::Count(value) if bounds.contains(value) => return Some(*value),
            Value::Count(value) => Fault::Range { value: *value, min, max },
            other => Fault::NoCount { found: other.describe(), min, max },
        };
        self.report(entry.line, entry.path.clone(), fault);
        None
    }

    /// A name: text, neither empty nor longer than [`NAME_BYTES_MAX`].
    pub(super) fn name(&mut self, entry: &Entry<'_>) -> Option<String> {
        let Value::Text(text) = entry.value else { return self.mistyped(entry, "text") };
        let fault = match text.len() {
            0 => Fault::Empty,
            1..=NAME_BYTES_MAX => return Some(text.clone()),
            count => Fault::TooMany { count, of: "bytes", max: NAME_BYTES_MAX },
        };
        self.report(entry.line, entry.path.clone(), fault);
        None
    }

    /// An `ip:port`.
    pub(super) fn address(&mut self, entry: &Entry<'_>) -> Option<SocketAddr> {
        let Value::Text(text) = entry.value else { return self.mistyped(entry, "an ip:port") };
        let address = text.parse().ok();
        if address.is_none() {
            self.report(entry.line, entry.path.clone(), Fault::Address(text.clone()));
        }
        address
    }

    fn mistyped<T>(&mut self, entry: &Entry<'_>, wanted: &'static str) -> Option<T> {
        let fault = Fault::Type { wanted, found: entry.value.describe() };
        self.report(entry.line, entry.path.clone(), fault);
        None
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
