//! Request bodies: chats with prompts that nobody has seen.

use crate::cluster::MODEL;
use crate::workload::words;
use bytes::Bytes;
use serde_json::json;
use warmpath_engine::model::TOKEN_BYTES;

/// Bytes of the prompt that opens a stream, and of a long prompt's own beginning.
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

/// A chat with a short prompt that is answered with a stream of this many pieces.
pub(super) fn stream(number: u64, chunks: usize, has_usage: bool) -> Bytes {
    let options = if has_usage { r#","stream_options":{"include_usage":true}"# } else { "" };
    streamed(&words(number, STREAM_PROMPT_BYTES / TOKEN_BYTES), "", chunks, options)
}

/// A chat that begins as no other and goes on with `tail`, answered with a stream of one piece. Made in the time that
/// copying takes: where many are sent, making them anew would take longer than sending them.
pub(super) fn long(number: u64, tail: &str) -> Bytes {
    streamed(&words(number, STREAM_PROMPT_BYTES / TOKEN_BYTES), tail, 1, "")
}

/// The rest of long prompts, so that they have this size together with their own beginning.
pub(super) fn tail(prompt_bytes: usize) -> String {
    words(0, prompt_bytes.saturating_sub(STREAM_PROMPT_BYTES) / TOKEN_BYTES)
}

/// Words need no escaping.
fn streamed(head: &str, tail: &str, chunks: usize, options: &str) -> Bytes {
    format!(
        r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"{head}{tail}"}}],"max_tokens":{chunks},"stream":true{options}}}"#
    )
    .into()
}

/// A small request, to see whether anybody answers.
pub fn hello() -> Bytes {
    whole(u64::MAX, STREAM_PROMPT_BYTES)
}

#[cfg(test)]
#[allow(clippy::string_slice, clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_little_more_than_its_prompt_and_no_two_are_alike() {
        let body = whole(1, 8 << 10);
        assert!((8 << 10..(8 << 10) + 100).contains(&body.len()), "{}", body.len());
        assert_ne!(body, whole(2, 8 << 10));
    }

    #[test]
    fn bodies_of_streams_are_json_and_long_ones_begin_differently() {
        let read = |body: Bytes| serde_json::from_slice::<serde_json::Value>(&body).unwrap();
        let asked = read(stream(1, 7, true));
        assert_eq!(
            (&asked["max_tokens"], &asked["stream_options"]["include_usage"]),
            (&7.into(), &true.into())
        );
        assert!(read(stream(1, 7, false)).get("stream_options").is_none());
        let tail = tail(220_000);
        let [one, other] = [1, 2].map(|number| read(long(number, &tail))["messages"][0]["content"].clone());
        assert_eq!(one.as_str().map(str::len), Some(220_000));
        assert_ne!(one.as_str().map(|text| &text[..64]), other.as_str().map(|text| &text[..64]));
    }
}
