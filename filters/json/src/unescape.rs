//! The text of a JSON string, decoded in pieces without a copy.
//!
//! Most prompts contain newlines, so few strings could be borrowed. Decoding straight into the hasher saves an
//! allocation and a copy of nearly the whole body.

use super::JsonError;
use super::encoding::{half, to_name};
use memchr::memchr;

/// What an escape stands for.
#[derive(Clone, Copy)]
enum Decoded {
    Character(char),
    /// Half of a surrogate pair, which clients in languages with UTF-16 strings send.
    Half(u32),
}

/// Decodes the bytes between a JSON string's quotes and passes the pieces to `push` until it returns `false`. Invalid
/// input yields some text, never a panic.
pub fn unescape(body: &[u8], push: &mut impl FnMut(&[u8]) -> bool) -> bool {
    let mut rest = body;
    while let Some(at) = memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        if !plain.is_empty() && !push(plain) {
            return false;
        }
        let (decoded, used) = decode_escape(escape);
        let wants_more = match decoded {
            Decoded::Character(character) => push(character.encode_utf8(&mut [0; 4]).as_bytes()),
            Decoded::Half(point) => push(&half(point)),
        };
        if !wants_more {
            return false;
        }
        rest = escape.get(used..).unwrap_or_default();
    }
    rest.is_empty() || push(rest)
}

/// Decodes all bytes between a JSON string's quotes, for a name: see [`to_name`] for halves of surrogate pairs.
pub(crate) fn name(body: &[u8]) -> Result<String, JsonError> {
    let mut text = Vec::with_capacity(body.len());
    unescape(body, &mut |piece| {
        text.extend_from_slice(piece);
        true
    });
    String::from_utf8(text).or_else(|error| to_name(error.as_bytes()).ok_or(JsonError::NotUtf8))
}

/// What `escape` starts with (a backslash first) and its length in bytes. An invalid escape is U+FFFD.
fn decode_escape(escape: &[u8]) -> (Decoded, usize) {
    let (character, used) = match escape.get(1) {
        Some(b'n') => ('\n', 2),
        Some(b't') => ('\t', 2),
        Some(b'r') => ('\r', 2),
        Some(b'b') => ('\u{8}', 2),
        Some(b'f') => ('\u{c}', 2),
        Some(b'u') => return decode_unicode(escape),
        Some(other) if other.is_ascii() => (char::from(*other), 2),
        // Invalid JSON: the character after the backslash is kept as it is.
        Some(_) | None => (char::REPLACEMENT_CHARACTER, 1),
    };
    (Decoded::Character(character), used)
}

fn decode_unicode(escape: &[u8]) -> (Decoded, usize) {
    let Some(first) = hex4(escape.get(2..6)) else {
        return (Decoded::Character(char::REPLACEMENT_CHARACTER), 2);
    };
    if let Some(decoded) = char::from_u32(first) {
        return (Decoded::Character(decoded), 6);
    }
    let is_high = (0xD800..0xDC00).contains(&first);
    let second = hex4(escape.get(8..12)).filter(|low| (0xDC00..0xE000).contains(low));
    let pair = match second {
        Some(low) if is_high && escape.get(6..8) == Some(b"\\u") => {
            char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (low - 0xDC00))
        }
        _ => None,
    };
    pair.map_or((Decoded::Half(first), 6), |pair| (Decoded::Character(pair), 12))
}

fn hex4(digits: Option<&[u8]>) -> Option<u32> {
    digits?.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(body: &str) -> Vec<u8> {
        let mut out = Vec::new();
        unescape(body.as_bytes(), &mut |piece| {
            out.extend_from_slice(piece);
            true
        });
        out
    }

    fn decode(body: &str) -> String {
        String::from_utf8(bytes(body)).unwrap()
    }

    #[test]
    fn half_a_surrogate_pair_does_not_hide_the_text_or_equal_another() {
        let name = |body: &str| name(body.as_bytes()).unwrap();
        assert_eq!(bytes(r"a\ud800b"), b"a\xED\xA0\x80b");
        assert_ne!(bytes(r"a\ud800b"), bytes(r"a\ud801b"));
        assert_eq!(name(r"a\ud800b"), "a\u{fffd}d800b");
        assert_eq!(name(r"\udc00\ud800A"), "\u{fffd}dc00\u{fffd}d800A");
        assert_eq!(name(r"\ud83d\ude00"), "\u{1f600}");
        assert_eq!(name(r"\ud83d\ud83d\ude00"), "\u{fffd}d83d\u{1f600}");
    }

    #[test]
    fn an_invalid_escape_loses_nothing_after_it() {
        let decoded = ["\\", "\\u12", "\\u\\u", "\\u00\u{e9}4", "\\\u{e9}"].map(decode);
        assert_eq!(
            decoded,
            ["\u{fffd}", "\u{fffd}12", "\u{fffd}\u{fffd}", "\u{fffd}00\u{e9}4", "\u{fffd}\u{e9}"]
        );
    }

    proptest! {
        /// Against serde_json's own decoder, over its own encoder and over `\u` escapes of everything.
        #[test]
        fn equals_serde_json(text in ".*", escape_all in any::<bool>()) {
            let encoded = if escape_all {
                let units: Vec<String> = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
                format!("\"{}\"", units.concat())
            } else {
                serde_json::to_string(&text).unwrap()
            };
            let body = encoded.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
            prop_assert_eq!(decode(body), text.as_str());
            prop_assert_eq!(name(body.as_bytes()), Ok(text));
        }

        #[test]
        fn anything_becomes_text(body in r#"(\\|u|[0-9a-f]|\PC|"){0,40}"#) {
            prop_assert!(name(body.as_bytes()).is_ok());
        }
    }
}
