//! Mooncake's format (kvcache-ai/Mooncake, FAST'25 traces): one JSON object a line.
//!
//! ```json
//! {"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47, 2353, 2354]}
//! ```
//!
//! The timestamp is in milliseconds, in steps of about three seconds; an id stands for 512 tokens together with
//! all tokens before them.

use super::{BLOCK_TOKENS, Recorded, TraceError, arrivals, wrong};
use serde::Deserialize;

#[derive(Deserialize)]
struct Line {
    timestamp: f64,
    input_length: usize,
    output_length: usize,
    hash_ids: Vec<u64>,
}

pub(super) fn read(text: &str, limit: usize) -> Result<Vec<Recorded>, TraceError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let requests = lines.take(limit).map(|(at, line)| parse(at + 1, line));
    let mut requests = requests.collect::<Result<Vec<_>, _>>()?;
    arrivals::spread(&mut requests);
    Ok(requests)
}

fn parse(number: usize, line: &str) -> Result<Recorded, TraceError> {
    let line: Line = serde_json::from_str(line).map_err(|error| {
        // The parser sees one line and calls it the first.
        wrong(number, &error.to_string().replace(" at line 1 column", " at column"))
    })?;
    let (tokens, blocks) = (line.input_length, line.hash_ids.len());
    if tokens == 0 || line.output_length == 0 {
        return Err(wrong(number, &"a prompt or an answer has no tokens"));
    }
    if blocks != tokens.div_ceil(BLOCK_TOKENS) {
        return Err(wrong(number, &format!("{tokens} tokens do not make {blocks} blocks of {BLOCK_TOKENS}")));
    }
    if !(line.timestamp.is_finite() && line.timestamp >= 0.0) {
        return Err(wrong(number, &format!("{} is no time", line.timestamp)));
    }
    Ok(Recorded {
        at_ms: line.timestamp,
        input_tokens: tokens,
        output_tokens: line.output_length,
        blocks: line.hash_ids,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        r#"{"timestamp": 3000, "input_length": 513, "output_length": 9, "hash_ids": [1, 2], "turn": 1}"#;

    #[test]
    fn a_line_becomes_a_request_and_unknown_fields_do_not_matter() {
        let requests = read(&format!("{GOOD}\n\n{GOOD}\n"), 10).unwrap();
        assert_eq!(requests.len(), 2);
        assert_eq!((requests[0].input_tokens, requests[0].output_tokens), (513, 9));
        assert_eq!(requests[0].blocks, [1, 2]);
    }

    #[test]
    fn broken_lines_are_named() {
        let broken = [
            "oops",
            r#"{"timestamp": 0, "input_length": 5}"#,
            r#"{"timestamp": 0, "input_length": 1025, "output_length": 1, "hash_ids": [1, 2]}"#,
            r#"{"timestamp": 0, "input_length": 0, "output_length": 1, "hash_ids": []}"#,
            r#"{"timestamp": -1, "input_length": 1, "output_length": 1, "hash_ids": [1]}"#,
        ];
        for line in broken {
            let error = read(&format!("{GOOD}\n\n{line}\n"), 10).unwrap_err().to_string();
            assert!(error.starts_with("line 3: "), "{error}");
        }
        assert_eq!(
            read(&format!("{GOOD}\noops"), 1).unwrap().len(),
            1,
            "lines beyond the limit are not read"
        );
    }
}
