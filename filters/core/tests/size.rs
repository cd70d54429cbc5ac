//! The size of prompts: what the engine sees counts, whatever the body holds besides.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use serde_json::{Value, json};
use warmpath_core::limits::CELL_BYTES_DEFAULT;
use warmpath_core::prompt::{Api, Media, MediaKind, Request, Root, Size, cells_of};

fn size_of(api: Api, body: &str) -> Size {
    let request = Request::parse(api, body.as_bytes()).unwrap();
    cells_of(&request, Root::new("p", "", ""), CELL_BYTES_DEFAULT, &mut Vec::new()).size
}

fn size(api: Api, body: &Value) -> Size {
    size_of(api, &body.to_string())
}

fn media(kinds: &[MediaKind]) -> Media {
    let mut media = Media::default();
    for kind in kinds {
        media.add(*kind);
    }
    media
}

fn chat(content: &Value) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": content}]})
}

#[test]
fn an_image_is_a_part_and_not_its_bytes() {
    let data = format!("data:image/png;base64,{}", "iVBORw0KGgo".repeat(300_000));
    let image = json!({"type": "image_url", "image_url": {"url": data}});
    let seen = size(Api::Chat, &chat(&json!([{"type": "text", "text": "What is this?"}, image])));
    assert_eq!(seen.media, media(&[MediaKind::Image]));
    assert!(seen.text_bytes < 100, "{}", seen.text_bytes);

    let input = json!([{"role": "user", "content": [{"type": "input_image", "image_url": data}]}]);
    let seen = size(Api::Responses, &json!({"model": "m", "input": input}));
    assert!(seen.media == media(&[MediaKind::Image]) && seen.text_bytes < 100, "{seen:?}");

    let source = json!({"type": "base64", "media_type": "image/png", "data": data});
    let image = json!({"type": "image", "source": source});
    let result = json!({"type": "tool_result", "tool_use_id": "t", "content": [image]});
    let seen = size(Api::Messages, &chat(&json!([image, result])));
    assert_eq!(seen.media, media(&[MediaKind::Image, MediaKind::Image]));
    assert!(seen.text_bytes < 150, "{}", seen.text_bytes);
}

#[test]
fn every_kind_of_part_is_counted_as_what_it_is() {
    let kinds = [
        ("image_url", MediaKind::Image),
        ("image_embeds", MediaKind::Image),
        ("input_audio", MediaKind::Audio),
        ("audio_url", MediaKind::Audio),
        ("video_url", MediaKind::Video),
        ("file", MediaKind::File),
    ];
    for (name, kind) in kinds {
        let seen = size(Api::Chat, &chat(&json!([{"type": name, name: {"data": "x".repeat(9_000)}}])));
        assert_eq!(seen.media, media(&[kind]), "{name}");
        assert!(seen.text_bytes < 100, "{name}");
    }
    let document = json!({"type": "document", "source": {"data": "x".repeat(9_000)}});
    assert_eq!(size(Api::Messages, &chat(&json!([document]))).media, media(&[MediaKind::File]));
}

#[test]
fn escaped_text_is_as_long_as_it_is_for_the_engine() {
    let text = "\u{6f22}\u{5b57}".repeat(2_000);
    let plain = chat(&json!(text)).to_string();
    let escaped = plain.replace('\u{6f22}', "\\u6f22").replace('\u{5b57}', "\\u5b57");
    assert!(escaped.len() > plain.len() * 19 / 10);
    assert_eq!(size_of(Api::Chat, &escaped), size_of(Api::Chat, &plain));
    let tool = json!({"name": "f", "description": text, "input_schema": {"description": text}});
    let call = json!({"id": "c", "function": {"name": "f", "arguments": text}});
    let message = json!({"role": "assistant", "tool_calls": [call]});
    let item = json!({"type": "function_call", "name": "f", "arguments": text});
    for (api, body) in [
        (Api::Chat, json!({"tools": [tool], "messages": [message]})),
        (Api::Messages, json!({"tools": [tool], "messages": []})),
        (Api::Responses, json!({"tools": [tool], "input": [item]})),
        (Api::Completions, json!({"prompt": [text, text]})),
        (Api::Pairs, json!({"query": text, "documents": [text, text]})),
    ] {
        let plain = body.to_string();
        let escaped = plain.replace('\u{6f22}', "\\u6f22").replace('\u{5b57}', "\\u5b57");
        assert_eq!(size_of(api, &escaped), size_of(api, &plain), "{api:?}");
    }
}

