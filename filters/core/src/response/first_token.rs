//! Whether a response has shown anything that the engine generated.
//!
//! The first byte of a stream says little: engines send comments, a role, or `response.created` before they have read the
//! prompt. Taken for the first token, such a byte would teach a speed that no engine has, and would let one that sends
//! nothing else look healthy.
//!
//! An event is judged by the fields that hold generated content in its format: text, reasoning, tool calls, token ids. A
//! field that holds nothing (`""`, `null`, `[]`, `{}`) is none. A body that is no stream is content from its first byte.

use super::events::Events;
use crate::json::{JsonError, KnownFields, Scanner};
use crate::prompt::Api;

/// Watches one response for its first token.
#[derive(Debug)]
pub struct FirstToken {
    api: Api,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Of a body that is no stream: nothing has come but whitespace.
    Beginning,
    /// Events have come, and no content.
    Streaming(Events),
    /// Content has come.
    Seen,
}

// === impl FirstToken ===

impl FirstToken {
    /// Of the response to a request in `api`; `is_stream` if events are expected.
    pub fn new(api: Api, is_stream: bool) -> Self {
        let state = if is_stream { State::Streaming(Events::default()) } else { State::Beginning };
        Self { api, state }
    }

    /// Takes the next piece of the body. Whether generated content has been seen, in this piece or before.
    pub fn push(&mut self, piece: &[u8]) -> bool {
        match &mut self.state {
            State::Beginning => {
                if !piece.trim_ascii().is_empty() {
                    self.state = State::Seen;
                }
            }
            State::Streaming(events) => {
                let api = self.api;
                if events.push(piece, |name, data| is_content(api, name, data)) {
                    self.state = State::Seen;
                }
            }
            State::Seen => {}
        }
        self.has_seen()
    }

    /// Whether generated content has been seen. A whole response of which none was seen is empty.
    pub fn has_seen(&self) -> bool {
        matches!(self.state, State::Seen)
    }
}

/// Whether an event holds generated content. Data that is cut or no JSON counts as far as it can be read.
fn is_content(api: Api, name: &[u8], data: &[u8]) -> bool {
    match api {
        Api::Responses => named(name, data, is_responses_content),
        Api::Messages | Api::CountTokens => named(name, data, |kind, _| kind == b"content_block_delta"),
        Api::Chat | Api::Completions | Api::Generate => chunk(&mut Scanner::new(data)).unwrap_or(false),
        Api::Inputs | Api::Pairs | Api::ModelOnly => name != b"error" && is_result(data),
    }
}

/// Judges an event by its name, which both formats repeat as `type` in the data.
fn named(name: &[u8], data: &[u8], judge: impl Fn(&[u8], &[u8]) -> bool) -> bool {
    if !name.is_empty() {
        return judge(name, data);
    }
    let mut scanner = Scanner::new(data);
    let found = within(&mut scanner, &["type"], |_, scanner| {
        Ok(scanner.string()?.is_some_and(|kind| judge(kind.as_bytes(), data)))
    });
    found.unwrap_or(false)
}

/// Events of `/v1/responses`: <https://platform.openai.com/docs/api-reference/responses-streaming>.
fn is_responses_content(kind: &[u8], data: &[u8]) -> bool {
    match kind {
        // An engine may send all of its output in the last event.
        b"response.completed" | b"response.incomplete" => {
            let mut scanner = Scanner::new(data);
            let found = within(&mut scanner, &["response"], |_, scanner| {
                within(scanner, &["output"], |_, scanner| filled(scanner))
            });
            found.unwrap_or(false)
        }
        kind => kind.ends_with(b".delta"),
    }
}

/// A chunk of OpenAI's chat and completions, and of the engines' own formats, which differ in nothing that matters here.
fn chunk(scanner: &mut Scanner<'_>) -> Result<bool, JsonError> {
    within(scanner, &["choices", "text", "output_ids"], |name, scanner| {
        if name != "choices" || scanner.peek()? != b'[' {
            return filled(scanner);
        }
        scanner.open_list()?;
        while scanner.has_item()? {
            if choice(scanner)? {
                return Ok(true);
            }
        }
        Ok(false)
    })
}

fn choice(scanner: &mut Scanner<'_>) -> Result<bool, JsonError> {
    within(scanner, &["delta", "message", "text", "token_ids"], |name, scanner| {
        if matches!(name, "text" | "token_ids") {
            return filled(scanner);
        }
        let contents = &[
            "content",
            "reasoning_content",
            "reasoning",
            "reasoning_details",
            "tool_calls",
            "function_call",
            "refusal",
            "audio",
            "images",
        ];
        within(scanner, contents, |_, scanner| filled(scanner))
    })
}

