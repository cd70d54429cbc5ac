//! A JSON value -> one number, equal for values that say the same.
//!
//! It stands for a part of a prompt that is not text. The bytes of the part would do, were it not for clients that write
//! the same image with other blanks, escapes or another order of keys from one request to the next.

use crate::json::{Raw, Scanner, unescape};
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_64_with_seed};

/// Objects and lists inside each other that are taken apart; deeper ones count as they are written.
const DEPTH_MAX: usize = 4;
/// A field that clients move from part to part, and that reaches no prompt.
const CACHE_CONTROL: &str = "cache_control";

/// The number of a value.
pub(super) fn fingerprint(value: Raw<'_>) -> u64 {
    of(value, DEPTH_MAX)
}

fn of(value: Raw<'_>, depth: usize) -> u64 {
    if let Some(body) = value.string_body() {
        return string(body, value.has_escape());
    }
    let mut scanner = value.scanner();
    let parts = match value.bytes().first() {
        Some(b'{') if depth > 0 => object(&mut scanner, depth - 1),
        Some(b'[') if depth > 0 => list(&mut scanner, depth - 1),
        _ => None,
    };
    parts.unwrap_or_else(|| xxh3_64(value.bytes()))
}

fn string(body: &[u8], has_escape: bool) -> u64 {
    if !has_escape {
        return xxh3_64(body);
    }
    let mut hasher = Xxh3::new();
    unescape(body, &mut |piece| {
        hasher.update(piece);
        true
    });
    hasher.digest()
}

/// The sum over the fields, which has no order.
fn object(scanner: &mut Scanner<'_>, depth: usize) -> Option<u64> {
    scanner.open_object().ok()?;
    let mut sum = 0_u64;
    while let Some(name) = scanner.next_key().ok()? {
        let value = scanner.raw().ok()?;
        if name != CACHE_CONTROL {
            let name = xxh3_64(name.as_bytes());
            sum = sum.wrapping_add(xxh3_64_with_seed(&of(value, depth).to_le_bytes(), name));
        }
    }
    Some(sum)
}

fn list(scanner: &mut Scanner<'_>, depth: usize) -> Option<u64> {
    scanner.open_list().ok()?;
    let mut chain = 1;
    while scanner.has_item().ok()? {
        let item = of(scanner.raw().ok()?, depth);
        chain = xxh3_64_with_seed(&item.to_le_bytes(), chain);
    }
    Some(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(json: &str) -> u64 {
        fingerprint(Scanner::new(json.as_bytes()).raw().unwrap())
    }

    #[test]
    fn how_a_value_is_written_does_not_matter() {
        let plain = number(r#"{"type":"image_url","image_url":{"url":"http://a/b"}}"#);
        for same in [
            r#"{"type": "image_url", "image_url" : { "url": "http://a/b" } }"#,
            r#"{"image_url":{"url":"http:\/\/a\u002fb"},"type":"image_url"}"#,
            r#"{"type":"image_url","cache_control":{"type":"ephemeral"},"image_url":{"url":"http://a/b"}}"#,
        ] {
            assert_eq!(number(same), plain, "{same}");
        }
    }

    #[test]
    fn what_a_value_says_matters() {
        let values = [
            r#"{"type":"image_url","image_url":{"url":"http://a/b"}}"#,
            r#"{"type":"image_url","image_url":{"url":"http://a/c"}}"#,
            r#"{"type":"image_url","image_url":{"url":"http://a/b","detail":"low"}}"#,
            r#"{"image_url":"image_url","type":{"url":"http://a/b"}}"#,
            r#"["a","b"]"#,
            r#"["b","a"]"#,
            r#"[["a"],"b"]"#,
            r#""a""#,
            "[]",
            "{}",
            "[[[[[[1]]]]]]",
            "[[[[[[2]]]]]]",
        ];
        for (at, value) in values.iter().enumerate() {
            for other in &values[at + 1..] {
                assert_ne!(number(value), number(other), "{value} and {other}");
            }
        }
    }
}
