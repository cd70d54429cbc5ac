//! Finds the first quote, backslash or control character in a JSON string: the loop that sees every byte of every body.
//!
//! `memchr` would find the first two, but not control characters, and bytes beyond ASCII would need a second pass.

/// The plain text at the head of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plain {
    /// Bytes before the first one that a string may not contain unescaped.
    pub(crate) length: usize,
    /// Whether all of those are ASCII. Bytes that follow them may make it `false`.
    pub(crate) is_ascii: bool,
}

/// Measures the plain text at the head of `bytes`.
pub(crate) fn plain(bytes: &[u8]) -> Plain {
    let mut found = in_blocks(bytes);
    for byte in bytes.get(found.length..).unwrap_or_default() {
        if is_stop(*byte) {
            break;
        }
        found.is_ascii &= byte.is_ascii();
        found.length += 1;
    }
    found
}

fn is_stop(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < b' '
}

/// Sixteen bytes a step, up to the first stop or the last whole step. Written with explicit SIMD, because whether a
/// compiler vectorises a loop depends on the code around it. All of it is safe code.
#[cfg(target_feature = "simd128")]
fn in_blocks(bytes: &[u8]) -> Plain {
    use core::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_le, u8x16_splat, u64x2, v128_or};

    let mut length = 0;
    let mut seen = u8x16_splat(0);
    let (words, _) = bytes.as_chunks::<8>();
    let (blocks, _) = words.as_chunks::<2>();
    for [low, high] in blocks {
        let block = u64x2(u64::from_le_bytes(*low), u64::from_le_bytes(*high));
        seen = v128_or(seen, block);
        let quotes = u8x16_eq(block, u8x16_splat(b'"'));
        let backslashes = u8x16_eq(block, u8x16_splat(b'\\'));
        let controls = u8x16_le(block, u8x16_splat(b' ' - 1));
        let stops = u8x16_bitmask(v128_or(v128_or(quotes, backslashes), controls));
        if stops != 0 {
            length += usize::try_from(stops.trailing_zeros()).unwrap_or(usize::MAX);
            break;
        }
        length += 16;
    }
    Plain { length, is_ascii: u8x16_bitmask(seen) == 0 }
}

/// Eight bytes a step, up to the first stop or the last whole step. Native builds do without SIMD: requests are routed
/// in wasm.
#[cfg(not(target_feature = "simd128"))]
fn in_blocks(bytes: &[u8]) -> Plain {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;

    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let mut length = 0;
    let mut seen = 0;
    let (words, _) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        seen |= word;
        let quotes = zeros(word ^ (ONES * u64::from(b'"')));
        let backslashes = zeros(word ^ (ONES * u64::from(b'\\')));
        let controls = word.wrapping_sub(ONES * u64::from(b' ')) & !word;
        // The high bit marks each byte that is a stop; a borrow may set marks above the lowest one wrongly.
        let stops = (quotes | backslashes | controls) & HIGHS;
        if stops != 0 {
            length += usize::try_from(stops.trailing_zeros() / 8).unwrap_or(usize::MAX);
            break;
        }
        length += 8;
    }
    Plain { length, is_ascii: seen & HIGHS == 0 }
}

#[cfg(test)]
mod tests {
    use super::{Plain, is_stop, plain};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_one_byte_after_the_other(
            head in prop::collection::vec(b' '..=0xFF, 0..200),
            tail in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let bytes = [head, tail].concat();
            let length = bytes.iter().position(|byte| is_stop(*byte)).unwrap_or(bytes.len());
            let Plain { length: found, is_ascii } = plain(&bytes);
            prop_assert_eq!(found, length);
            prop_assert!(!is_ascii || bytes[..length].is_ascii());
            prop_assert!(is_ascii || !bytes.is_ascii());
        }
    }

    #[test]
    fn each_byte_at_each_place() {
        for at in 0..90 {
            for byte in 0..=u8::MAX {
                let mut bytes = [b'a'; 90];
                bytes[at] = byte;
                let length = if is_stop(byte) { at } else { 90 };
                assert_eq!(plain(&bytes).length, length, "{byte} at {at}");
            }
        }
    }
}