/// An event of a format that is not known here: any JSON but an error is a result.
fn is_result(data: &[u8]) -> bool {
    match within(&mut Scanner::new(data), &["error"], |_, scanner| filled(scanner)) {
        Ok(is_error) => !is_error,
        Err(error) => error == JsonError::Truncated,
    }
}

/// Reads the fields `names` of an object until `read` finds what it looks for. `false` for any other value.
fn within<'a>(
    scanner: &mut Scanner<'a>,
    names: &'static [&'static str],
    read: impl Fn(&'static str, &mut Scanner<'a>) -> Result<bool, JsonError>,
) -> Result<bool, JsonError> {
    if scanner.peek()? != b'{' {
        return scanner.skip().map(|()| false);
    }
    let mut fields = KnownFields::open(scanner, names)?;
    while let Some(name) = fields.next(scanner)? {
        if read(name, scanner)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a value holds anything. It is read to its end only if it does not.
fn filled(scanner: &mut Scanner<'_>) -> Result<bool, JsonError> {
    if scanner.is_filled()? {
        return Ok(true);
    }
    scanner.skip().map(|()| false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first event of `events` that counts as a token; each may have a name before a colon.
    fn first(api: Api, events: &[&str]) -> Option<usize> {
        let mut first = FirstToken::new(api, true);
        let found = events.iter().position(|event| first.push(event.as_bytes()));
        assert_eq!(found.is_some(), first.has_seen());
        found
    }

    /// A chat chunk with this delta.
    fn delta(delta: &str) -> String {
        format!(
            "data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":null}}]}}\n\n"
        )
    }

    #[test]
    fn a_comment_a_role_or_a_chunk_without_choices_is_no_token_of_a_chat() {
        let beginning = [
            ": ping\n\n",
            "\r\n",
            "data: {\"choices\":[]}\n\n",
            "data: {\"choices\":[],\"prompt_filter_results\":[{\"index\":0}]}\n\n",
            &delta(r#"{"role":"assistant","content":""}"#),
            &delta(r#"{"role":"assistant","content":null,"tool_calls":[],"reasoning_content":null}"#),
            &delta("{}"),
            "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"completion_tokens\":0}}\n\n",
            "data: [DONE]\n\n",
        ];
        assert_eq!(first(Api::Chat, &beginning), None);
        for content in [
            r#"{"content":"a"}"#,
            r#"{"content":"\n"}"#,
            r#"{"content":"","reasoning_content":"a"}"#,
            r#"{"reasoning":"a"}"#,
            r#"{"tool_calls":[{"index":0,"function":{"name":"f"}}]}"#,
            r#"{"function_call":{"name":"f"}}"#,
            r#"{"refusal":"no"}"#,
        ] {
            let content = delta(content);
            let events = [&beginning[..5], &[&content]].concat();
            assert_eq!(first(Api::Chat, &events), Some(5), "{content}");
        }
    }

    #[test]
    fn a_second_choice_may_be_the_first_to_speak() {
        let chunk =
            "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}},{\"delta\":{\"content\":\"a\"}}]}\n\n";
        assert_eq!(first(Api::Chat, &[chunk]), Some(0));
    }

    #[test]
    fn completions_begin_with_text_or_token_ids() {
        let event = |choice: &str| format!("data: {{\"choices\":[{{{choice}}}]}}\r\n\r\n");
        let (empty, end) = (event(r#""text":"""#), event(r#""text":"","finish_reason":"stop""#));
        assert_eq!(first(Api::Completions, &[&empty, &end]), None);
        assert_eq!(first(Api::Completions, &[&empty, &event(r#""text":" a""#)]), Some(1));
        assert_eq!(first(Api::Completions, &[&event(r#""text":"","token_ids":[7]"#)]), Some(0));
    }

    #[test]
    fn a_response_that_was_created_has_no_token_yet() {
        let mut beginning = vec![];
        for kind in [
            "created",
            "queued",
            "in_progress",
            "output_item.added",
            "content_part.added",
            "reasoning_part.added",
        ] {
            let kind = format!("response.{kind}");
            let data = format!("{{\"response\":{{\"id\":\"resp_1\",\"output\":[]}},\"type\":\"{kind}\"}}");
            beginning.push(format!("event: {kind}\ndata: {data}\n\n"));
            beginning.push(format!("data: {data}\n\n"));
        }
        let beginning: Vec<&str> = beginning.iter().map(String::as_str).collect();
        assert_eq!(first(Api::Responses, &beginning), None);
        for content in [
            "event: response.output_text.delta\ndata: {\"delta\":\"a\"}\n\n",
            "event: response.function_call_arguments.delta\ndata: {}\n\n",
            "data: {\"delta\":\"a\",\"type\":\"response.reasoning_text.delta\"}\n\n",
            "event: response.completed\ndata: {\"response\":{\"output\":[{\"type\":\"message\"}]}}\n\n",
        ] {
            let events = [&beginning[..], &[content]].concat();
            assert_eq!(first(Api::Responses, &events), Some(beginning.len()), "{content}");
        }
        let end = "event: response.completed\ndata: {\"response\":{\"output\":[]}}\n\n";
        assert_eq!(first(Api::Responses, &[end, "event: response.failed\ndata: {}\n\n"]), None);
    }

    #[test]
    fn a_message_that_started_has_no_token_yet() {
        let event = |kind: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\"}}\n\n");
        let kinds =
            ["message_start", "content_block_start", "ping", "message_delta", "message_stop", "error"];
        let beginning = kinds.map(event);
        let beginning: Vec<&str> = beginning.iter().map(String::as_str).collect();
        assert_eq!(first(Api::Messages, &beginning), None);
        assert_eq!(first(Api::Messages, &[beginning[0], &event("content_block_delta")]), Some(1));
        assert_eq!(
            first(Api::Messages, &["data: {\"index\":0,\"type\":\"content_block_delta\"}\n\n"]),
            Some(0)
        );
    }

    #[test]
    fn an_error_inside_a_stream_is_no_token() {
        let error = "data: {\"error\":{\"message\":\"out of memory\",\"code\":500}}\n\n";
        for api in [Api::Chat, Api::Completions, Api::Responses, Api::Messages, Api::ModelOnly] {
            assert_eq!(first(api, &[error, "data: [DONE]\n\n"]), None, "{api:?}");
        }
        assert_eq!(
            first(Api::ModelOnly, &["event: error\ndata: {\"x\":1}\n\n", "data: {\"x\":1}\n\n"]),
            Some(1)
        );
    }

    #[test]
    fn a_body_that_is_no_stream_is_content_from_its_first_byte() {
        let mut first = FirstToken::new(Api::Chat, false);
        assert!(!first.push(b""));
        assert!(!first.push(b" \n"));
        assert!(first.push(b"{"));
        assert!(first.push(b""));
    }

    #[test]
    fn content_counts_in_an_event_that_is_longer_than_what_is_kept() {
        let long = "a".repeat(100_000);
        let mut first = FirstToken::new(Api::Chat, true);
        let event = delta(&format!("{{\"content\":\"{long}\"}}"));
        let found = event.as_bytes().chunks(1000).position(|piece| first.push(piece));
        assert_eq!(found, Some(event.len() / 1000));
        let head = format!(
            "data: {{\"choices\":[{{\"delta\":{{\"role\":\"assistant\"}}}}],\"prompt_token_ids\":\"{long}\"}}\n\n"
        );
        assert_eq!(super::tests::first(Api::Chat, &[&head, &delta(r#"{"content":"a"}"#)]), Some(1));
    }

    proptest! {
        #[test]
        fn the_cuts_between_pieces_do_not_matter(cuts in prop::collection::vec(0_usize..700, 0..8), end in "\n|\r|\r\n") {
            let stream = [
                ": ping\n\n",
                &delta(r#"{"role":"assistant","content":""}"#),
                "data: {\"choices\":[]}\n\n",
                &delta(r#"{"content":"a"}"#),
                &delta(r#"{"content":"b"}"#),
            ];
            let lines_before = stream[..3].concat().matches('\n').count();
            let stream = stream.concat().replace('\n', &end);
            // The end of the line that holds the first token.
            let (at, _) = stream.match_indices(&end).nth(lines_before).unwrap();
            let mut cuts: Vec<usize> =
                cuts.into_iter().map(|cut| cut.min(stream.len())).chain([0, stream.len()]).collect();
            cuts.sort_unstable();
            let mut first = FirstToken::new(Api::Chat, true);
            for cut in cuts.windows(2) {
                prop_assert_eq!(first.push(&stream.as_bytes()[cut[0]..cut[1]]), cut[1] > at);
            }
        }

        #[test]
        fn anything_may_come(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..8)) {
            for api in [Api::Chat, Api::Responses, Api::Messages, Api::ModelOnly] {
                let mut first = FirstToken::new(api, true);
                for piece in &pieces {
                    first.push(piece);
                }
            }
        }
    }
}
