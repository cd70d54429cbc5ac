//! Server-sent events of the OpenAI protocols, read as they come.
//!
//! Pieces of the body end anywhere, so bytes are kept until their line is whole.

use serde::Deserialize;
use std::borrow::Cow;
use warmpath_http::Events;

const DONE: &[u8] = b"[DONE]";

/// The engine's count of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Those of them that its cache held.
    pub cached_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
}

/// A stream under way.
#[derive(Debug, Default)]
pub struct Stream {
    events: Events,
    text: String,
    usage: Option<Usage>,
    is_done: bool,
    is_broken: bool,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    choices: Vec<Choice<'a>>,
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct WireUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: u64,
}

// === impl Stream ===

impl Stream {
    /// Takes the next bytes of the body.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut events = std::mem::take(&mut self.events);
        events.feed(bytes, |data| self.event(data));
        self.events = events;
    }

    /// The answer so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Answer and usage of a stream that was whole.
    pub fn finish(self) -> Option<(String, Usage)> {
        let is_whole = self.is_done && !self.is_broken && self.events.is_whole();
        is_whole.then_some(())?;
        Some((self.text, self.usage?))
    }

    fn event(&mut self, data: &[u8]) {
        if data == DONE {
            self.is_done = true;
            return;
        }
        let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else {
            self.is_broken = true;
            return;
        };
        for choice in event.choices {
            let piece = choice.text.or_else(|| choice.delta?.content);
            self.text.push_str(&piece.unwrap_or_default());
        }
        if let Some(usage) = event.usage {
            self.usage = Some(Usage {
                prompt_tokens: usage.prompt_tokens,
                cached_tokens: usage.prompt_tokens_details.map_or(0, |details| details.cached_tokens),
                output_tokens: usage.completion_tokens,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = concat!(
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"sun \\\"\"}}]}\n\n",
        "data: {\"choices\":[{\"text\":\"sky \"}]}\r\n\r\n",
        ": a comment\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,",
        "\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n",
        "data: [DONE]\n\n",
    );

    #[test]
    fn it_does_not_matter_where_the_pieces_end() {
        let usage = Usage { prompt_tokens: 9, cached_tokens: 4, output_tokens: 2 };
        for size in 1..=WHOLE.len() {
            let mut stream = Stream::default();
            for piece in WHOLE.as_bytes().chunks(size) {
                stream.feed(piece);
            }
            assert_eq!(stream.finish(), Some(("sun \"sky ".to_owned(), usage)), "pieces of {size}");
        }
    }

    #[test]
    fn a_stream_without_its_end_is_not_whole() {
        let end = WHOLE.find("data: [DONE]").unwrap();
        for length in 0..=end {
            let mut stream = Stream::default();
            stream.feed(&WHOLE.as_bytes()[..length]);
            assert_eq!(stream.finish(), None, "the first {length} bytes");
        }
    }

    #[test]
    fn something_else_in_the_stream_is_not_overlooked() {
        let mut stream = Stream::default();
        stream.feed(b"data: oops\n\n");
        stream.feed(WHOLE.as_bytes());
        assert_eq!(stream.finish(), None);
    }
}
