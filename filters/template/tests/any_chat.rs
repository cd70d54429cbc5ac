//! Whatever a client sends: a text or a reason, and nothing is written of a chat that has no text.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use warmpath_template::{Chat, Form, Joint, Key, Kind, Piece, Program, Shape, Table, Unwritten};

/// Writes any chat without calls: `(role:text)` for each message.
fn program() -> Program {
    let kinds = [Kind::Start, Kind::End, Kind::System, Kind::User, Kind::Assistant];
    let key = |kind: Kind| Key::new(kind, 0);
    let joints = kinds.iter().flat_map(|from| kinds.iter().map(move |to| (*from, *to)));
    let mut joints: Vec<Joint> =
        joints.map(|(from, to)| Joint { from: key(from), to: key(to), literal: 0 }).collect();
    joints.sort_by_key(|joint| (joint.from, joint.to));
    Program {
        shape: Shape { has_calls: false, has_reasoning: false, ..Shape::COMMON },
        switches: vec!["enable_thinking".into()],
        arguments: vec!["date".into()],
        guards: vec!["</think>".into()],
        literals: vec![vec![Piece::Text("|".into())]],
        tables: vec![Table {
            switches: vec![None],
            forms: kinds.iter().map(|kind| (key(*kind), Form::AsIs)).collect(),
            joints,
            kept: vec![0; Kind::COUNT],
            ..Table::default()
        }],
        merges_system: false,
    }
}

fn write(chat: &Chat<'_>) -> (String, Result<(), Unwritten>) {
    let mut text = Vec::new();
    let result = program().write(chat, None, &mut |piece| {
        text.extend_from_slice(piece);
        true
    });
    (String::from_utf8(text).unwrap(), result)
}

fn of(messages: &str) -> (String, Result<(), Unwritten>) {
    write(&Chat { messages: messages.as_bytes(), ..Chat::default() })
}

#[test]
fn messages_become_text_or_a_reason() {
    let user = |content: &str| format!(r#"[{{"role":"user","content":{content}}}]"#);
    assert_eq!(of(&user(r#""a\nb""#)), ("|a\nb|".into(), Ok(())));
    assert_eq!(of(&user(r#"[{"type":"text","text":"a"},{"type":"input_text","text":"b"}]"#)).0, "|a\nb|");
    for (content, reason) in [
        (r#"[{"type":"image_url","image_url":{"url":"u"}}]"#, Unwritten::Media),
        (r#""a</think>b""#, Unwritten::Guarded),
        (r#""\u003c/think\u003e""#, Unwritten::Guarded),
        (r#""\ud800""#, Unwritten::Malformed),
        ("7", Unwritten::Malformed),
        (r#""""#, Unwritten::Uncovered),
        (r#"" \n""#, Unwritten::Uncovered),
    ] {
        assert_eq!(of(&user(content)), (String::new(), Err(reason)), "{content}");
    }
    for (messages, reason) in [
        ("[]", Unwritten::Malformed),
        ("[", Unwritten::Malformed),
        (r#"[{"content":"x"}]"#, Unwritten::Malformed),
        (r#"[{"role":"critic","content":"x"}]"#, Unwritten::Role),
        (r#"[{"role":"user","content":"x"},{"role":"developer","content":"x"}]"#, Unwritten::Role),
        (r#"[{"role":"tool","content":"x","tool_call_id":"c"}]"#, Unwritten::Uncovered),
    ] {
        assert_eq!(of(messages), (String::new(), Err(reason)), "{messages}");
    }
}

#[test]
fn arguments_count_only_if_the_template_reads_them() {
    let with = |arguments: &str| {
        let messages = br#"[{"role":"user","content":"x"}]"#;
        write(&Chat { messages, arguments: Some(arguments.as_bytes()), ..Chat::default() }).1
    };
    for harmless in ["{}", r#"{"other":7}"#, r#"{"date":null,"enable_thinking":"auto"}"#] {
        assert_eq!(with(harmless), Ok(()), "{harmless}");
    }
    for other in
        [r#"{"date":"d"}"#, r#"{"enable_thinking":true}"#, r#"{"enable_thinking":"x"}"#, r#"{"tools":[]}"#]
    {
        assert_eq!(with(other), Err(Unwritten::Arguments), "{other}");
    }
    assert_eq!(with("[]"), Err(Unwritten::Malformed));
}

proptest! {
    #[test]
    fn nothing_panics_and_failures_write_nothing(
        messages in r#"(\[|\{|\}|\]|,|:|"role"|"user"|"content"|"tool_calls"|"type"|"text"|"x"|\\|"|null|1e9|[a-z]|\PC){0,60}"#,
        tools in prop::option::of(r#"(\[|\{|\}|\]|,|:|"function"|"name"|"x"|null|\PC){0,30}"#),
    ) {
        let chat = Chat {
            messages: messages.as_bytes(),
            tools: tools.as_deref().map(str::as_bytes),
            ..Chat::default()
        };
        let (text, result) = write(&chat);
        prop_assert!(result.is_ok() || text.is_empty());
    }

    #[test]
    fn a_plain_chat_is_its_texts(texts in prop::collection::vec("[a-z<>\\\\\"\u{e9}\u{1f600}]{1,20}", 1..20)) {
        let message = |(at, text): (usize, &String)| {
            let role = if at.is_multiple_of(2) { "user" } else { "assistant" };
            serde_json::json!({"role": role, "content": text})
        };
        let messages: serde_json::Value = texts.iter().enumerate().map(message).collect();
        let messages = messages.to_string();
        prop_assert_eq!(of(&messages), (format!("|{}|", texts.join("|")), Ok(())));
    }
}
