//! Some fields of a body's outermost object, read piece by piece: of bodies that are too large to be parsed in one, and
//! of those whose other fields have a shape that the parser does not expect.
//!
//! It checks no more of the syntax than it needs to find the fields. A body that it accepts and the engine does not is the
//! engine's to refuse.

use super::encoding::BOM_UTF8;
use super::plain::plain;
use super::unescape::name;
use super::{JsonError, NESTING_MAX};

/// Bytes that a name may have, such as a model's. Longer ones are not kept.
pub const NAME_BYTES_MAX: usize = 256;

/// Bytes kept of a key: a known one has at most 25 characters, each of six bytes if it is escaped.
const KEY_BYTES_MAX: usize = 192;
/// Bytes kept of a value: a name, all of it escaped.
const VALUE_BYTES_MAX: usize = 6 * NAME_BYTES_MAX + 8;

/// A scalar that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A string, decoded.
    Text(String),
    /// `null`, as if the field were absent.
    Null,
    /// `true`.
    True,
    /// Anything else, or too long to be kept.
    Other,
}

/// Reads the fields `names`; of equal ones the last.
#[derive(Debug)]
pub struct Outline<const N: usize> {
    names: [&'static str; N],
    watched: &'static [&'static str],
    holder: &'static str,
    /// Whether the value of `holder` is being read.
    is_in_holder: bool,
    has_watched: bool,
    found: [Scalar; N],
    place: Place,
    /// Objects and lists that are open.
    depth: usize,
    /// The bytes of the key or value that is being read, as far as they are kept.
    kept: Vec<u8>,
    is_kept: bool,
    /// The known field whose value is being read.
    field: Option<usize>,
    error: Option<JsonError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the object, with so many bytes of a mark of UTF-8 read.
    Start(usize),
    /// Where a key of the outermost object may stand.
    Key,
    /// In such a key.
    InKey(Escape),
    /// Where a value stands, or what is inside of it.
    Value,
    /// In a string there.
    InString(Escape),
    /// Behind the object.
    End,
}

/// Whether the byte before was a backslash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    No,
    Yes,
}

// === impl Outline ===

impl<const N: usize> Outline<N> {
    /// Of the fields of these names.
    pub fn new(names: [&'static str; N]) -> Self {
        Self {
            names,
            watched: &[],
            holder: "",
            is_in_holder: false,
            has_watched: false,
            found: std::array::from_fn(|_| Scalar::Null),
            place: Place::Start(0),
            depth: 0,
            kept: Vec::new(),
            is_kept: false,
            field: None,
            error: None,
        }
    }

    /// Looks out for fields of these names, and within the value of the field `holder`, which is not one of them by itself.
    #[must_use]
    pub fn watching(self, names: &'static [&'static str], holder: &'static str) -> Self {
        Self { watched: names, holder, ..self }
    }

    /// Whether there was one of the fields to look out for.
    pub fn has_watched(&self) -> bool {
        self.has_watched
    }

    /// Reads the next piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while self.error.is_none() && !rest.is_empty() {
            let used = match self.place {
                Place::InKey(escape) | Place::InString(escape) => self.in_string(rest, escape),
                Place::Start(_) | Place::Key | Place::Value | Place::End => self.between(rest),
            };
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// What was found, in the order of the names.
    pub fn finish(self) -> Result<[Scalar; N], JsonError> {
        match (self.error, self.place) {
            (Some(error), _) => Err(error),
            (None, Place::End) => Ok(self.found),
            (None, _) => Err(JsonError::Truncated),
        }
    }

    /// Reads from within a string; returns the number of bytes read.
    fn in_string(&mut self, rest: &[u8], escape: Escape) -> usize {
        let is_key = matches!(self.place, Place::InKey(_));
        let stay = |escape| if is_key { Place::InKey(escape) } else { Place::InString(escape) };
        if escape == Escape::Yes {
            self.keep(rest.get(..1).unwrap_or_default());
            self.place = stay(Escape::No);
            return 1;
        }
        let length = plain(rest).length;
        self.keep(rest.get(..length).unwrap_or_default());
        let Some(stop) = rest.get(length) else { return length };
        match stop {
            b'"' if is_key => self.close_key(),
            b'"' => {
                self.keep(b"\"");
                self.place = Place::Value;
            }
            b'\\' => {
                self.keep(b"\\");
                self.place = stay(Escape::Yes);
            }
            _ => self.error = Some(JsonError::Syntax),
        }
        length + 1
    }

    /// Reads one byte outside of strings.
    fn between(&mut self, rest: &[u8]) -> usize {
        let Some(byte) = rest.first().copied() else { return 0 };
        match (byte, self.place) {
            (b' ' | b'\n' | b'\t' | b'\r', _) | (b',', Place::Key) => {}
            (b'{', Place::Start(_)) => {
                self.depth = 1;
                self.place = Place::Key;
            }
            (byte, Place::Start(at)) if BOM_UTF8.get(at) == Some(&byte) => self.place = Place::Start(at + 1),
            // Any other value is JSON, but not of this shape.
            (b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n', Place::Start(_)) => {
                self.error = Some(JsonError::Shape);
            }
            (_, Place::Start(_) | Place::End) => self.error = Some(JsonError::Syntax),
            (b'"', Place::Key) => {
                self.kept.clear();
                self.is_kept = true;
                self.place = Place::InKey(Escape::No);
            }
            (b'}', _) | (b']', Place::Value) => self.close(),
            (_, Place::Key) => self.error = Some(JsonError::Syntax),
            (b',', Place::Value) if self.depth == 1 => self.close_value(),
            (b'"', _) => {
                if self.is_in_holder {
                    self.kept.clear();
                    self.is_kept = true;
                }
                self.keep(b"\"");
                self.place = Place::InString(Escape::No);
            }
            (b'{' | b'[', _) => {
                self.keep(&[byte]);
                self.depth += 1;
                if self.depth > NESTING_MAX {
                    self.error = Some(JsonError::TooDeep);
                }
            }
            // The colon behind the key, and scalars.
            (b':', _) if self.depth == 1 => {}
            (b':', _) if self.is_in_holder => {
                let Scalar::Text(key) = Scalar::of(&self.kept) else { return 1 };
                self.has_watched |= self.is_kept && self.watched.contains(&key.as_str());
            }
            _ => self.keep(&[byte]),
        }
        1
    }

