//! Compares the scanner with serde_json: what both accept, refuse and read.

use super::{JsonError, KnownFields, Scanner};
use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// An object's fields in order, duplicates included, as serde_json sees them.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = source.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Object(pairs))
            }
        }
        source.deserialize_map(Pairs)
    }
}

fn whole<'a, T>(
    bytes: &'a [u8],
    read: impl Fn(&mut Scanner<'a>) -> Result<T, JsonError>,
) -> Result<T, JsonError> {
    let mut scanner = Scanner::new(bytes);
    let value = read(&mut scanner)?;
    scanner.end()?;
    Ok(value)
}

/// The values of `a`, `b` and `name`, if none of them occurs twice.
fn fields(bytes: &[u8]) -> Result<Vec<(String, String)>, JsonError> {
    whole(bytes, |scanner| {
        let mut found = Vec::new();
        let mut fields = KnownFields::open(scanner, &["a", "b", "name"])?;
        while let Some(name) = fields.next(scanner)? {
            found.push((name.to_owned(), text(scanner.raw()?.bytes())));
        }
        Ok(found)
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    let raw = serde_json::from_slice::<&RawValue>(bytes).ok().map(RawValue::get);
    let found = whole(bytes, Scanner::raw);
    prop_assert_eq!(found.ok().map(|raw| text(raw.bytes())), raw.map(str::to_owned));
    if let (Ok(found), Some(raw)) = (found, raw) {
        prop_assert!(found.has_escape() || !raw.contains('\\'));
    }

    let string = serde_json::from_slice::<Option<String>>(bytes).ok();
    prop_assert_eq!(whole(bytes, |s| Ok(s.string()?.map(std::borrow::Cow::into_owned))).ok(), string);
    let number = serde_json::from_slice::<Option<u64>>(bytes).ok();
    prop_assert_eq!(whole(bytes, Scanner::number).ok(), number);

    let list = serde_json::from_slice::<Vec<&RawValue>>(bytes).ok();
    let list = list.map(|items| items.into_iter().map(|raw| raw.get().to_owned()).collect::<Vec<_>>());
    let items = |scanner: &mut Scanner<'_>| {
        let mut items = Vec::new();
        scanner.open_list()?;
        while scanner.has_item()? {
            items.push(text(scanner.raw()?.bytes()));
        }
        Ok(items)
    };
    prop_assert_eq!(whole(bytes, items).ok(), list);

    // serde_json would also validate the UTF-8 of fields that the scanner skips.
    if std::str::from_utf8(bytes).is_ok() {
        let known = |(name, raw): (String, &RawValue)| {
            ["a", "b", "name"].contains(&name.as_str()).then(|| (name, raw.get().to_owned()))
        };
        let object = serde_json::from_slice::<Object<'_>>(bytes).ok();
        let pairs: Option<Vec<_>> = object.map(|object| object.0.into_iter().filter_map(known).collect());
        let is_twice = |pairs: &Vec<(String, String)>| {
            pairs.iter().enumerate().any(|(at, (name, _))| pairs[..at].iter().any(|(old, _)| old == name))
        };
        prop_assert_eq!(fields(bytes).ok(), pairs.filter(|pairs| !is_twice(pairs)));
    }
    Ok(())
}

/// Fragments of JSON, valid and invalid.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        " ",
        "\n",
        "\x0c",
        "\x01",
        "true",
        "false",
        "null",
        "nul",
        "0",
        "-",
        "-0",
        "01",
        "1.",
        "1.5",
        "2e",
        "3E+4",
        "1e999",
        "18446744073709551615",
        "18446744073709551616",
        "\"\"",
        "\"a\"",
        "\"a\":",
        "\"b\":1",
        "\"\\u0061\":",
        "\"name\":\"x\"",
        "\"a\":[1,{\"b\":null}]",
        "\\u",
        "\\ud83d\\ude00",
        "\\ud800",
        "\\udc00",
        "\\n",
        "\\/",
        "\\x",
        "é",
        "漢字",
        "plain text that is longer than any vector is wide",
    ]);
    let piece = prop_oneof![
        20 => piece.prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..3),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn reads_as_serde_json_does(middle in pieces(), around in 0..5) {
        let (open, close): (&[u8], &[u8]) = match around {
            0 => (b"", b""),
            1 => (b"\"", b"\""),
            2 => (b"{", b"}"),
            3 => (b"{\"a\":", b"}"),
            _ => (b"[", b"]"),
        };
        check(&[open, &middle, close].concat())?;
    }

    #[test]
    fn reads_changed_json_as_serde_json_does(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..3, pieces()), 0..3),
    ) {
        let mut body = br#"{"a": [1, -0.5e3, "\u00e9\ud83d\ude00", {"x": {"y": []}}], "b": "text", "c": {}, "name": null}"#
            .to_vec();
        for (at, removed, added) in changes {
            let at = at.index(body.len() + 1);
            let end = (at + removed).min(body.len());
            body.splice(at..end, added);
        }
        check(&body)?;
    }
}

#[test]
fn depth_costs_no_stack() {
    let deep = |open: &str, close: &str| open.repeat(200_000) + "1" + &close.repeat(200_000);
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        assert!(whole(deep(open, close).as_bytes(), Scanner::raw).is_ok());
        assert_eq!(whole(deep(open, "").as_bytes(), Scanner::raw), Err(JsonError::Truncated));
    }
    assert_eq!(whole(deep("[", "}").as_bytes(), Scanner::raw), Err(JsonError::Syntax));
}
