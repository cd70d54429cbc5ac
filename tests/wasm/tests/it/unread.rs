//! Requests whose prompt cannot be looked at: routed by load, counted by reason, never failed.

use crate::support::{assert_clean, chat, counted, destinations, post, static_config, vm};
use serde_json::json;
use warmpath_core::limits::BODY_BYTES_MAX;
use warmpath_host::{Action, Host, Options};

const PATH: (&str, &str) = (":path", "/v1/chat/completions");

#[test]
fn headers_that_rule_out_a_prompt_are_routed_without_the_body() {
    for (name, value, reason) in [
        ("content-type", "audio/wav", "content_type"),
        ("content-type", "application/grpc", "content_type"),
        ("content-length", "16777217", "too_large"),
    ] {
        let host = Host::default();
        let vm = vm(&host, &static_config(2));
        let mut stream = vm.request();
        let headers = [(":method", "POST"), PATH, (name, value)];
        assert_eq!(stream.headers(&headers, false).unwrap(), Action::Continue, "{name}: {value}");
        assert_eq!(destinations(&stream).len(), 2);
        assert_eq!(counted(&host, &[&vm], &format!("warmpath.unread.{reason}")), 1, "{name}: {value}");
        assert_eq!(stream.body(b"anything", true).unwrap(), Action::Continue);
        assert_eq!(stream.upstream().body, b"anything");
        stream.finish().unwrap();
        assert_clean(&host, &[&vm]);
    }
}

#[test]
fn headers_that_leave_room_for_a_prompt_wait_for_it() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    for (name, value) in [
        ("content-encoding", "identity"),
        ("content-encoding", "gzip"),
        ("upgrade", "websocket"),
        ("content-type", "application/json; charset=utf-8"),
        ("content-type", "Application/JSON"),
        ("content-type", "text/plain"),
        ("content-type", "multipart/form-data; boundary=x"),
        ("content-length", "16777216"),
        ("content-length", "many"),
        ("x-none", ""),
    ] {
        let mut stream = vm.request();
        assert_eq!(
            stream.headers(&[(":method", "POST"), PATH, (name, value)], false).unwrap(),
            Action::Pause
        );
        stream.finish().unwrap();
    }
    assert_clean(&host, &[&vm]);
}

#[test]
fn bodies_that_cannot_be_read_are_routed_and_counted_by_reason() {
    let host = Host::default();
    let vm = vm(&host, &static_config(3));
    let cut = chat("hello").to_string();
    let cut = cut.get(..cut.len() / 2).unwrap().as_bytes();
    let deep = "[".repeat(100_000);
    for (body, reason) in [
        (b"".as_slice(), "empty"),
        (cut, "truncated"),
        (b"hello", "not_json"),
        (b"{\"model\": \"llama\"} trailing", "not_json"),
        (b"{\"model\": 3}", "wrong_shape"),
        (b"3", "wrong_shape"),
        (b"{\"model\": \"llama\", \"messages\": \"hello\"}", "wrong_shape"),
        (b"{\"model\": \"ll\xff\xfe\"}", "not_utf8"),
        (deep.as_bytes(), "wrong_shape"),
    ] {
        let name = format!("warmpath.unread.{reason}");
        let before = counted(&host, &[&vm], &name);
        let mut stream = vm.request();
        stream.headers(&[(":method", "POST"), PATH], false).unwrap();
        let shown = String::from_utf8_lossy(body.get(..20).unwrap_or(body)).into_owned();
        assert_eq!(stream.body(body, true).unwrap(), Action::Continue, "{shown}");
        assert_eq!(destinations(&stream).len(), 3, "{shown}");
        assert_eq!(counted(&host, &[&vm], &name), before + 1, "{shown} is not counted as {reason}");
        stream.finish().unwrap();
    }
    assert_clean(&host, &[&vm]);
}

