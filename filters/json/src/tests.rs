//! Compares the scanner with a naive reader of the language that Python's `json.loads` reads.

use super::{JsonError, KnownFields, NESTING_MAX, Scanner};
use proptest::prelude::*;
use std::ops::Range;

/// Python's reader, one byte after the other; each function returns the place behind what it has read.
struct Naive<'a>(&'a str);

/// The place of a field's name and of its value.
type Field = (String, Range<usize>);

impl Naive<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.0.as_bytes().get(at).copied()
    }

    fn space(&self, at: usize) -> usize {
        let rest = &self.0.as_bytes()[at..];
        at + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\t' | b'\r')).count()
    }

    /// All of the text must be one value; its place.
    fn whole(&self) -> Option<Range<usize>> {
        let start = self.space(0);
        let end = self.value(start)?;
        (self.space(end) == self.0.len()).then_some(start..end)
    }

    fn value(&self, at: usize) -> Option<usize> {
        match self.byte(at)? {
            b'"' => Some(self.string(at)?.1),
            b'{' => Some(self.object(at)?.1),
            b'[' => Some(self.list(at)?.1),
            _ => {
                let words = ["null", "true", "false", "NaN", "Infinity", "-Infinity"];
                let word = words.into_iter().find(|word| self.0[at..].starts_with(word));
                word.map_or_else(|| self.number(at), |word| Some(at + word.len()))
            }
        }
    }

    fn number(&self, at: usize) -> Option<usize> {
        let digits = |at: usize| {
            let count = self.0.as_bytes()[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            (count > 0).then_some(at + count)
        };
        let at = at + usize::from(self.byte(at) == Some(b'-'));
        let mut end = if self.byte(at) == Some(b'0') { at + 1 } else { digits(at)? };
        if self.byte(end) == Some(b'.') {
            end = digits(end + 1)?;
        }
        if matches!(self.byte(end), Some(b'e' | b'E')) {
            end = digits(end + 1 + usize::from(matches!(self.byte(end + 1), Some(b'+' | b'-'))))?;
        }
        Some(end)
    }

    fn string(&self, at: usize) -> Option<(String, usize)> {
        let mut units = Vec::new();
        let mut characters = self.0[at + 1..].char_indices();
        while let Some((from, character)) = characters.next() {
            match character {
                '"' => return Some((name_of(&units), at + 1 + from + 1)),
                '\0'..' ' => return None,
                '\\' => match characters.next()?.1 {
                    'u' => {
                        let digits: String = characters.by_ref().take(4).map(|(_, digit)| digit).collect();
                        let is_hex =
                            digits.len() == 4 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
                        units.push(is_hex.then(|| u16::from_str_radix(&digits, 16).ok())??);
                    }
                    escape => {
                        let at = "\"\\/bfnrt".find(escape)?;
                        units.push("\"\\/\u{8}\u{c}\n\r\t".encode_utf16().nth(at)?);
                    }
                },
                other => units.extend_from_slice(other.encode_utf16(&mut [0; 2])),
            }
        }
        None
    }

    fn list(&self, at: usize) -> Option<(Vec<Range<usize>>, usize)> {
        let mut items = Vec::new();
        if self.byte(at)? != b'[' {
            return None;
        }
        let mut at = self.space(at + 1);
        if self.byte(at)? == b']' {
            return Some((items, at + 1));
        }
        loop {
            let end = self.value(at)?;
            items.push(at..end);
            match self.byte(self.space(end))? {
                b',' => at = self.space(self.space(end) + 1),
                b']' => return Some((items, self.space(end) + 1)),
                _ => return None,
            }
        }
    }

    fn object(&self, at: usize) -> Option<(Vec<Field>, usize)> {
        let mut fields = Vec::new();
        if self.byte(at)? != b'{' {
            return None;
        }
        let mut at = self.space(at + 1);
        if self.byte(at)? == b'}' {
            return Some((fields, at + 1));
        }
        loop {
            if self.byte(at)? != b'"' {
                return None;
            }
            let (name, end) = self.string(at)?;
            let colon = self.space(end);
            if self.byte(colon)? != b':' {
                return None;
            }
            let start = self.space(colon + 1);
            let end = self.value(start)?;
            fields.push((name, start..end));
            match self.byte(self.space(end))? {
                b',' => at = self.space(self.space(end) + 1),
                b'}' => return Some((fields, self.space(end) + 1)),
                _ => return None,
            }
        }
    }
}

