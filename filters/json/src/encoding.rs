//! The encoding of a body: Python's `json.loads` takes UTF-8, UTF-16 and UTF-32, with a byte order mark or without, and
//! halves of surrogate pairs in any of them. Engines read bodies with it, so routing does too.
//!
//! A half of a pair is kept in three bytes, as if it were a character (the WTF-8 encoding): no UTF-8 has these bytes, so
//! texts that differ stay different in the cells.

use std::borrow::Cow;
use std::fmt::Write;

pub(crate) const BOM_UTF8: &[u8] = b"\xEF\xBB\xBF";

#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

/// The body in UTF-8 without a byte order mark; borrowed unless it was in UTF-16 or UTF-32. `None`: it has a character
/// that does not exist, or ends in the middle of one.
pub fn as_utf8(body: &[u8]) -> Option<Cow<'_, [u8]>> {
    use Order::{Big, Little};
    // As Python's `json.detect_encoding`, in its order.
    match body {
        [0, 0, 0xFE, 0xFF, rest @ ..] => utf32(rest, Big),
        [0xFF, 0xFE, 0, 0, rest @ ..] => utf32(rest, Little),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, Big),
        [0xFF, 0xFE, rest @ ..] => utf16(rest, Little),
        [0, 0, _, _, ..] => utf32(body, Big),
        [0, _, _, _, ..] | [0, _] => utf16(body, Big),
        [_, 0, 0, 0, ..] => utf32(body, Little),
        [_, 0, _, _, ..] | [_, 0] => utf16(body, Little),
        _ => Some(Cow::Borrowed(body.strip_prefix(BOM_UTF8).unwrap_or(body))),
    }
}

/// Appends a code point, which may be half of a surrogate pair.
pub(crate) fn push_point(point: u32, out: &mut Vec<u8>) {
    if let Some(character) = char::from_u32(point) {
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        out.extend_from_slice(&half(point));
    }
}

/// The bytes of half of a surrogate pair.
pub(crate) fn half(point: u32) -> [u8; 3] {
    let six = |shift: u32| u8::try_from((point >> shift) & 0x3F).unwrap_or(0) | 0x80;
    [0xED, six(6), six(0)]
}

/// Whether bytes are UTF-8 but for halves of surrogate pairs.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok() || Halves(bytes).all(|piece| piece.is_some())
}

/// Text with every half of a surrogate pair as U+FFFD and its four digits: for names, which engines' users see. `None`:
/// not text.
pub(crate) fn to_name(bytes: &[u8]) -> Option<String> {
    let mut name = String::with_capacity(bytes.len());
    for piece in Halves(bytes) {
        let (text, half) = piece?;
        name.push_str(text);
        if let Some(half) = half {
            name.push(char::REPLACEMENT_CHARACTER);
            let _ = write!(name, "{half:04x}");
        }
    }
    Some(name)
}

/// Pieces of UTF-8, each but the last one before half of a surrogate pair. `None`, then nothing: other bytes.
struct Halves<'a>(&'a [u8]);

impl<'a> Iterator for Halves<'a> {
    type Item = Option<(&'a str, Option<u32>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = std::mem::take(&mut self.0);
        if bytes.is_empty() {
            return None;
        }
        let error = match std::str::from_utf8(bytes) {
            Ok(text) => return Some(Some((text, None))),
            Err(error) => error,
        };
        let (text, rest) = bytes.split_at(error.valid_up_to());
        let [0xED, second @ 0xA0..=0xBF, third @ 0x80..=0xBF, rest @ ..] = rest else { return Some(None) };
        self.0 = rest;
        let half = 0xD000 | u32::from(second & 0x3F) << 6 | u32::from(third & 0x3F);
        Some(std::str::from_utf8(text).ok().map(|text| (text, Some(half))))
    }
}

fn utf16(body: &[u8], order: Order) -> Option<Cow<'static, [u8]>> {
    let (units, []) = body.as_chunks::<2>() else { return None };
    let units = units.iter().map(|unit| match order {
        Order::Little => u16::from_le_bytes(*unit),
        Order::Big => u16::from_be_bytes(*unit),
    });
    let mut out = Vec::with_capacity(body.len());
    for unit in char::decode_utf16(units) {
        push_point(unit.map_or_else(|half| u32::from(half.unpaired_surrogate()), u32::from), &mut out);
    }
    Some(Cow::Owned(out))
}

fn utf32(body: &[u8], order: Order) -> Option<Cow<'static, [u8]>> {
    let (points, []) = body.as_chunks::<4>() else { return None };
    let mut out = Vec::with_capacity(body.len() / 2);
    for point in points {
        let point = match order {
            Order::Little => u32::from_le_bytes(*point),
            Order::Big => u32::from_be_bytes(*point),
        };
        if point > u32::from(char::MAX) {
            return None;
        }
        push_point(point, &mut out);
    }
    Some(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(text: &str, order: Order, is_wide: bool) -> Vec<u8> {
        let of_16 = |unit: u16| match order {
            Order::Little => unit.to_le_bytes(),
            Order::Big => unit.to_be_bytes(),
        };
        let of_32 = |point: char| match order {
            Order::Little => u32::from(point).to_le_bytes(),
            Order::Big => u32::from(point).to_be_bytes(),
        };
        if is_wide {
            text.chars().flat_map(of_32).collect()
        } else {
            text.encode_utf16().flat_map(of_16).collect()
        }
    }

    proptest! {
        #[test]
        fn a_body_in_any_encoding_reads_as_in_utf8(text in "[^\0]{0,40}", has_mark in any::<bool>()) {
            // Without a mark the encoding is known by the zeros beside the first two ASCII characters.
            let text = format!("{}{{\"{text}\"}}", if has_mark { "\u{feff}" } else { "" });
            let expected = text.strip_prefix('\u{feff}').unwrap_or(&text).as_bytes();
            for (order, is_wide) in [(Order::Little, false), (Order::Little, true), (Order::Big, false), (Order::Big, true)] {
                let body = encoded(&text, order, is_wide);
                let found = as_utf8(&body);
                prop_assert_eq!(found.as_deref(), Some(expected));
            }
            let found = as_utf8(text.as_bytes());
            prop_assert_eq!(found.as_deref(), Some(expected));
        }

        #[test]
        fn any_bytes_are_text_or_not(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(is_text(&bytes), to_name(&bytes).is_some());
            let _ = as_utf8(&bytes);
        }
    }

    #[test]
    fn halves_of_pairs_stay_apart() {
        let halves = |point| [b"a", half(point).as_slice(), b"b"].concat();
        assert!(is_text(&halves(0xD83D)) && is_text(&halves(0xDFFF)) && !is_text(b"\xED\xA0b"));
        assert_eq!(to_name(&halves(0xD83D)).as_deref(), Some("a\u{fffd}d83db"));
        assert_eq!(as_utf8(b"\xFF\xFE\x3D\xD8").as_deref(), Some(half(0xD83D).as_slice()));
        assert_eq!(as_utf8(b"\xFF\xFE\x3D"), None);
        assert_eq!(as_utf8(b"\xFF\xFE\0\0\0\0\x11\0"), None, "beyond the last character");
    }
}
