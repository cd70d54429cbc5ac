//! The `usage` object of a response, found in the tail of its body or stream.
//!
//! Only the last few KiB are kept, whatever the length of the response: `usage` comes last in a JSON body and in the
//! last events of a stream. Anthropic's streams report the prompt's tokens in their first event instead, so the first
//! KiB are searched as well. SGLang's own format has the counts in `meta_info`.

use crate::json::{JsonError, KnownFields, Scanner};
use memchr::memmem;

/// Bytes kept of the response's end. vLLM writes empty `kv_transfer_params` and the like after `usage`, and OpenAI's
/// closing event of `/v1/responses` repeats the request's settings before it.
pub const TAIL_BYTES_MAX: usize = 8 * 1024;
/// Bytes before a piece that are searched again with it, while the first event may still come: the object may be cut.
const OVERLAP_BYTES: usize = 512;

/// The tokens of one request and its response, as the engine counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Prompt tokens that came from the cache; `None` when the engine does not report them.
    pub cached_tokens: Option<u64>,
    /// Tokens of the response.
    pub output_tokens: u64,
}

/// Searches a response piece by piece.
#[derive(Debug, Default)]
pub struct UsageScan {
    first: Option<Usage>,
    tail: Vec<u8>,
    /// Whether `tail` no longer holds the response's beginning.
    has_overflowed: bool,
}

/// The fields of the object in any of the formats.
#[derive(Default)]
#[expect(clippy::struct_field_names, reason = "they are the names in the JSON")]
struct Raw {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_cached_tokens: Option<u64>,
    cached_tokens: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    input_cached_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}

// === impl UsageScan ===

impl UsageScan {
    /// Takes the next piece of the response.
    pub fn push(&mut self, piece: &[u8]) {
        let kept = piece.get(piece.len().saturating_sub(TAIL_BYTES_MAX)..).unwrap_or(piece);
        let excess = (self.tail.len() + kept.len()).saturating_sub(TAIL_BYTES_MAX);
        let searches = self.first.is_none() && !self.has_overflowed;
        let from = self.tail.len().saturating_sub(excess + OVERLAP_BYTES);
        self.has_overflowed |= excess > 0 || kept.len() < piece.len();
        self.tail.drain(..excess.min(self.tail.len()));
        self.tail.extend_from_slice(kept);
        if searches {
            self.first = self.tail.get(from..).and_then(last_usage);
        }
    }

    /// The usage that the response reported, if any.
    pub fn finish(&self) -> Option<Usage> {
        let last = last_usage(&self.tail);
        match (self.first, last) {
            (Some(first), Some(last)) => Some(Usage {
                prompt_tokens: last.prompt_tokens.max(first.prompt_tokens),
                cached_tokens: last.cached_tokens.max(first.cached_tokens),
                output_tokens: last.output_tokens.max(first.output_tokens),
            }),
            (first, last) => last.or(first),
        }
    }
}

/// The usage in a whole response that is no stream.
pub fn usage_of(response: &[u8]) -> Option<Usage> {
    last_usage(response)
}

/// The last complete `"usage": {...}` in `bytes` that counts anything, or else the last `meta_info`. Generated text cannot
/// forge one: its quotes are escaped.
fn last_usage(bytes: &[u8]) -> Option<Usage> {
    last_object(bytes, b"\"usage\"").or_else(|| last_object(bytes, b"\"meta_info\""))
}

fn last_object(bytes: &[u8], key: &[u8]) -> Option<Usage> {
    let mut end = bytes.len();
    while let Some(at) = memmem::rfind(bytes.get(..end)?, key) {
        if let Some(usage) = usage_at(bytes.get(at + key.len()..)?) {
            return Some(usage);
        }
        end = at;
    }
    None
}

/// Reads one object, whatever follows it.
fn raw(scanner: &mut Scanner<'_>) -> Result<Raw, JsonError> {
    let mut raw = Raw::default();
    let mut fields = KnownFields::open(
        scanner,
        &[
            "prompt_tokens",
            "completion_tokens",
            "prompt_tokens_details",
            "cached_tokens",
            "input_tokens",
            "output_tokens",
            "input_tokens_details",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
        ],
    )?;
    while let Some(name) = fields.next(scanner)? {
        let target = match name {
            "prompt_tokens_details" => {
                raw.prompt_cached_tokens = cached_tokens(scanner)?;
                continue;
            }
            "input_tokens_details" => {
                raw.input_cached_tokens = cached_tokens(scanner)?;
                continue;
            }
            "prompt_tokens" => &mut raw.prompt_tokens,
            "completion_tokens" => &mut raw.completion_tokens,
            "cached_tokens" => &mut raw.cached_tokens,
            "input_tokens" => &mut raw.input_tokens,
            "output_tokens" => &mut raw.output_tokens,
            "cache_read_input_tokens" => &mut raw.cache_read_input_tokens,
            _ => &mut raw.cache_creation_input_tokens,
        };
        *target = scanner.number()?;
    }
    Ok(raw)
}

