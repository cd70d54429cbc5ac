//! The size of prompts: what the engine sees counts, whatever the body holds besides.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use serde_json::{Value, json};
use warmpath_core::limits::CELL_BYTES_DEFAULT;
use warmpath_core::prompt::{Api, Media, MediaKind, Request, Root, Size, cells_of};

fn size_of(api: Api, body: &str) -> Size {
    let request = Request::parse(api, body.as_bytes()).unwrap();
    cells_of(&request, Root::new("p", "", ""), CELL_BYTES_DEFAULT, &mut Vec::new())
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