    fn close(&mut self) {
        if self.depth == 1 {
            self.close_value();
            self.place = Place::End;
        }
        self.depth = self.depth.saturating_sub(1);
    }

    fn close_key(&mut self) {
        let key = name(&self.kept).ok().filter(|_| self.is_kept);
        self.is_in_holder = key.as_deref() == Some(self.holder);
        self.has_watched |=
            !self.is_in_holder && key.as_deref().is_some_and(|key| self.watched.contains(&key));
        self.field = key.and_then(|key| self.names.iter().position(|name| *name == key));
        self.kept.clear();
        self.is_kept = self.field.is_some();
        self.place = Place::Value;
    }

    fn close_value(&mut self) {
        self.place = Place::Key;
        let Some(found) = self.field.take().and_then(|field| self.found.get_mut(field)) else { return };
        *found = if self.is_kept { Scalar::of(&self.kept) } else { Scalar::Other };
        self.is_kept = false;
    }

    fn keep(&mut self, bytes: &[u8]) {
        let max = if matches!(self.place, Place::InKey(_)) { KEY_BYTES_MAX } else { VALUE_BYTES_MAX };
        if !self.is_kept {
            return;
        }
        if self.kept.len() + bytes.len() > max {
            self.is_kept = false;
        } else {
            self.kept.extend_from_slice(bytes);
        }
    }
}

// === impl Scalar ===

impl Scalar {
    fn of(raw: &[u8]) -> Self {
        let body = raw.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        match (raw, body) {
            (b"null", _) => Self::Null,
            (b"true", _) => Self::True,
            (_, Some(body)) => name(body).map_or(Self::Other, Self::Text),
            _ => Self::Other,
        }
    }

    /// The text; `None` for `null`, or where the field is absent.
    pub fn text(self) -> Result<Option<String>, JsonError> {
        match self {
            Self::Text(text) => Ok(Some(text)),
            Self::Null => Ok(None),
            Self::True | Self::Other => Err(JsonError::Shape),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn read(pieces: &[&[u8]]) -> Result<[Scalar; 2], JsonError> {
        let mut outline = Outline::new(["model", "stream"]);
        for piece in pieces {
            outline.push(piece);
        }
        outline.finish()
    }

    fn scalar(value: Option<&Value>) -> Scalar {
        match value {
            None | Some(Value::Null) => Scalar::Null,
            Some(Value::Bool(true)) => Scalar::True,
            Some(Value::String(text)) => Scalar::Text(text.clone()),
            Some(_) => Scalar::Other,
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "(model|stream|[\"\\\\{}\\[\\],: é漢]){0,5}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::hash_map("model|stream|x", inner, 0..3)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        /// Against serde_json's reader, of which the last of equal keys wins too.
        #[test]
        fn the_cuts_between_pieces_do_not_matter(
            fields in prop::collection::vec(("model|stream|x|mo\"del", value()), 0..6),
            is_wide in any::<bool>(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let space = if is_wide { " \n" } else { "" };
            let written = |(key, value): &(String, Value)| format!("{space}{}{space}:{space}{value}{space}", json!(key));
            let body = format!("{space}{{{}}}{space}", fields.iter().map(written).collect::<Vec<_>>().join(","));
            let expected: Map<String, Value> = serde_json::from_str(&body).unwrap();
            let expected = [scalar(expected.get("model")), scalar(expected.get("stream"))];
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).chain([0, body.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &body.as_bytes()[cut[0]..cut[1]]).collect();
            prop_assert_eq!(read(&pieces), Ok(expected));
            let end = body.trim_end().len() - 1;
            prop_assert_eq!(read(&[&body.as_bytes()[..end]]), Err(JsonError::Truncated));
        }

        #[test]
        fn any_bytes_have_a_result(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = read(&[b"{\"model\":", &bytes]);
        }
    }

    #[test]
    fn names_are_kept_and_longer_values_are_not() {
        let model = |text: &str| read(&[format!("{{\"model\":\"{text}\"}}").as_bytes()]).unwrap()[0].clone();
        assert_eq!(model(&"\\u0061".repeat(NAME_BYTES_MAX)), Scalar::Text("a".repeat(NAME_BYTES_MAX)));
        assert_eq!(model(&"a".repeat(VALUE_BYTES_MAX)), Scalar::Other);
        assert_eq!(
            read(&[b"\xEF\xBB", b"\xBF{\"mod\\u0065l\":\"b\"}"]).unwrap()[0],
            Scalar::Text("b".to_owned())
        );
        for (body, error) in [
            (b"[1]".as_slice(), JsonError::Shape),
            (b"model=b", JsonError::Syntax),
            (b"{} x", JsonError::Syntax),
            (b"", JsonError::Truncated),
        ] {
            assert_eq!(read(&[body]), Err(error), "{body:?}");
        }
        assert_eq!(read(&[b"{\"x\":", "[".repeat(NESTING_MAX + 1).as_bytes()]), Err(JsonError::TooDeep));
    }
}
