//! Whether a response has shown anything that the engine generated.
//!
//! The first byte of a stream says little: engines send comments, a role, or `response.created` before they have read the
//! prompt. Taken for the first token, such a byte would teach a speed that no engine has, and would let one that sends
//! nothing else look healthy.
//!
//! An event is judged by the fields that hold generated content in its format: text, reasoning, tool calls, token ids. A
//! field that holds nothing (`""`, `null`, `[]`, `{}`) is none.
//!
//! A stream may also end as it should and have no content: its first text was a stop string, or the model had nothing to say. An
//! engine that says so is not at fault, and a client can make it happen; one that ends a stream without a word is.

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
    /// Events have come, and no content.
    Streaming {
        events: Events,
        /// Whether one of them has said that the generation is over, as it should be.
        has_ended: bool,
    },
    /// Content has come.
    Seen,
}

// === impl FirstToken ===

impl FirstToken {
    /// Of the response to a request in `api`, which is a stream of events.
    pub fn new(api: Api) -> Self {
        Self { api, state: State::Streaming { events: Events::default(), has_ended: false } }
    }

    /// Takes the next piece of the body. Whether generated content has been seen, in this piece or before.
    pub fn push(&mut self, piece: &[u8]) -> bool {
        if let State::Streaming { events, has_ended } = &mut self.state {
            let api = self.api;
            let is_seen = events.push(piece, |name, data| {
                let is_content = is_content(api, name, data);
                *has_ended |= !is_content && is_end(api, name, data);
                is_content
            });
            if is_seen {
                self.state = State::Seen;
            }
        }
        self.has_seen()
    }

    /// Whether generated content has been seen. A whole response of which none was seen is empty.
    pub fn has_seen(&self) -> bool {
        matches!(self.state, State::Seen)
    }

    /// Whether the engine has said that it has generated all, though nothing of it is to be seen.
    pub fn has_ended_empty(&self) -> bool {
        matches!(self.state, State::Streaming { has_ended: true, .. })
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

/// Whether an event says that the generation is over, and was not cut short by a failure.
fn is_end(api: Api, name: &[u8], data: &[u8]) -> bool {
    match api {
        Api::Responses => {
            named(name, data, |kind, _| matches!(kind, b"response.completed" | b"response.incomplete"))
        }
        Api::Messages | Api::CountTokens => named(name, data, |kind, _| kind == b"message_stop"),
        Api::Chat | Api::Completions | Api::Generate => last_chunk(&mut Scanner::new(data)).unwrap_or(false),
        Api::Inputs | Api::Pairs | Api::ModelOnly => false,
    }
}

/// A chunk with a reason why it is the last one: beside each choice, and in SGLang's own format below `meta_info`.
fn last_chunk(scanner: &mut Scanner<'_>) -> Result<bool, JsonError> {
    within(scanner, &["choices", "meta_info"], |name, scanner| {
        if name != "choices" {
            return within(scanner, &["finish_reason"], |_, scanner| finish_reason(scanner));
        }
        if scanner.peek()? != b'[' {
            return scanner.skip().map(|()| false);
        }
        scanner.open_list()?;
        while scanner.has_item()? {
            if within(scanner, &["finish_reason"], |_, scanner| finish_reason(scanner))? {
                return Ok(true);
            }
        }
        Ok(false)
    })
}

/// A reason is a word, or in SGLang's own format an object with one as its type. Those that an engine gives for its own failures are
/// none.
fn finish_reason(scanner: &mut Scanner<'_>) -> Result<bool, JsonError> {
    let is_good = |word: &str| !word.is_empty() && !matches!(word, "abort" | "error");
    match scanner.peek()? {
        b'"' => Ok(scanner.string()?.is_some_and(|word| is_good(&word))),
        b'{' => {
            within(scanner, &["type"], |_, scanner| Ok(scanner.string()?.is_some_and(|word| is_good(&word))))
        }
        _ => scanner.skip().map(|()| false),
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
        let mut first = FirstToken::new(api);
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
    fn a_stream_without_content_ends_as_it_should_only_if_the_engine_says_so() {
        let finished = |reason: &str| {
            format!("data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":{reason}}}]}}\n\n")
        };
        let has_ended = |api: Api, events: &[&str]| {
            let mut first = FirstToken::new(api);
            let has_seen = events.iter().any(|event| first.push(event.as_bytes()));
            assert!(!has_seen, "{events:?}");
            first.has_ended_empty()
        };
        let done = "data: [DONE]\n\n";
        for reason in
            ["\"stop\"", "\"length\"", "\"content_filter\"", "\"tool_calls\"", "{\"type\":\"stop\"}"]
        {
            assert!(has_ended(Api::Chat, &[&finished("null"), &finished(reason), done]), "{reason}");
            assert!(has_ended(Api::Completions, &[&finished(reason), done]), "{reason}");
        }
        let own = "data: {\"text\":\"\",\"meta_info\":{\"id\":\"a\",\"finish_reason\":{\"type\":\"length\",\"length\":1}}}\n\n";
        assert!(has_ended(Api::Generate, &[own, done]));
        let event = |kind: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\"}}\n\n");
        assert!(has_ended(Api::Messages, &[&event("message_start"), &event("message_stop")]));
        assert!(has_ended(Api::Responses, &[&event("response.created"), &event("response.completed")]));
        for (api, events) in [
            (Api::Chat, vec![finished("null"), done.to_owned()]),
            (Api::Chat, vec![finished("\"abort\""), done.to_owned()]),
            (Api::Chat, vec![finished("\"error\"")]),
            (Api::Chat, vec!["data: {\"error\":{\"code\":500}}\n\n".to_owned(), done.to_owned()]),
            (Api::Generate, vec![finished("{\"type\":\"abort\"}")]),
            (Api::Messages, vec![event("message_start"), event("error")]),
            (Api::Responses, vec![event("response.created"), event("response.failed")]),
        ] {
            let events: Vec<&str> = events.iter().map(String::as_str).collect();
            assert!(!has_ended(api, &events), "{api:?} {events:?}");
        }
    }

    #[test]
    fn content_counts_in_an_event_that_is_longer_than_what_is_kept() {
        let long = "a".repeat(100_000);
        let mut first = FirstToken::new(Api::Chat);
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
            let mut first = FirstToken::new(Api::Chat);
            for cut in cuts.windows(2) {
                prop_assert_eq!(first.push(&stream.as_bytes()[cut[0]..cut[1]]), cut[1] > at);
            }
        }

        #[test]
        fn anything_may_come(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..8)) {
            for api in [Api::Chat, Api::Responses, Api::Messages, Api::ModelOnly] {
                let mut first = FirstToken::new(api);
                for piece in &pieces {
                    first.push(piece);
                }
            }
        }
    }
}
