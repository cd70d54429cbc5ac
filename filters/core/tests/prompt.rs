//! Request bodies and their canonical text: goldens, differences that must not matter, and input that must not panic.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use warmpath_core::ids::CellHash;
use warmpath_core::limits::{BODY_BYTES_MAX, CELLS_PER_PROMPT_MAX};
use warmpath_core::prompt::{Api, PromptError, Request, Root, cells_of};

const APIS: [Api; 9] = [
    Api::Chat,
    Api::Completions,
    Api::Responses,
    Api::Messages,
    Api::CountTokens,
    Api::Generate,
    Api::Inputs,
    Api::Pairs,
    Api::ModelOnly,
];

/// Input and its expected text, with every byte escaped that is not printable ASCII.
const GOLDENS: [(&str, Api, &str, &str); 8] = [
    ("chat", Api::Chat, include_str!("golden/chat.json"), include_str!("golden/chat.txt")),
    (
        "completions",
        Api::Completions,
        include_str!("golden/completions.json"),
        include_str!("golden/completions.txt"),
    ),
    ("tokens", Api::Completions, include_str!("golden/tokens.json"), include_str!("golden/tokens.txt")),
    (
        "responses",
        Api::Responses,
        include_str!("golden/responses.json"),
        include_str!("golden/responses.txt"),
    ),
    ("messages", Api::Messages, include_str!("golden/messages.json"), include_str!("golden/messages.txt")),
    ("generate", Api::Generate, include_str!("golden/generate.json"), include_str!("golden/generate.txt")),
    ("inputs", Api::Inputs, include_str!("golden/inputs.json"), include_str!("golden/inputs.txt")),
    ("rerank", Api::Pairs, include_str!("golden/rerank.json"), include_str!("golden/rerank.txt")),
];

fn text(api: Api, body: &str) -> Vec<u8> {
    let mut text = Vec::new();
    Request::parse(api, body.as_bytes()).unwrap().text(&mut text);
    text
}

fn readable(text: &[u8]) -> String {
    let escaped = |byte: &u8| match byte {
        b'\n' => "\n".to_owned(),
        b'"' => "\"".to_owned(),
        byte => byte.escape_ascii().to_string(),
    };
    text.iter().map(escaped).collect()
}

/// Parses and hashes any bytes.
fn try_one(api: Api, body: &[u8]) {
    if let Ok(request) = Request::parse(api, body) {
        let mut chain: Vec<CellHash> = Vec::new();
        cells_of(&request, Root::new("p", "", ""), 32, &mut chain);
        assert!(chain.len() <= CELLS_PER_PROMPT_MAX);
        let _ = (request.exact_tokens(), request.output_tokens_max);
    }
}

fn try_all(body: &[u8]) {
    for api in APIS {
        try_one(api, body);
    }
}

#[test]
fn canonical_text_matches_the_goldens() {
    for (name, api, body, expected) in GOLDENS {
        assert_eq!(readable(&text(api, body)).trim_end(), expected.trim_end(), "golden/{name}.txt");
    }
}

#[test]
fn settings_of_a_body_are_read() {
    let request = Request::parse(Api::Chat, GOLDENS[0].2.as_bytes()).unwrap();
    assert_eq!((request.model.as_ref(), request.is_stream, request.has_usage_in_stream), ("m", true, true));
    assert_eq!(request.output_tokens_max, None, "-1 means no bound to engines that take it");
    assert_eq!(Request::parse(Api::Completions, GOLDENS[2].2.as_bytes()).unwrap().exact_tokens(), Some(3));
    let request = Request::parse(Api::Messages, GOLDENS[4].2.as_bytes()).unwrap();
    assert_eq!(request.output_tokens_max, Some(64));
}

#[test]
fn paths_name_formats() {
    let of = Api::of_path;
    assert_eq!(of("/v1/chat/completions?x=/v1/messages"), Api::Chat);
    assert_eq!(of("/tenant/v1/x/v1/completions/"), Api::Completions);
    assert_eq!(of("/v1/responses"), Api::Responses);
    assert_eq!(of("/v1/messages/count_tokens"), Api::CountTokens);
    assert_eq!([of("/generate"), of("/x/inference/v1/generate")], [Api::Generate; 2]);
    assert_eq!([of("/v1/embeddings"), of("/v1/classify"), of("/tokenize?x")], [Api::Inputs; 3]);
    assert_eq!([of("/score"), of("/v1/rerank"), of("/v2/rerank/")], [Api::Pairs; 3]);
    assert_eq!([of(""), of("/detokenize"), of("/v2/chat/completions")], [Api::ModelOnly; 3]);
    assert_eq!(of("/v1/audio/transcriptions"), Api::ModelOnly);
}

