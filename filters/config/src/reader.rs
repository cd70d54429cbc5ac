//! Takes typed fields out of a tree and collects every fault on the way instead of stopping at the first.
//!
//! What is wrong is reported and reads as `None` or as empty, and the reading goes on. [`Reader::finish`] hands out the
//! result only if nothing was reported, so no substitute ever gets to work.

use crate::fault::{Fault, Faults, Place, Problem, Wanted, shown};
use crate::tree::{Node, Value};
use fnv::FnvHashMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use warmpath_core::config::Secret;
use warmpath_core::limits::NAME_BYTES_MAX;

/// Longest token, in bytes: a signed one has some hundreds to a few thousand.
const TOKEN_BYTES_MAX: usize = 4096;

/// Collects the faults of one configuration.
#[derive(Debug, Default)]
pub struct Reader {
    faults: Vec<Fault>,
}

/// One value and its place.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Where it is; the line is that of the field's name, or of the value itself in a list.
    pub place: Place,
    value: &'a Value,
}

/// A map whose fields are taken one by one; [`Fields::finish`] reports those that nobody took.
#[derive(Debug)]
pub struct Fields<'a> {
    place: Place,
    entries: Vec<(&'a str, Entry<'a>)>,
    known: Vec<&'static str>,
    is_map: bool,
}

/// Values of which each may occur once, with the place of the first.
#[derive(Debug)]
pub struct Unique {
    seen: FnvHashMap<String, Place>,
    remedy: &'static str,
}

// === impl Reader ===

impl Reader {
    /// The result of the reading, if there was no fault.
    pub fn finish<T>(self, result: T) -> Result<T, Faults> {
        Faults::of(self.faults).map_or(Ok(result), Err)
    }

    /// Adds a fault.
    pub fn report(&mut self, place: &Place, problem: Problem) {
        self.faults.push(Fault { place: place.clone(), problem });
    }

    /// A map's fields; repeated names are reported.
    pub fn fields<'a>(&mut self, entry: &Entry<'a>) -> Fields<'a> {
        let mut fields =
            Fields { place: entry.place.clone(), entries: Vec::new(), known: Vec::new(), is_map: true };
        let Value::Map(map) = entry.value else {
            self.mistyped(entry, Wanted::Map);
            fields.is_map = false;
            return fields;
        };
        let mut names: FnvHashMap<String, Place> = FnvHashMap::default();
        for field in map {
            let name = if field.name.is_empty() { "\"\"".to_owned() } else { shown(&field.name) };
            let place = Place { path: entry.place.path_of(&name), line: field.line };
            if names.insert(field.name.clone(), place.clone()).is_none() {
                fields.entries.push((&field.name, Entry { place, value: &field.value }));
            } else {
                self.report(&place, Problem::Duplicate);
            }
        }
        fields
    }

    /// A list's entries; more than `max` are reported, and read all the same.
    pub fn list<'a>(&mut self, entry: &Entry<'a>, of: &'static str, max: usize) -> Vec<Entry<'a>> {
        let Value::List(list) = entry.value else {
            self.mistyped(entry, Wanted::List);
            return Vec::new();
        };
        self.bound(&entry.place, list.len(), of, max);
        let entries = list.iter().enumerate().map(|(at, node)| {
            let place = Place { path: format!("{}[{at}]", entry.place.path), line: node.line };
            Entry { place, value: &node.value }
        });
        entries.collect()
    }

    /// Reports a count that is over its limit.
    pub fn bound(&mut self, place: &Place, count: usize, of: &'static str, max: usize) {
        if count > max {
            self.report(place, Problem::TooMany { count, of, max });
        }
    }

    /// A whole number within `bounds`, all of which `N` must be able to hold.
    pub fn number<N: TryFrom<u64>>(&mut self, entry: &Entry<'_>, bounds: RangeInclusive<u64>) -> Option<N> {
        let (min, max) = (*bounds.start(), *bounds.end());
        let Value::Count(value) = *entry.value else {
            self.mistyped(entry, Wanted::Number { min, max });
            return None;
        };
        let number = N::try_from(value).ok().filter(|_| bounds.contains(&value));
        if number.is_none() {
            self.report(&entry.place, Problem::Range { value, min, max });
        }
        number
    }

    /// `true` or `false`.
    pub fn flag(&mut self, entry: &Entry<'_>) -> Option<bool> {
        let Value::Flag(flag) = entry.value else {
            self.mistyped(entry, Wanted::Flag);
            return None;
        };
        Some(*flag)
    }

    /// A name: text of 1 to [`NAME_BYTES_MAX`] bytes without control characters, which would break logs, headers and
    /// metrics.
    pub fn name(&mut self, entry: &Entry<'_>) -> Option<String> {
        let Value::Text(text) = entry.value else {
            self.mistyped(entry, Wanted::Text);
            return None;
        };
        let problem = if text.is_empty() {
            Problem::Empty { remedy: "write a name" }
        } else if text.len() > NAME_BYTES_MAX {
            Problem::TooMany { count: text.len(), of: "bytes", max: NAME_BYTES_MAX }
        } else if let Some(character) = text.chars().find(|character| character.is_control()) {
            Problem::Control(character)
        } else {
            return Some(text.clone());
        };
        self.report(&entry.place, problem);
        None
    }

    /// A token. No message repeats it.
    pub fn secret(&mut self, entry: &Entry<'_>) -> Option<Secret> {
        let Value::Text(text) = entry.value else {
            self.mistyped(entry, Wanted::Text);
            return None;
        };
        self.token(&entry.place, text)
    }

    /// The token in the named environment variable; none if that is not set. That is no fault, because a proxy without a valid
    /// configuration fails all requests, and one whose pods do not have the Secret yet must serve. The controller refuses it.
    pub fn secret_of(
        &mut self,
        entry: &Entry<'_>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Option<Secret> {
        let value = environment(&self.name(entry)?)?;
        // A Secret that was made from a file often ends with a newline.
        self.token(&entry.place, value.trim())
    }

    fn token(&mut self, place: &Place, text: &str) -> Option<Secret> {
        let is_token =
            (1..=TOKEN_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_token {
            self.report(place, Problem::Token { bytes_max: TOKEN_BYTES_MAX });
        }
        is_token.then(|| Secret(text.to_owned()))
    }

    /// The name of a header, in lower case.
    pub fn header(&mut self, entry: &Entry<'_>) -> Option<String> {
        let name = self.name(entry)?;
        // RFC 9110, 5.6.2: a token.
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.bytes().all(is_token) {
            return Some(name.to_ascii_lowercase());
        }
        self.report(&entry.place, Problem::Header(name));
        None
    }

    /// An `ip:port`.
    pub fn address(&mut self, entry: &Entry<'_>) -> Option<SocketAddr> {
        self.parsed(entry, Wanted::Address)
    }

    /// A value that is written as text and has a parser.
    pub(crate) fn parsed<T: FromStr>(&mut self, entry: &Entry<'_>, wanted: Wanted) -> Option<T> {
        let Value::Text(text) = entry.value else {
            self.mistyped(entry, wanted);
            return None;
        };
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.report(&entry.place, Problem::Address { text: text.clone(), wanted });
        }
        parsed
    }

    fn mistyped(&mut self, entry: &Entry<'_>, wanted: Wanted) {
        self.report(&entry.place, Problem::Type { wanted, found: entry.value.describe() });
    }
}

