//! Chains over the text that engines compute.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};
use warmpath_core::cost::Weights;
use warmpath_core::ids::{CellHash, EndpointId};
use warmpath_core::prompt::{Api, Request, Unwritten};
use warmpath_core::routing::{Options, Query, Reason, choose};
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;
use warmpath_core::wire::{
    ChatJoint, ChatLiteral, ChatPiece, ChatProgram, ChatShape, ChatTable, Kind, Pool, PoolEndpoint, Pools,
    PromptFormat, Reporting, Routed, Trust,
};

/// 2026-11-26.
const NOW: Timestamp = Timestamp::from_ms(1_795_651_200_000);

/// Kinds of fields, by the numbers of `warmpath-template`.
const START: u32 = 0;
const END: u32 = 1;
const USER: u32 = 4;
const ASSISTANT: u32 = 5;

/// `<day>[u:text][a:text]...[a:`, whatever is around a message.
fn program() -> ChatProgram {
    let text = |text: &str| ChatPiece { text: text.into(), now: String::new() };
    let date = ChatPiece { text: String::new(), now: "%d".into() };
    let literal = |pieces: &[ChatPiece]| ChatLiteral { pieces: pieces.to_vec() };
    let joints = [(START, USER, 0), (USER, END, 1), (USER, ASSISTANT, 1), (ASSISTANT, USER, 2)];
    ChatProgram {
        shape: Some(ChatShape::default()),
        literals: vec![
            literal(&[text("<"), date, text(">[u:")]),
            literal(&[text("][a:")]),
            literal(&[text("][u:")]),
        ],
        tables: vec![ChatTable {
            fields: vec![START, END, USER, ASSISTANT],
            forms: vec![1; 4],
            joints: joints.map(|(from, to, literal)| ChatJoint { from, to, literal }).to_vec(),
            kept: vec![0; 18],
            ..ChatTable::default()
        }],
        ..ChatProgram::default()
    }
}

fn view(format: Option<PromptFormat>) -> View {
    let pool = Pool {
        name: "p".into(),
        models: vec!["m".into()],
        endpoints: vec![PoolEndpoint { address: "10.0.0.1:80".into(), ..PoolEndpoint::default() }],
        prompt_format: format.map(Box::new),
        ..Pool::default()
    };
    let mut view = View::default();
    view.apply(&Kind::Pools(Pools { pools: vec![pool] }).into(), Timestamp::ZERO);
    view
}

fn written() -> View {
    view(Some(PromptFormat { text_prefix: "<s>".into(), chat: Some(program()) }))
}

type Chain = (Vec<CellHash>, Option<u64>, Option<Result<(), Unwritten>>);

fn chain_at(view: &View, api: Api, body: &Value, now: Timestamp) -> Chain {
    let body = body.to_string();
    let request = Request::parse(api, body.as_bytes()).unwrap();
    let query = Query::of_request(view, api, Some(&request), body.len(), now).unwrap();
    (query.chain.clone(), query.text_bytes, query.written)
}

fn chain(view: &View, api: Api, body: &Value) -> Chain {
    chain_at(view, api, body, NOW)
}

