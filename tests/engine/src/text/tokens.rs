//! A text as token ids: the four bytes of a token are its id in little-endian order, so that a prompt sent as these ids
//! is the same prompt. A shorter last token is padded with zeros.

use crate::model::TOKEN_BYTES;

/// The token ids of a text.
pub fn token_ids(text: &[u8]) -> Vec<u32> {
    let id = |bytes: &[u8]| {
        let mut whole = [0; TOKEN_BYTES];
        whole[..bytes.len()].copy_from_slice(bytes);
        u32::from_le_bytes(whole)
    };
    text.chunks(TOKEN_BYTES).map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_bytes_of_the_text() {
        let ids = token_ids(b"abcdefghi");
        assert_eq!(ids, [u32::from_le_bytes(*b"abcd"), u32::from_le_bytes(*b"efgh"), u32::from(b'i')]);
        assert!(token_ids(b"").is_empty());
    }
}