// === impl Entry ===

impl<'a> Entry<'a> {
    /// The whole configuration.
    pub fn root(node: &'a Node) -> Self {
        Self { place: Place { path: String::new(), line: node.line }, value: &node.value }
    }

    /// Whether it is a list with nothing in it.
    pub fn is_empty_list(&self) -> bool {
        matches!(self.value, Value::List(list) if list.is_empty())
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// The field's value, if it is there.
    pub fn optional(&mut self, name: &'static str) -> Option<Entry<'a>> {
        self.known.push(name);
        let at = self.entries.iter().position(|(field, _)| *field == name)?;
        Some(self.entries.remove(at).1)
    }

    /// The field's value, or a fault if it is not there.
    pub fn required(&mut self, name: &'static str, reader: &mut Reader) -> Option<Entry<'a>> {
        let found = self.optional(name);
        if found.is_none() {
            self.lacks(name, Problem::Missing, reader);
        }
        found
    }

    /// Whether a field is there that nobody has taken yet.
    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(field, _)| *field == name)
    }

    /// Whether it is a map at all; if not, that is reported already, and so is nothing else.
    pub fn is_map(&self) -> bool {
        self.is_map
    }

    /// Reports what is wrong because a field is not there.
    pub fn lacks(&self, name: &str, problem: Problem, reader: &mut Reader) {
        if self.is_map {
            reader.report(&Place { path: self.place.path_of(name), line: self.place.line }, problem);
        }
    }

    /// All fields that are left, for a map with arbitrary names.
    pub fn rest(&mut self) -> Vec<(&'a str, Entry<'a>)> {
        std::mem::take(&mut self.entries)
    }

    /// Reports every field that nobody took.
    pub fn finish(self, reader: &mut Reader) {
        for (_, entry) in self.entries {
            reader.report(&entry.place, Problem::Unknown { known: self.known.clone() });
        }
    }
}

// === impl Unique ===

impl Unique {
    /// No values yet; `remedy` says how to make two differ.
    pub fn new(remedy: &'static str) -> Self {
        Self { seen: FnvHashMap::default(), remedy }
    }

    /// Adds a value, or reports that it is there already.
    pub fn add(&mut self, place: &Place, value: String, reader: &mut Reader) {
        if let Some(first) = self.seen.get(&value) {
            let problem = Problem::Repeated { value, first: first.clone(), remedy: self.remedy };
            reader.report(place, problem);
        } else {
            self.seen.insert(value, place.clone());
        }
    }
}