#[test]
fn readme_lists_the_paths_whose_prompt_is_read() {
    let readme = include_str!("../../../README.md");
    for (path, _) in Api::PATHS {
        assert!(readme.contains(&format!("{path}`")), "README does not list {path}");
    }
}

#[test]
fn a_prompt_has_the_same_text_whatever_the_path() {
    let plain = text(Api::Completions, r#"{"prompt":"a\"b"}"#);
    let ids = text(Api::Completions, r#"{"prompt":[1,2,3]}"#);
    let same = [
        (Api::Generate, r#"{"text":"a\"b","sampling_params":{"max_new_tokens":4}}"#, &plain),
        (Api::Generate, r#"{"text":["a\"b","c"],"sampling_params":[{}]}"#, &plain),
        (Api::Generate, r#"{"input_ids":[1,2,3]}"#, &ids),
        (Api::Generate, r#"{"input_ids":[[1,2,3],[4]]}"#, &ids),
        (Api::Generate, r#"{"token_ids":[1,2,3],"sampling_params":{}}"#, &ids),
        (Api::Inputs, r#"{"input":"a\"b"}"#, &plain),
        (Api::Inputs, r#"{"input":["a\"b","c"]}"#, &plain),
        (Api::Inputs, r#"{"input":[1,2,3]}"#, &ids),
        (Api::Inputs, r#"{"input":[[1,2,3],[4]]}"#, &ids),
        (Api::Inputs, r#"{"prompt":"a\"b"}"#, &plain),
        (Api::Inputs, r#"{"texts":["a\"b"],"images":null}"#, &plain),
        (Api::Inputs, r#"{"input":{"text":"a\"b"}}"#, &plain),
        (Api::Inputs, r#"{"inputs":[{"content":[{"type":"text","text":"a\"b"}]}]}"#, &plain),
    ];
    for (api, body, expected) in same {
        assert_eq!(readable(&text(api, body)), readable(expected), "{body}");
    }
    let chat = r#"{"tools":[],"messages":[{"role":"user","content":"u"}]}"#;
    assert_eq!(text(Api::Inputs, chat), text(Api::Chat, chat));
}

#[test]
fn what_an_engine_may_take_is_never_refused_for_its_shape() {
    for value in ["3", "{}", "[]", "[{}]", "[[{}]]", "[1,\"a\"]", "[null]", "true", "[[\"a\",1]]"] {
        let names =
            ["input", "prompt", "text", "messages", "query", "documents", "sampling_params", "image_data"];
        for name in names {
            let body = format!(r#"{{"model":"m","query":"q","documents":["d"],"{name}":{value}}}"#);
            let body =
                body.replace(r#""query":"q","documents":["d"],"query""#, r#""documents":["d"],"query""#);
            let body = body.replace(r#""documents":["d"],"documents""#, r#""documents""#);
            for api in [Api::Generate, Api::Inputs, Api::Pairs] {
                let request = Request::parse(api, body.as_bytes());
                assert_eq!(request.map(|request| request.model.into_owned()), Ok("m".to_owned()), "{body}");
            }
        }
    }
}

#[test]
fn settings_of_generate_are_read() {
    let body = r#"{"input_ids":[1,2],"stream":true,"lora_path":"l","sampling_params":{"max_new_tokens":7}}"#;
    let request = Request::parse(Api::Generate, body.as_bytes()).unwrap();
    assert_eq!((request.exact_tokens(), request.output_tokens_max), (Some(2), Some(7)));
    assert_eq!((request.is_stream, request.cache_salt.as_deref()), (true, Some("l")));
    let body = r#"{"token_ids":[1,2],"cache_salt":"s","sampling_params":{"max_tokens":7}}"#;
    let request = Request::parse(Api::Generate, body.as_bytes()).unwrap();
    assert_eq!((request.output_tokens_max, request.cache_salt.as_deref()), (Some(7), Some("s")));
}

#[test]
fn cache_control_markers_do_not_matter() {
    let mark =
        |at: usize, here: usize| if at == here { r#","cache_control":{"type":"ephemeral"}"# } else { "" };
    let body = |at: usize| {
        format!(
            r#"{{"model":"m","system":[{{"type":"text","text":"s"{}}}],"tools":[{{"name":"t","input_schema":{{}}{}}}],
            "messages":[{{"role":"user","content":[{{"type":"text","text":"u"{}}},{{"type":"image","source":{{"data":"A"}}{}}},
            {{"type":"tool_result","tool_use_id":"i","content":"r"{}}},{{"type":"redacted_thinking","data":"d"{}}}]}}]}}"#,
            mark(at, 0),
            mark(at, 1),
            mark(at, 2),
            mark(at, 3),
            mark(at, 4),
            mark(at, 5)
        )
    };
    let plain = text(Api::Messages, &body(usize::MAX));
    for at in 0..6 {
        assert_eq!(readable(&text(Api::Messages, &body(at))), readable(&plain), "mark {at}");
    }
}

#[test]
fn a_string_and_a_single_part_have_the_same_text() {
    let string = r#"{"messages":[{"role":"user","content":"a\"b"}]}"#;
    let part = r#"{"messages":[{"content":[{"text":"a\"b","type":"text"}],"role":"user"}]}"#;
    for api in [Api::Chat, Api::Messages] {
        assert_eq!(text(api, string), text(api, part));
    }
    assert_eq!(
        text(Api::Responses, r#"{"input":"x"}"#),
        text(Api::Responses, r#"{"input":[{"role":"user","content":"x"}]}"#)
    );
}

#[test]
fn different_images_have_different_text() {
    let with = |image: &str| {
        text(
            Api::Chat,
            &format!(
                r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":"{image}"}}]}}]}}"#
            ),
        )
    };
    assert_eq!(with("A"), with("A"));
    assert_ne!(with("A"), with("B"));
}

#[test]
fn errors_are_distinguished() {
    let error = |body: &[u8]| Request::parse(Api::Chat, body).unwrap_err();
    assert_eq!(error(b""), PromptError::Empty);
    assert_eq!(error(&vec![b' '; BODY_BYTES_MAX + 1]), PromptError::TooLarge);
    assert_eq!(error(br#"{"model":"m","mess"#), PromptError::Truncated);
    assert_eq!(error(b"{\"model\":\"\xff\"}"), PromptError::NotUtf8);
    assert_eq!(error(b"model=m"), PromptError::NotJson);
    assert_eq!(error(br#"{"model":7}"#), PromptError::WrongShape);
    assert_eq!(error(b" [\"a\"]"), PromptError::WrongShape);
    let deep = format!("{{\"x\":{}", "[".repeat(100_000));
    assert_eq!(error(deep.as_bytes()), PromptError::TooDeep);
}

#[test]
fn the_last_of_equal_keys_counts_as_in_the_engine() {
    let twice = r#"{"model":"a","stream":true,"messages":[{"role":"user","content":"no","content":"hi"}],"model":"b","stream":false}"#;
    let once = r#"{"model":"b","messages":[{"role":"user","content":"hi"}]}"#;
    let request = Request::parse(Api::Chat, twice.as_bytes()).unwrap();
    assert_eq!((request.model.as_ref(), request.is_stream), ("b", false));
    assert_eq!(text(Api::Chat, twice), text(Api::Chat, once));
    let none = r#"{"model":"b","prompt":"text","prompt":null}"#;
    assert_eq!(text(Api::Completions, none), b"");
}

#[test]
fn a_body_cut_anywhere_is_an_error_or_a_prompt() {
    for (_, _, body, _) in GOLDENS {
        for end in 0..body.len() {
            try_all(&body.as_bytes()[..end]);
        }
    }
}

#[test]
fn depth_and_breadth_take_no_stack() {
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    for inner in [format!("{open}{close}"), open.clone(), r#"{"a":"#.repeat(100_000)] {
        for field in ["messages", "prompt", "input", "tools", "system", "other"] {
            try_all(format!("{{\"{field}\":{inner}}}").as_bytes());
        }
        try_all(format!(r#"{{"messages":[{{"role":"user","content":{inner}}}]}}"#).as_bytes());
        try_all(
            format!(r#"{{"messages":[{{"content":[{{"type":"tool_result","content":{inner}}}]}}]}}"#)
                .as_bytes(),
        );
    }
}

#[test]
fn the_largest_bodies_are_read() {
    let largest = |open: &str, item: &str, close: &str| {
        let count = (BODY_BYTES_MAX - open.len() - close.len()) / item.len();
        open.to_owned() + &item.repeat(count) + close
    };
    try_one(Api::Chat, largest(r#"{"messages":["#, "{},", "{}]}").as_bytes());
    try_one(Api::Completions, largest(r#"{"prompt":["#, "[],", "[1]]}").as_bytes());
    try_one(Api::Completions, largest(r#"{"prompt":""#, r"\n", r#""}"#).as_bytes());
}

#[test]
fn all_token_ids_are_counted_however_many_are_read() {
    let body = format!(r#"{{"prompt":[{}7]}}"#, "7,".repeat(1_000_000));
    let request = Request::parse(Api::Completions, body.as_bytes()).unwrap();
    assert_eq!(request.exact_tokens(), Some(1_000_001));
    let mut chain = Vec::new();
    cells_of(&request, Root::new("p", "", ""), 256, &mut chain);
    assert_eq!(chain.len(), CELLS_PER_PROMPT_MAX);
}

/// Messages of a conversation: a role and a text each.
fn conversation() -> impl Strategy<Value = Vec<(String, String)>> {
    let role = prop::sample::select(vec!["system", "developer", "user", "assistant"]).prop_map(str::to_owned);
    prop::collection::vec((role, "\\PC{0,60}"), 1..8)
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn body(messages: &[(String, String)]) -> String {
    let messages: Vec<String> = messages
        .iter()
        .map(|(role, text)| format!(r#"{{"role":{},"content":{}}}"#, quoted(role), quoted(text)))
        .collect();
    format!(r#"{{"model":"m","tools":[{{"name":"t"}}],"messages":[{}]}}"#, messages.join(","))
}

/// The same body with its keys reordered, other whitespace, other settings and the older name of a role.
fn reordered_body(messages: &[(String, String)]) -> String {
    let role = |role: &str| if role == "developer" { "system".to_owned() } else { role.to_owned() };
    let messages: Vec<String> = messages
        .iter()
        .map(|(of, text)| {
            format!("{{ \"name\":\"n\",\n\"content\" : {} , \"role\":{}}}", quoted(text), quoted(&role(of)))
        })
        .collect();
    format!(
        r#" {{"messages" : [ {} ], "seed":1, "tools": [{{"name":"t"}}], "model":"m", "top_p":0.1}}"#,
        messages.join(" , ")
    )
}

fn chain(body: &str) -> Vec<CellHash> {
    let mut chain = Vec::new();
    cells_of(&Request::parse(Api::Chat, body.as_bytes()).unwrap(), Root::new("p", "", ""), 32, &mut chain);
    chain
}

proptest! {
    #[test]
    fn the_order_of_keys_does_not_matter(messages in conversation()) {
        prop_assert_eq!(chain(&body(&messages)), chain(&reordered_body(&messages)));
    }

    #[test]
    fn each_turn_extends_the_one_before(messages in conversation()) {
        let whole = chain(&body(&messages));
        for turns in 1..messages.len() {
            let earlier = chain(&body(&messages[..turns]));
            prop_assert_eq!(&whole[..earlier.len()], earlier.as_slice());
        }
    }

    #[test]
    fn mutated_bodies_do_not_panic(
        golden in 0..GOLDENS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..4, prop::collection::vec(any::<u8>(), 0..4)), 1..12),
        pieces in prop::collection::vec(prop::sample::select(vec!["\"", "\\", "\\u", "\\ud800", "{", "}", "[", "]", ",", "null", "\"text\":", "1e999"]), 0..4),
    ) {
        let mut body = GOLDENS[golden].2.as_bytes().to_vec();
        let mut pieces = pieces.into_iter();
        for (at, removed, mut added) in changes {
            if let Some(piece) = pieces.next() {
                added = piece.into();
            }
            let at = at.index(body.len() + 1);
            let end = (at + removed).min(body.len());
            body.splice(at..end, added);
        }
        try_all(&body);
    }
}

/// A messages body whose system prompt begins with this line, as blocks and as one string.
fn with_billing_line(line: &str) -> [String; 2] {
    let block = |text: &str| serde_json::json!({"type": "text", "text": text});
    let messages = serde_json::json!([{"role": "user", "content": "u"}]);
    [
        serde_json::json!([block(line), block("You are an agent.")]),
        serde_json::json!(format!("{line}\nYou are an agent.")),
    ]
    .map(|system| serde_json::json!({"model": "m", "system": system, "messages": messages}).to_string())
}

#[test]
fn a_billing_line_that_changes_with_each_request_does_not_matter() {
    let line = |number: u32| format!("x-anthropic-billing-header: cc_version=2.1.99; cch={number:05x};");
    let plain = r#"{"model":"m","system":"You are an agent.","messages":[{"role":"user","content":"u"}]}"#;
    for number in [1, 2] {
        for body in with_billing_line(&line(number)) {
            assert_eq!(
                readable(&text(Api::Messages, &body)),
                readable(&text(Api::Messages, plain)),
                "{body}"
            );
        }
    }
    // Escaped, as the whole of the system prompt, and as a message of its own.
    let escaped = plain.replace("You are", r"\u0078-anthropic-billing-header: a\u000aYou are");
    assert_eq!(text(Api::Messages, &escaped), text(Api::Messages, plain));
    let only = r#"{"messages":[{"role":"system","content":"x-anthropic-billing-header: a"}]}"#;
    assert_eq!(text(Api::Messages, only), b"<|im_start|>system\n<|im_end|>\n");
}

#[test]
fn a_billing_line_in_a_translated_chat_does_not_matter() {
    let chat = |content: &str| {
        text(Api::Chat, &format!(r#"{{"messages":[{{"role":"system","content":{content}}}]}}"#))
    };
    let plain = chat(r#""You are an agent.""#);
    for content in [
        r#""x-anthropic-billing-header: cch=1;\nYou are an agent.""#,
        r#"[{"type":"text","text":"x-anthropic-billing-header: cch=2;"},{"type":"text","text":"You are an agent."}]"#,
        r#"[{"type":"text","text":"x-anthropic-billing-header: cch=3;\nYou are an agent."}]"#,
    ] {
        assert_eq!(readable(&chat(content)), readable(&plain), "{content}");
    }
}

#[test]
fn only_what_engines_cut_out_is_left_out() {
    let differs = |api: Api, body: &dyn Fn(&str) -> String| text(api, &body("a")) != text(api, &body("b"));
    let user = |cch: &str| {
        format!(r#"{{"messages":[{{"role":"user","content":"x-anthropic-billing-header: {cch}"}}]}}"#)
    };
    assert!(differs(Api::Messages, &user));
    assert!(differs(Api::Chat, &user));
    let line = |cch: &str| {
        format!(r#"{{"messages":[{{"role":"system","content":"x-anthropic-billing-header: a\n{cch}"}}]}}"#)
    };
    assert!(differs(Api::Chat, &line));
    let other = |cch: &str| format!(r#"{{"system":"x-anthropic-billing: {cch}","messages":[]}}"#);
    assert!(differs(Api::Messages, &other));
}

#[test]
fn the_prefixes_that_are_left_out_can_be_configured() {
    let [blocks, string] = with_billing_line("volatile: 1");
    let plain = r#"{"model":"m","system":"You are an agent.","messages":[{"role":"user","content":"u"}]}"#;
    let prefixes = ["other".to_owned(), "volatile:".to_owned()];
    for body in [&blocks, &string] {
        let mut found = Vec::new();
        Request::parse(Api::Messages, body.as_bytes()).unwrap().omitting(&prefixes).text(&mut found);
        assert_eq!(readable(&found), readable(&text(Api::Messages, plain)));
    }
    let [blocks, _] = with_billing_line("x-anthropic-billing-header: 1");
    let mut found = Vec::new();
    Request::parse(Api::Messages, blocks.as_bytes()).unwrap().omitting(&[]).text(&mut found);
    assert_ne!(found, text(Api::Messages, &blocks));
}

#[test]
fn reasoning_and_calls_that_a_client_sends_back_are_part_of_the_prompt() {
    let chat = |field: &str| {
        let message = format!(r#"{{"role":"assistant","content":"c",{field}}}"#);
        text(Api::Chat, &format!(r#"{{"messages":[{message},{{"role":"user","content":"u"}}]}}"#))
    };
    let none = chat(r#""name":null"#);
    for (field, other) in [
        (r#""reasoning_content":"a""#, r#""reasoning_content":"b""#),
        (r#""function_call":{"name":"a"}"#, r#""function_call":{"name":"b"}"#),
        (r#""tool_calls":[{"id":"a"}]"#, r#""tool_calls":[{"id":"b"}]"#),
    ] {
        assert_ne!(chat(field), chat(other), "{field}");
        assert_ne!(chat(field), none, "{field}");
    }
    assert_eq!(chat(r#""reasoning":"a""#), chat(r#""reasoning_content":"a","reasoning":null"#));
    assert_eq!(chat(r#""reasoning":null,"tool_calls":null"#), none);
}