#[test]
fn compressed_bodies_are_routed_and_counted() {
    let host = Host::default();
    let vm = vm(&host, &static_config(3));
    let body = b"\x1F\x8B\x08\0\0\0\0\0".as_slice();
    for (before, encoding) in ["gzip", "br"].into_iter().enumerate() {
        let mut stream = vm.request();
        stream.headers(&[(":method", "POST"), PATH, ("content-encoding", encoding)], false).unwrap();
        assert_eq!(stream.body(body, true).unwrap(), Action::Continue);
        assert_eq!(destinations(&stream).len(), 3);
        assert_eq!(stream.upstream().body, body);
        assert_eq!(counted(&host, &[&vm], "warmpath.unread.encoded"), u64::try_from(before).unwrap() + 1);
        stream.finish().unwrap();
    }
    assert_clean(&host, &[&vm]);
}

#[test]
fn content_that_is_nested_deeply_does_not_trap() {
    let host = Host::default();
    let vm = vm(&host, &static_config(3));
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    let values = [format!("{open}{close}"), format!("{{\"a\":{open}{close}}}")];
    for (path, field) in [
        ("/v1/chat/completions", "messages"),
        ("/v1/chat/completions", "tools"),
        ("/v1/completions", "prompt"),
        ("/v1/responses", "input"),
        ("/v1/messages", "system"),
    ] {
        for value in &values {
            let stream = post(&vm, path, &format!("{{\"model\":\"llama\",\"{field}\":{value}}}"));
            assert_eq!(destinations(&stream).len(), 3, "{path} {field}");
            stream.finish().unwrap();
        }
    }
    assert_clean(&host, &[&vm]);
}

#[test]
fn body_that_grows_beyond_the_bound_goes_on_before_its_end() {
    let host = Host::new(Options { buffer_bytes_max: 2 * BODY_BYTES_MAX, ..Options::default() });
    let vm = vm(&host, &static_config(2));
    let mut stream = vm.request();
    stream.headers(&[(":method", "POST"), PATH], false).unwrap();
    let piece = vec![b'x'; BODY_BYTES_MAX];
    assert_eq!(stream.body(&piece, false).unwrap(), Action::Pause);
    assert_eq!(stream.body(b"y", false).unwrap(), Action::Continue);
    assert_eq!(counted(&host, &[&vm], "warmpath.unread.too_large"), 1);
    assert_eq!(stream.body(b"z", true).unwrap(), Action::Continue);
    assert_eq!(stream.upstream().body.len(), BODY_BYTES_MAX + 2);
    stream.finish().unwrap();
    assert_clean(&host, &[&vm]);
}

#[test]
fn a_large_body_is_handed_over_in_pieces_where_its_model_leads_to_its_pool() {
    let host = Host::new(Options { buffer_bytes_max: 2 * BODY_BYTES_MAX, ..Options::default() });
    let mut config = static_config(1);
    let second = json!({"name": "second", "models": ["beta"], "endpoints": ["10.9.9.9:8000"]});
    config["pools"].as_array_mut().unwrap().push(second);
    let vm = vm(&host, &config);
    let mut stream = vm.request();
    stream.headers(&[(":method", "POST"), PATH], false).unwrap();
    let image = vec![b'x'; BODY_BYTES_MAX];
    for piece in [b"{\"image\":\"".as_slice(), &image] {
        assert_eq!(stream.body(piece, false).unwrap(), Action::Pause);
    }
    assert_eq!(stream.body(b"\",\"model\":\"beta\"}", true).unwrap(), Action::Continue);
    assert_eq!(destinations(&stream), ["10.9.9.9:8000"]);
    stream.finish().unwrap();
    assert_clean(&host, &[&vm]);
}

#[test]
fn header_values_that_are_no_text_do_not_trap() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let odd = b"\xff\xfe\x00\xc3".as_slice();
    for name in [
        "x-any",
        "content-type",
        "content-encoding",
        "content-length",
        ":path",
        "upgrade",
        "x-warmpath-explain",
        "x-gateway-destination-endpoint",
    ] {
        let mut headers = vec![(":method", b"POST".as_slice()), (name, odd)];
        if name != ":path" {
            headers.push((":path", b"/v1/chat/completions"));
        }
        let mut stream = vm.request();
        stream.headers(&headers, false).unwrap();
        stream.body(chat("hello").to_string().as_bytes(), true).unwrap();
        assert!(stream.local_response().is_some() || destinations(&stream).len() == 2, "{name}");
        stream.finish().unwrap();
    }
    assert_clean(&host, &[&vm]);
}