#[test]
fn fields_that_no_prompt_contains_do_not_count() {
    let mut body = chat(&json!("hello"));
    let before = size(Api::Chat, &body);
    body["user"] = json!("x".repeat(300_000));
    body["metadata"] = json!({"padding": "x".repeat(300_000)});
    assert_eq!(size(Api::Chat, &body), before);
    let unknown =
        json!([{"type": "text", "text": "hello"}, {"type": "mystery", "padding": "x".repeat(300_000)}]);
    assert!(size(Api::Chat, &chat(&unknown)).text_bytes < 5_000);
}

#[test]
fn text_beyond_the_cells_counts() {
    let seen = size(Api::Chat, &chat(&json!("x".repeat(3_000_000))));
    assert!((3_000_000..3_000_100).contains(&seen.text_bytes), "{}", seen.text_bytes);
}

#[test]
fn all_prompts_of_a_list_count() {
    let seen =
        size(Api::Completions, &json!({"model": "m", "prompt": ["x".repeat(1_000), "y".repeat(2_000)]}));
    assert_eq!(seen.text_bytes, 3_000);
}

#[test]
fn every_document_is_computed_with_the_query() {
    let body = json!({"model": "m", "query": "q".repeat(1_000), "documents": vec!["d".repeat(300); 4]});
    let seen = size(Api::Pairs, &body).text_bytes;
    assert!((5_200..5_300).contains(&seen), "{seen}");
    let body = json!({"text_1": ["q".repeat(1_000), "r".repeat(500)], "text_2": ["d", "e"]});
    let seen = size(Api::Pairs, &body).text_bytes;
    assert!((1_502..1_600).contains(&seen), "{seen}");
}

#[test]
fn images_beside_a_prompt_are_parts_and_not_their_bytes() {
    let data = "x".repeat(9_000);
    let generate = |images: Value| size(Api::Generate, &json!({"text": "hello", "image_data": images}));
    for (images, count) in [(json!(data), 1), (json!([data, {"url": data}]), 2), (json!(null), 0)] {
        let seen = generate(images);
        assert_eq!(seen.media, media(&vec![MediaKind::Image; count]));
        assert!(seen.text_bytes < 100, "{seen:?}");
    }
    let inputs = json!({"input": [{"text": "a", "image": data}, {"image": data}]});
    assert_eq!(size(Api::Inputs, &inputs).media, media(&[MediaKind::Image; 2]));
    let image = json!({"type": "image_url", "image_url": {"url": data}});
    let pairs = json!({"query": "q", "documents": [{"content": [image]}, [image]]});
    let seen = size(Api::Pairs, &pairs);
    assert!(seen.media == media(&[MediaKind::Image; 2]) && seen.text_bytes < 200, "{seen:?}");
    assert!(size(Api::Completions, &json!({"prompt_embeds": data})).text_bytes < 5_000);
}

#[test]
fn an_image_in_the_output_of_a_call_is_a_part() {
    let data = "x".repeat(9_000);
    let outputs = [
        json!({"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": data}]}),
        json!({"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "image_url": data}}),
        json!({"type": "image_generation_call", "id": "i", "result": data}),
    ];
    for output in outputs {
        let seen = size(Api::Responses, &json!({"input": [output]}));
        assert!(seen.media == media(&[MediaKind::Image]) && seen.text_bytes < 200, "{output}: {seen:?}");
    }
    let text = json!({"type": "function_call_output", "call_id": "c", "output": "a cat"});
    assert!(size(Api::Responses, &json!({"input": [text]})).media.is_empty());
}
