//! Changes to fields of a JSON object as changes to its text: what is not changed stays byte for byte as the client sent it.
//!
//! Parsing and printing again would be shorter. But it loses what a client may rely on, such as repeated keys, numbers
//! beyond 64 bits and `NaN`, and takes a prompt of megabytes apart for the sake of a few bytes.

use super::{JsonError, Scanner};
use std::ops::Range;

/// What is to become of fields of an object, by their names.
pub type Changes<'a> = &'a [(&'a str, Change<'a>)];

/// What is to become of one field.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// It goes, however often it is there.
    Remove,
    /// It gets this value, which is JSON. Of equal fields the last one counts, as for the engines' parsers.
    Set(&'a str),
    /// Its value is an object, whose fields are changed. One that is absent or `null` is made where fields of it are set.
    Within(Changes<'a>),
}

/// Replacements of parts of a text, in order, which do not overlap.
#[derive(Debug, Default)]
pub struct Edits(Vec<(Range<usize>, String)>);

// === impl Edits ===

impl Edits {
    /// What `changes` are to the object in `body`. [`JsonError::Shape`]: a value that fields are to be set in is no object.
    pub fn of(body: &[u8], changes: Changes<'_>) -> Result<Self, JsonError> {
        let mut edits = Self::default();
        let mut scanner = Scanner::new(body);
        edits.object(&mut scanner, changes)?;
        scanner.end()?;
        Ok(edits)
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a field is removed.
    pub fn has_removal(&self) -> bool {
        self.0.iter().any(|(_, new)| new.is_empty())
    }

    /// `body` with the changes.
    pub fn apply(&self, body: &[u8]) -> Vec<u8> {
        let added: usize = self.0.iter().map(|(_, new)| new.len()).sum();
        let (mut text, mut at) = (Vec::with_capacity(body.len() + added), 0);
        for (range, new) in &self.0 {
            text.extend_from_slice(body.get(at..range.start).unwrap_or_default());
            text.extend_from_slice(new.as_bytes());
            at = range.end;
        }
        text.extend_from_slice(body.get(at..).unwrap_or_default());
        text
    }

    /// Puts one in its place, which nearly always is the end. An insertion comes before what is removed behind it.
    fn add(&mut self, range: Range<usize>, new: String) {
        let at = self.0.partition_point(|(before, _)| (before.start, before.end) <= (range.start, range.end));
        self.0.insert(at, (range, new));
    }

    fn object(&mut self, scanner: &mut Scanner<'_>, changes: Changes<'_>) -> Result<(), JsonError> {
        scanner.open_object()?;
        let opened = scanner.at;
        // Where the last one of each changed field has its value.
        let mut values: Vec<Option<Range<usize>>> = vec![None; changes.len()];
        let mut is_any_kept = false;
        // What is removed while nothing before it is kept goes with the comma behind it.
        let mut leading: Option<Range<usize>> = None;
        while scanner.has_more(b'}')? {
            let start = scanner.at;
            let key = scanner.key()?;
            let found = changes.iter().zip(&mut values).find(|((name, _), _)| *name == key);
            let is_object = scanner.peek()? == b'{';
            let from = scanner.at;
            match found {
                Some(((_, Change::Within(inner)), value)) if is_object => {
                    self.object(scanner, inner)?;
                    // It needs no other value.
                    *value = Some(0..0);
                }
                Some(((_, Change::Remove), _)) => {
                    scanner.skip()?;
                    if is_any_kept {
                        self.add(start - 1..scanner.at, String::new());
                    } else {
                        let from = leading.map_or(start, |before| before.start);
                        leading = Some(from..scanner.at);
                    }
                    continue;
                }
                found => {
                    scanner.skip()?;
                    if let Some((_, value)) = found {
                        *value = Some(from..scanner.at);
                    }
                }
            }
            is_any_kept = true;
            if let Some(removed) = leading.take() {
                self.add(removed.start..start, String::new());
            }
        }
        if let Some(removed) = leading {
            self.add(removed, String::new());
        }
        let mut inserted = String::new();
        for ((name, change), value) in changes.iter().zip(values) {
            let Some(new) = change.value() else { continue };
            match value {
                Some(range) if range.is_empty() => {}
                Some(range) => {
                    let is_null = scanner.bytes.get(range.clone()) == Some(b"null");
                    if matches!(change, Change::Within(_)) && !is_null {
                        return Err(JsonError::Shape);
                    }
                    self.add(range, new);
                }
                None => {
                    let name = serde_json::to_string(name).map_err(|_| JsonError::Syntax)?;
                    inserted = format!("{inserted}{name}:{new},");
                }
            }
        }
        if !is_any_kept {
            inserted.pop();
        }
        if !inserted.is_empty() {
            self.add(opened..opened, inserted);
        }
        Ok(())
    }
}

// === impl Change ===

impl Change<'_> {
    /// The value of a field that is not there yet; `None`: it stays absent.
    fn value(&self) -> Option<String> {
        match self {
            Self::Remove => None,
            Self::Set(value) => Some((*value).to_owned()),
            Self::Within(inner) => {
                let fields: Vec<String> = inner
                    .iter()
                    .filter_map(|(name, change)| {
                        Some(format!("{}:{}", serde_json::to_string(name).ok()?, change.value()?))
                    })
                    .collect();
                (!fields.is_empty()).then(|| format!("{{{}}}", fields.join(",")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Changes, Edits};
    use crate::JsonError;
    use proptest::prelude::*;

    fn edited(body: &str, changes: Changes<'_>) -> Result<String, JsonError> {
        let edits = Edits::of(body.as_bytes(), changes)?;
        Ok(String::from_utf8(edits.apply(body.as_bytes())).unwrap())
    }

    #[test]
    fn nothing_but_the_named_fields_changes() {
        let changes: Changes<'_> = &[("x", Change::Remove), ("n", Change::Set("1"))];
        for (body, expected) in [
            (r#"{"a": 1e400, "a":NaN}"#, r#"{"n":1,"a": 1e400, "a":NaN}"#),
            ("{}", r#"{"n":1}"#),
            (" { } ", r#" {"n":1 } "#),
            (r#"{"x":1}"#, r#"{"n":1}"#),
            (r#"{"x":1,"x":[{}] , "a":2}"#, r#"{"n":1, "a":2}"#),
            (r#"{"a":2 ,"x":1, "b":3,"x":"}"}"#, r#"{"n":1,"a":2 , "b":3}"#),
            (r#"{"x":1,"n":7,"x":2,"n": 8 ,"x":3}"#, r#"{"n":7,"n": 1 }"#),
            (r#"{"\u0078":1,"y":{"x":1}}"#, r#"{"n":1,"y":{"x":1}}"#),
        ] {
            assert_eq!(edited(body, changes).as_deref(), Ok(expected), "{body}");
        }
    }

    #[test]
    fn nested_fields_change_and_are_created() {
        let inner: Changes<'_> = &[("x", Change::Remove), ("n", Change::Set("1"))];
        let changes: Changes<'_> =
            &[("o", Change::Within(inner)), ("r", Change::Within(&[("x", Change::Remove)]))];
        for (body, expected) in [
            (r#"{"o":{"x":1,"y":2},"r":{"x":1}}"#, r#"{"o":{"n":1,"y":2},"r":{}}"#),
            (r#"{"o": null ,"r":null}"#, r#"{"o": {"n":1} ,"r":null}"#),
            (r#"{"r":[{"x":1}]}"#, r#"{"o":{"n":1},"r":[{"x":1}]}"#),
        ] {
            assert_eq!(edited(body, changes).as_deref(), Ok(expected), "{body}");
        }
        assert_eq!(edited(r#"{"o":[1]}"#, changes), Err(JsonError::Shape));
    }

    #[test]
    fn a_body_without_the_fields_has_no_edits() {
        let edits = |body: &str| Edits::of(body.as_bytes(), &[("x", Change::Remove)]).unwrap();
        assert!(edits(r#"{"a":{"x":1}}"#).is_empty());
        assert!(edits(r#"{"x":1}"#).has_removal());
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for (body, error) in [
            ("[]", JsonError::Shape),
            ("{", JsonError::Truncated),
            (r#"{"a":1,}"#, JsonError::Syntax),
            ("{} x", JsonError::Syntax),
        ] {
            assert_eq!(edited(body, &[("x", Change::Remove)]), Err(error), "{body}");
        }
    }

    /// Some fields, with whitespace around them.
    fn fields() -> impl Strategy<Value = Vec<(String, String, String)>> {
        let name = prop::sample::select(vec!["a", "b", "c", "\\u0061", "x y"]);
        let value =
            prop::sample::select(vec!["1", "null", "\"}, {\"", "[1, {\"a\":2}]", "{\"b\": {}}", "-0.5e9"]);
        let space = prop::sample::select(vec!["", " ", "\n\t"]);
        let own = |text: &str| text.to_owned();
        let field =
            (name, value, space).prop_map(move |(name, value, space)| (own(name), own(value), own(space)));
        prop::collection::vec(field, 0..8)
    }

    proptest! {
        /// Against a list of fields: removing is filtering, setting is replacing the last one or adding one.
        #[test]
        fn the_fields_are_those_of_a_list_that_was_changed(fields in fields(), removes in any::<bool>()) {
            let body = |fields: &[(String, String, String)]| {
                let fields: Vec<String> =
                    fields.iter().map(|(name, value, space)| format!("{space}\"{name}\"{space}:{space}{value}{space}")).collect();
                format!("{{{}}}", fields.join(","))
            };
            let is_named = |name: &str| matches!(name, "a" | "\\u0061");
            let change = if removes { Change::Remove } else { Change::Set("7") };
            let edited = super::tests::edited(&body(&fields), &[("a", change)]).unwrap();
            let mut wanted = fields.clone();
            if removes {
                wanted.retain(|(name, ..)| !is_named(name));
            } else if let Some((_, value, _)) = wanted.iter_mut().rfind(|(name, ..)| is_named(name)) {
                "7".clone_into(value);
            } else {
                wanted.insert(0, ("a".to_owned(), "7".to_owned(), String::new()));
            }
            // Around what was removed, whitespace may go or stay.
            let bare = |text: &str| text.replace([' ', '\n', '\t'], "");
            prop_assert_eq!(bare(&edited), bare(&body(&wanted)));
        }
    }
}
