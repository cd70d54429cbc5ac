//! The text of a JSON string, decoded in pieces without a copy.
//!
//! Most prompts contain newlines, so few strings could be borrowed. Decoding straight into the hasher saves an
//! allocation and a copy of nearly the whole body.

use super::JsonError;
use memchr::memchr;

/// U+FFFD, for a lone surrogate, which clients in languages with UTF-16 strings send.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Decodes the bytes between a JSON string's quotes and passes the pieces to `push` until it returns `false`. Invalid
/// input yields some text, never a panic.
pub(crate) fn unescape(body: &[u8], push: &mut impl FnMut(&[u8]) -> bool) -> bool {
    let mut rest = body;
    while let Some(at) = memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        if !plain.is_empty() && !push(plain) {
            return false;
        }
        let (decoded, used) = decode_escape(escape);
        let mut utf8 = [0; 4];
        if !push(decoded.unwrap_or(REPLACEMENT).encode_utf8(&mut utf8).as_bytes()) {
            return false;
        }
        rest = escape.get(used..).unwrap_or_default();
    }
    rest.is_empty() || push(rest)
}

/// Decodes all bytes between a JSON string's quotes. A lone surrogate is an error: this is for names, and no engine
/// accepts such a name.
pub(super) fn strict(body: &[u8]) -> Result<String, JsonError> {
    let mut text = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        text.extend_from_slice(plain);
        let (decoded, used) = decode_escape(escape);
        let mut utf8 = [0; 4];
        text.extend_from_slice(decoded.ok_or(JsonError::Syntax)?.encode_utf8(&mut utf8).as_bytes());
        rest = escape.get(used..).unwrap_or_default();
    }
    text.extend_from_slice(rest);
    String::from_utf8(text).map_err(|_| JsonError::NotUtf8)
}

/// The character that `escape` starts with (a backslash first) and its length in bytes; `None` where the escape is
/// invalid.
fn decode_escape(escape: &[u8]) -> (Option<char>, usize) {
    match escape.get(1) {
        Some(b'n') => (Some('\n'), 2),
        Some(b't') => (Some('\t'), 2),
        Some(b'r') => (Some('\r'), 2),
        Some(b'b') => (Some('\u{8}'), 2),
        Some(b'f') => (Some('\u{c}'), 2),
        Some(b'u') => decode_unicode(escape),
        Some(other) if other.is_ascii() => (Some(char::from(*other)), 2),
        // Invalid JSON: the character after the backslash is kept as it is.
        Some(_) | None => (None, 1),
    }
}

fn decode_unicode(escape: &[u8]) -> (Option<char>, usize) {
    let Some(first) = hex4(escape.get(2..6)) else { return (None, 2) };
    if let Some(decoded) = char::from_u32(first) {
        return (Some(decoded), 6);
    }
    let is_high = (0xD800..0xDC00).contains(&first);
    let second = hex4(escape.get(8..12)).filter(|low| (0xDC00..0xE000).contains(low));
    match second {
        Some(low) if is_high && escape.get(6..8) == Some(b"\\u") => {
            (char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (low - 0xDC00)), 12)
        }
        _ => (None, 6),
    }
}

fn hex4(digits: Option<&[u8]>) -> Option<u32> {
    digits?.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(body: &str) -> String {
        let mut out = Vec::new();
        unescape(body.as_bytes(), &mut |piece| {
            out.extend_from_slice(piece);
            true
        });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_lone_surrogate_becomes_the_replacement_character() {
        assert_eq!(decode(r"a\ud800b"), "a\u{fffd}b");
        assert_eq!(decode(r"\udc00\ud800A"), "\u{fffd}\u{fffd}A");
        assert_eq!(decode(r"\ud83d\ude00"), "\u{1f600}");
    }

    #[test]
    fn an_invalid_escape_loses_nothing_after_it() {
        let decoded = ["\\", "\\u12", "\\ud83d\\u", "\\u00\u{e9}4", "\\\u{e9}"].map(decode);
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
            prop_assert_eq!(strict(body.as_bytes()), Ok(text));
        }

        #[test]
        fn anything_becomes_text(body in r#"(\\|u|[0-9a-f]|\PC|"){0,40}"#) {
            decode(&body);
            let _ = strict(body.as_bytes());
        }
    }
}
