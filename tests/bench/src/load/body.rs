//! Request bodies: chats with prompts that nobody has seen.

use bytes::Bytes;
use serde_json::json;
use warmpath_demo::cluster::MODEL;
use warmpath_demo::workload::words;
use warmpath_engine::model::TOKEN_BYTES;

/// Bytes of the prompt that opens a stream.
const STREAM_PROMPT_BYTES: usize = 1 << 10;

/// A chat with a prompt of this size, answered whole with one token.
pub(super) fn whole(number: u64, prompt_bytes: usize) -> Bytes {
    let body = json!({
        "model": MODEL,
        "messages": [{ "role": "user", "content": words(number, prompt_bytes / TOKEN_BYTES) }],
        "max_tokens": 1,
    });
    body.to_string().into()
}

/// A chat that is answered with a stream of this many pieces.
pub(super) fn stream(number: u64, prompt_bytes: usize, chunks: usize, has_usage: bool) -> Bytes {
    let mut body = json!({
        "model": MODEL,
        "messages": [{ "role": "user", "content": words(number, prompt_bytes / TOKEN_BYTES) }],
        "max_tokens": chunks,
        "stream": true,
    });
    if let Some(fields) = body.as_object_mut()
        && has_usage
    {
        fields.insert("stream_options".to_owned(), json!({ "include_usage": true }));
    }
    body.to_string().into()
}

/// The same with a short prompt: what is measured is the answer.
pub(super) fn answer_of(number: u64, chunks: usize, has_usage: bool) -> Bytes {
    stream(number, STREAM_PROMPT_BYTES, chunks, has_usage)
}

/// A small request, to see whether anybody answers.
pub fn hello() -> Bytes {
    whole(u64::MAX, STREAM_PROMPT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_little_more_than_its_prompt_and_no_two_are_alike() {
        let body = whole(1, 8 << 10);
        assert!((8 << 10..(8 << 10) + 100).contains(&body.len()), "{}", body.len());
        assert_ne!(body, whole(2, 8 << 10));
        let stream = String::from_utf8(answer_of(1, 7, true).to_vec()).unwrap();
        assert!(stream.contains("\"include_usage\":true") && stream.contains("\"max_tokens\":7"));
    }
}
