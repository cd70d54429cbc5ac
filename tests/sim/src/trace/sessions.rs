//! Sessions of coding agents: a request follows the answer to the one before, after a pause.
//!
//! ```json
//! {"id":"trace_0001","block_size":64,"tool_tokens":12974,"system_tokens":4243,
//!  "requests":[{"i":71175,"o":169,"think":0.0,"h":[[1,1113]]}, ..]}
//! ```
//!
//! `i` and `o` are the tokens of prompt and answer, `think` the seconds between the answer before and the request, `h`
//! the prompt's whole blocks of 64 tokens as runs of ids, last one excluded. Ids count from 1 and mean something inside
//! their session only, but for those up to `(tool_tokens + system_tokens) / 64`, which sessions with equal numbers
//! share. What the runs do not cover is new text.
//! Format: derived from callanjfox/kv-cache-tester (Apache-2.0), see `data/README.md`.

use super::{TraceError, wrong};
use serde::Deserialize;

/// Tokens of a block of such a trace.
pub const SESSION_BLOCK_TOKENS: usize = 64;

/// One session.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedSession {
    /// Names the beginning that it shares with other sessions.
    pub shared: (u32, u32),
    /// Its requests, in their order.
    pub turns: Vec<RecordedTurn>,
}

/// One request of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedTurn {
    /// Seconds between the answer before and this request.
    pub think_s: f64,
    /// Length of the prompt.
    pub input_tokens: usize,
    /// Length of the answer.
    pub output_tokens: usize,
    /// Ids of the whole blocks of the prompt, local to the session.
    pub blocks: Vec<u64>,
}

#[derive(Deserialize)]
struct Line {
    block_size: usize,
    tool_tokens: u32,
    system_tokens: u32,
    requests: Vec<Request>,
}

#[derive(Deserialize)]
struct Request {
    i: usize,
    o: usize,
    /// Absent where the recording has no end of the answer before.
    #[serde(default)]
    think: Option<f64>,
    h: Vec<(u64, u64)>,
}

// === impl RecordedSession ===

impl RecordedSession {
    /// Blocks, from the first, that belong to the beginning shared with other sessions.
    pub fn shared_blocks(&self) -> u64 {
        u64::from(self.shared.0 + self.shared.1) / SESSION_BLOCK_TOKENS as u64
    }
}

/// Whether a text of lines has sessions and not single requests.
pub(super) fn is_one(text: &str) -> bool {
    text.lines().next().is_some_and(|line| line.contains("\"requests\""))
}

pub(super) fn read(text: &str, limit: usize) -> Result<Vec<RecordedSession>, TraceError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.take(limit).map(|(at, line)| parse(at + 1, line)).collect()
}

fn parse(number: usize, line: &str) -> Result<RecordedSession, TraceError> {
    let line: Line = serde_json::from_str(line).map_err(|error| {
        // The parser sees one line and calls it the first.
        wrong(number, &error.to_string().replace(" at line 1 column", " at column"))
    })?;
    if line.block_size != SESSION_BLOCK_TOKENS {
        let problem = format!("blocks of {} tokens instead of {SESSION_BLOCK_TOKENS}", line.block_size);
        return Err(wrong(number, &problem));
    }
    let turns: Vec<RecordedTurn> =
        line.requests.iter().filter(|turn| turn.i > 0 && turn.o > 0).map(turn).collect();
    if turns.is_empty() {
        return Err(wrong(number, &"the session has no requests"));
    }
    Ok(RecordedSession { shared: (line.tool_tokens, line.system_tokens), turns })
}

fn turn(request: &Request) -> RecordedTurn {
    let blocks = request.h.iter().flat_map(|(first, end)| *first..*end);
    RecordedTurn {
        think_s: request.think.unwrap_or_default().max(0.0),
        input_tokens: request.i,
        output_tokens: request.o,
        blocks: blocks.take(request.i / SESSION_BLOCK_TOKENS).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"id":"a","block_size":64,"tool_tokens":64,"system_tokens":70,
        "requests":[{"t":0,"i":200,"o":5,"think":0,"h":[[1,4]]},{"t":9,"i":330,"o":1,"think":2.5,"h":[[1,3],[7,10]]}]}"#;

    #[test]
    fn runs_become_blocks_and_no_more_than_the_prompt_has() {
        let line = GOOD.replace('\n', " ");
        assert!(is_one(&line));
        let sessions = read(&line, 9).unwrap();
        assert_eq!(sessions[0].shared_blocks(), 2);
        let [one, two] = &sessions[0].turns[..] else { panic!("{sessions:?}") };
        assert_eq!((one.input_tokens, &one.blocks[..]), (200, &[1, 2, 3][..]));
        assert_eq!((two.think_s, &two.blocks[..]), (2.5, &[1, 2, 7, 8, 9][..]));
    }

    #[test]
    fn broken_sessions_are_named() {
        let other_blocks = GOOD.replace('\n', " ").replace(":64,\"tool", ":16,\"tool");
        for line in
            ["{}", &other_blocks, r#"{"block_size":64,"tool_tokens":1,"system_tokens":1,"requests":[]}"#]
        {
            assert!(read(line, 9).unwrap_err().to_string().starts_with("line 1: "), "{line}");
        }
    }
}
