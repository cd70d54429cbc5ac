//! How the text of a vocabulary's entries is written: each kind of tokenizer has its own way to write bytes as characters.

use super::Space;

/// A way to write bytes in a vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    /// One character for each byte (GPT-2 and most models since).
    ByteLevel,
    /// Text with `▁` for a space, and `<0x0A>` for a byte that is in no other entry (SentencePiece).
    SentencePiece {
        /// Whether entries like `<0x0A>` are bytes.
        has_bytes: bool,
    },
}

/// What SentencePiece writes for a space.
const SPACE: char = '▁';

// === impl Writing ===

impl Writing {
    /// The bytes of an entry. `None`: it is not written in this way.
    pub(super) fn read(self, entry: &str) -> Option<Vec<u8>> {
        match self {
            Self::ByteLevel => entry.chars().map(byte_of).collect(),
            Self::SentencePiece { has_bytes: true } if let Some(byte) = fallback_of(entry) => {
                Some(vec![byte])
            }
            Self::SentencePiece { .. } => Some(entry.replace(SPACE, " ").into_bytes()),
        }
    }
}

// === impl Space ===

impl Space {
    /// What two rules come to together.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Each, _) | (_, Self::Each) => Self::Each,
            (Self::First, _) | (_, Self::First) => Self::First,
            (Self::Never, Self::Never) => Self::Never,
        }
    }
}

/// The byte that a character of the byte-level alphabet stands for: printable characters of Latin-1 for themselves, and those from
/// U+0100 on for the other bytes, in order.
fn byte_of(character: char) -> Option<u8> {
    match u32::from(character) {
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => u8::try_from(code).ok(),
        code @ 0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        code @ 0x121..=0x142 => u8::try_from(code - 0x121 + 0x7f).ok(),
        0x143 => Some(0xad),
        _ => None,
    }
}

/// The byte of an entry like `<0x0A>`.
fn fallback_of(entry: &str) -> Option<u8> {
    let digits = entry.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::{Writing, byte_of};

    #[test]
    fn every_byte_has_one_character() {
        let mut bytes: Vec<u8> = ('\u{21}'..='\u{143}').filter_map(byte_of).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(Writing::ByteLevel.read("Ġwarm\u{10a}"), Some(b" warm\n".to_vec()));
        assert_eq!(Writing::ByteLevel.read("a▁b"), None);
    }

    #[test]
    fn a_byte_that_falls_back_is_one_byte() {
        let read = |has_bytes, entry| Writing::SentencePiece { has_bytes }.read(entry);
        assert_eq!(read(true, "<0xE2>"), Some(vec![0xe2]));
        assert_eq!(read(false, "<0xE2>"), Some(b"<0xE2>".to_vec()));
        assert_eq!(read(true, "<0xE2 >"), Some(b"<0xE2 >".to_vec()));
        assert_eq!(read(true, "▁▁warm"), Some(b"  warm".to_vec()));
    }
}