/// Halves of surrogate pairs as the scanner writes them in names.
fn name_of(units: &[u16]) -> String {
    let characters = char::decode_utf16(units.iter().copied());
    characters
        .map(|unit| {
            unit.map_or_else(|half| format!("\u{fffd}{:04x}", half.unpaired_surrogate()), String::from)
        })
        .collect()
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
    // Python decodes all of a body first; the scanner only what is read of it.
    let Ok(all) = std::str::from_utf8(bytes) else {
        let _ = (whole(bytes, Scanner::raw), fields(bytes));
        return Ok(());
    };
    let naive = Naive(all);
    let place = naive.whole();
    let raw = place.clone().map(|place| &all[place]);
    let found = whole(bytes, Scanner::raw);
    prop_assert_eq!(found.ok().map(|raw| text(raw.bytes())), raw.map(str::to_owned));
    if let (Ok(found), Some(raw)) = (found, raw) {
        prop_assert!(found.has_escape() || !raw.contains('\\'));
    }

    let string = place.clone().and_then(|place| match &all[place.clone()] {
        "null" => Some(None),
        _ => naive
            .byte(place.start)
            .filter(|byte| *byte == b'"')
            .map(|_| Some(naive.string(place.start).unwrap().0)),
    });
    prop_assert_eq!(whole(bytes, |s| Ok(s.string()?.map(std::borrow::Cow::into_owned))).ok(), string);
    let number = raw.and_then(|raw| if raw == "null" { Some(None) } else { raw.parse().ok().map(Some) });
    prop_assert_eq!(whole(bytes, Scanner::number).ok(), number);

    let start = place.as_ref().map(|place| place.start);
    let list = start.and_then(|start| naive.list(start));
    let list = list.map(|(items, _)| items.into_iter().map(|item| all[item].to_owned()).collect::<Vec<_>>());
    let items = |scanner: &mut Scanner<'_>| {
        let mut items = Vec::new();
        scanner.open_list()?;
        while scanner.has_item()? {
            items.push(text(scanner.raw()?.bytes()));
        }
        Ok(items)
    };
    prop_assert_eq!(whole(bytes, items).ok(), list);

    let object = start.and_then(|start| naive.object(start));
    let known = |(name, place): Field| {
        ["a", "b", "name"].contains(&name.as_str()).then(|| (name, all[place].to_owned()))
    };
    let pairs: Option<Vec<_>> = object.map(|(fields, _)| fields.into_iter().filter_map(known).collect());
    prop_assert_eq!(fields(bytes).ok(), pairs);
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
        "NaN",
        "Infinity",
        "-Infinity",
        "-Inf",
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
    fn reads_as_python_does(middle in pieces(), around in 0..5) {
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
    fn reads_changed_json_as_python_does(
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
fn what_python_accepts_is_read() {
    let last = |body: &str| {
        whole(body.as_bytes(), |scanner| {
            let mut model = None;
            let mut fields = KnownFields::open(scanner, &["model"])?;
            while fields.next(scanner)?.is_some() {
                model = scanner.string()?.map(std::borrow::Cow::into_owned);
            }
            Ok(model.unwrap_or_default())
        })
    };
    for body in [
        r#"{"model":"a","model":"b"}"#,
        r#"{"model":"a","mod\u0065l":"b"}"#,
        r#"{"x":[NaN,-Infinity,Infinity],"model":"b"}"#,
        r#"{"x":123456789012345678901234567890e999999,"model":"b"}"#,
        r#"{"x\ud83d":"\ude00","model":"b"}"#,
        "{\"model\":\"a\",\"model\":null,\"model\":\"b\", \"x\": \"\u{7f}\u{2028}\"}\r\n",
    ] {
        assert_eq!(last(body).as_deref(), Ok("b"), "{body}");
    }
}

#[test]
fn depth_costs_no_stack_and_has_a_bound() {
    let deep = |open: &str, close: &str, levels: usize| open.repeat(levels) + "1" + &close.repeat(levels);
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        assert!(whole(deep(open, close, NESTING_MAX).as_bytes(), Scanner::raw).is_ok());
        assert_eq!(
            whole(deep(open, close, NESTING_MAX + 1).as_bytes(), Scanner::raw),
            Err(JsonError::TooDeep)
        );
        assert_eq!(whole(deep(open, "", NESTING_MAX).as_bytes(), Scanner::raw), Err(JsonError::Truncated));
    }
    assert_eq!(whole(deep("[", "}", NESTING_MAX).as_bytes(), Scanner::raw), Err(JsonError::Syntax));
}