/// `cached_tokens` of the details, which may be `null`.
fn cached_tokens(scanner: &mut Scanner<'_>) -> Result<Option<u64>, JsonError> {
    if scanner.peek()? == b'n' {
        return scanner.skip().map(|()| None);
    }
    let mut cached = None;
    let mut fields = KnownFields::open(scanner, &["cached_tokens"])?;
    while fields.next(scanner)?.is_some() {
        cached = scanner.number()?;
    }
    Ok(cached)
}

fn usage_at(rest: &[u8]) -> Option<Usage> {
    let rest = rest.trim_ascii_start().strip_prefix(b":")?;
    let raw = raw(&mut Scanner::new(rest)).ok()?;
    let cached = raw.prompt_cached_tokens.or(raw.input_cached_tokens).or(raw.cached_tokens);
    // Anthropic counts tokens that were read from the cache or written to it in addition to `input_tokens`.
    let cache_tokens = [raw.cache_read_input_tokens, raw.cache_creation_input_tokens];
    let input_tokens =
        cache_tokens.into_iter().flatten().fold(raw.input_tokens.unwrap_or(0), u64::saturating_add);
    let output_tokens = raw.completion_tokens.or(raw.output_tokens);
    if raw.prompt_tokens.is_none() && input_tokens == 0 && output_tokens.is_none() {
        return None;
    }
    Some(Usage {
        prompt_tokens: raw.prompt_tokens.unwrap_or(input_tokens),
        cached_tokens: cached.or(raw.cache_read_input_tokens),
        output_tokens: output_tokens.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(pieces: &[&str]) -> Option<Usage> {
        let mut scan = UsageScan::default();
        for piece in pieces {
            scan.push(piece.as_bytes());
        }
        scan.finish()
    }

    #[test]
    fn vllm_chat_response_with_fields_after_usage() {
        let usage = scan(&[
            r#"{"choices":[{"message":{"content":"say \"usage\": {"}}],"usage":{"prompt_tokens":726,"total_tokens":730,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":704}},"kv_transfer_params":null}"#,
        ]);
        assert_eq!(usage, Some(Usage { prompt_tokens: 726, cached_tokens: Some(704), output_tokens: 4 }));
    }

    #[test]
    fn a_stream_with_nulls_and_a_cut_inside_the_object() {
        let usage = scan(&[
            "data: {\"usage\":null}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tok",
            "ens\":9,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
        ]);
        assert_eq!(usage, Some(Usage { prompt_tokens: 9, cached_tokens: None, output_tokens: 2 }));
    }

    #[test]
    fn an_anthropic_stream_reports_its_prompt_first() {
        let usage = scan(&[
            "event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":90,\"output_tokens\":1}}}\n\n",
            &"data: {}\n\n".repeat(2000),
            "data: {\"usage\":{\"output_tokens\":55}}\n\n",
        ]);
        assert_eq!(usage, Some(Usage { prompt_tokens: 100, cached_tokens: Some(90), output_tokens: 55 }));
    }

    #[test]
    fn tokens_that_anthropic_wrote_to_the_cache_are_part_of_the_prompt() {
        let usage = scan(&[
            r#"{"usage":{"input_tokens":5,"cache_creation_input_tokens":20,"output_tokens":1},"x":{"usage":{}}}"#,
        ]);
        assert_eq!(usage, Some(Usage { prompt_tokens: 25, cached_tokens: None, output_tokens: 1 }));
    }

    #[test]
    fn the_first_event_of_anthropic_may_be_cut_and_come_after_a_comment() {
        let usage = scan(&[
            ": ping\n\n",
            "event: message_start\ndata: {\"message\":{\"usage\":{\"input_to",
            "kens\":10,\"output_tokens\":1}}}\n\n",
            &"data: {}\n\n".repeat(2000),
            "data: {\"usage\":{\"output_tokens\":55}}\n\n",
        ]);
        assert_eq!(usage, Some(Usage { prompt_tokens: 10, cached_tokens: None, output_tokens: 55 }));
    }

    #[test]
    fn sglang_counts_in_meta_info() {
        let usage = scan(&[
            r#"{"text":"a","meta_info":{"id":"x","finish_reason":{"type":"length"},"prompt_tokens":5,"completion_tokens":2,"cached_tokens":4}}"#,
        ]);
        assert_eq!(usage, Some(Usage { prompt_tokens: 5, cached_tokens: Some(4), output_tokens: 2 }));
    }

    #[test]
    fn the_tail_is_bounded() {
        let mut scan = UsageScan::default();
        for _ in 0..100 {
            scan.push(&[b'x'; 3000]);
        }
        assert!(scan.tail.len() <= TAIL_BYTES_MAX);
        assert_eq!(scan.finish(), None);
    }
}