fn chat(fields: &Value) -> Value {
    let mut body = json!({
        "model": "m",
        "messages": [
            {"role": "user", "content": "a \"question\"\n ".repeat(80)},
            {"role": "assistant", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
            {"role": "user", "content": "more ".repeat(200)},
        ],
    });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

/// What the program makes of [`chat`].
fn chat_text() -> String {
    let (first, last) = ("a \"question\"\n ".repeat(80), "more ".repeat(200));
    format!("<26>[u:{first}][a:one\ntwo][u:{last}][a:")
}

#[test]
fn a_chat_has_the_cells_of_the_text_that_its_engine_computes() {
    let view = written();
    let plain = json!({"model": "m", "prompt": chat_text(), "add_special_tokens": false});
    let (cells, bytes, is_written) = chain(&view, Api::Chat, &chat(&json!({})));
    assert_eq!(is_written, Some(Ok(())));
    assert!(cells.len() > 7);
    assert_eq!(
        (cells, bytes),
        (chain(&view, Api::Completions, &plain).0, u64::try_from(chat_text().len()).ok())
    );
    // The tokenizer's first token stands before a completion, and before a chat only if asked for.
    let prefixed = json!({"model": "m", "prompt": chat_text()});
    let asked = chat(&json!({"add_special_tokens": true}));
    assert_eq!(chain(&view, Api::Completions, &prefixed).0, chain(&view, Api::Chat, &asked).0);
    assert_ne!(chain(&view, Api::Completions, &prefixed).0, chain(&view, Api::Completions, &plain).0);
}

/// [`chat`] as `/v1/responses` has it.
fn responses(fields: &Value) -> Value {
    let text = |kind: &str, text: &str| json!([{"type": kind, "text": text}]);
    let mut body = json!({
        "model": "m",
        "input": [
            {"role": "user", "content": "a \"question\"\n ".repeat(80)},
            {"type": "message", "role": "assistant", "content": text("output_text", "one\ntwo")},
            {"type": "message", "role": "user", "content": text("input_text", &"more ".repeat(200))},
        ],
    });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

#[test]
fn a_chat_of_any_format_has_the_cells_of_the_same_text() {
    let view = written();
    let plain = json!({"model": "m", "prompt": chat_text(), "add_special_tokens": false});
    let messages =
        chat(&json!({"max_tokens": 4, "metadata": {"user_id": "u"}, "thinking": {"type": "adaptive"}}));
    let (cells, _, is_written) = chain(&view, Api::Messages, &messages);
    assert_eq!((cells, is_written), (chain(&view, Api::Completions, &plain).0, Some(Ok(()))));
    // Those of /v1/responses begin with the tokenizer's first token, as a completion does.
    let prefixed = json!({"model": "m", "prompt": chat_text()});
    let (cells, _, is_written) = chain(&view, Api::Responses, &responses(&json!({})));
    assert_eq!((cells, is_written), (chain(&view, Api::Completions, &prefixed).0, Some(Ok(()))));
}

#[test]
fn what_has_no_text_keeps_its_canonical_cells_and_says_why() {
    let (known, unknown) = (written(), view(None));
    let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}]);
    let system = json!([{"role": "system", "content": "s".repeat(600)}, {"role": "user", "content": "u"}]);
    let cases = [
        (Api::Chat, chat(&json!({"messages": image})), Unwritten::Media),
        (Api::Chat, chat(&json!({"messages": system})), Unwritten::Uncovered),
        (Api::Chat, chat(&json!({"chat_template": "{{ 1 }}"})), Unwritten::Arguments),
        (
            Api::Chat,
            chat(&json!({"tools": [{"type": "function", "function": {"name": "f"}}]})),
            Unwritten::Arguments,
        ),
        (Api::Chat, chat(&json!({"continue_final_message": true})), Unwritten::Malformed),
        (Api::Completions, json!({"model": "m", "prompt": [1, 2, 3]}), Unwritten::Tokens),
        (
            Api::Completions,
            json!({"model": "m", "prompt": "p", "truncate_prompt_tokens": 5}),
            Unwritten::Arguments,
        ),
        (Api::Messages, chat(&json!({"system": "s".repeat(600)})), Unwritten::Uncovered),
        (Api::Messages, chat(&json!({"thinking": {"type": "on"}})), Unwritten::Malformed),
        (Api::Responses, responses(&json!({"previous_response_id": "resp_1"})), Unwritten::Stored),
        (Api::Responses, responses(&json!({"truncation": "auto"})), Unwritten::Arguments),
        (Api::Responses, responses(&json!({"input": [{"type": "web_search_call"}]})), Unwritten::Malformed),
        (Api::Generate, json!({"model": "m", "text": "t"}), Unwritten::Api),
    ];
    for (api, body, reason) in cases {
        let (cells, bytes, is_written) = chain(&known, api, &body);
        assert_eq!(is_written, Some(Err(reason)), "{body}");
        assert_eq!((cells, bytes, None), chain(&unknown, api, &body), "{body}");
    }
    assert_eq!(
        chain_at(&known, Api::Chat, &chat(&json!({})), Timestamp::ZERO).2,
        Some(Err(Unwritten::NoClock))
    );
}

#[test]
fn what_an_engine_holds_of_a_prompt_that_has_no_text_is_learned_where_all_else_is_reported() {
    let endpoint = EndpointId::of("10.0.0.1:80").0;
    let reason = |body: &Value| {
        let mut view = written();
        let cells = chain(&view, Api::Chat, body).0.into_iter().map(|CellHash(cell)| cell).collect();
        let whole = Reporting { endpoint, trust: Trust::Whole.into(), is_cleared: true };
        for kind in [Kind::Reporting(whole), Kind::Routed(Routed { endpoint, cells, ..Routed::default() })] {
            view.apply(&kind.into(), NOW);
        }
        let body = body.to_string();
        let request = Request::parse(Api::Chat, body.as_bytes()).unwrap();
        let query = Query::of_request(&view, Api::Chat, Some(&request), body.len(), NOW).unwrap();
        let options = Options { alternates: 0, nonce: 0, now: NOW, weights: Weights::default() };
        choose(&query, &options).unwrap().reason
    };
    assert_eq!(reason(&chat(&json!({}))), Reason::Cold, "it is not among the reports");
    assert_eq!(reason(&chat(&json!({"chat_template": "{{ 1 }}"}))), Reason::Warm);
}

#[test]
fn text_of_another_format_never_matches() {
    let others = [
        view(None),
        view(Some(PromptFormat { text_prefix: String::new(), chat: Some(program()) })),
        view(Some(PromptFormat { text_prefix: "<s>".into(), chat: None })),
    ];
    let body = chat(&json!({}));
    let (cells, _, _) = chain(&written(), Api::Chat, &body);
    for other in &others {
        assert_ne!(chain(other, Api::Chat, &body).0.first(), cells.first());
    }
    assert_eq!(chain(others.last().unwrap(), Api::Chat, &body).2, Some(Err(Unwritten::NoTemplate)));
}
