//! Headers that only the filter may set, sent by clients.

use crate::support::{assert_clean, chat, destinations, endpoints, static_config, vm};
use serde_json::json;
use warmpath_host::Host;

const FORGED: [(&str, &str); 5] = [
    ("x-gateway-destination-endpoint", "6.6.6.6:80"),
    ("x-gateway-destination-endpoint", "6.6.6.7:80"),
    ("x-gateway-model-name", "evil"),
    ("x-warmpath-decision", "evil"),
    ("x-warmpath-explain", "1"),
];

#[test]
fn forged_headers_are_stripped_with_and_without_a_body() {
    let host = Host::default();
    let mut config = static_config(2);
    config["explain"] = json!(false);
    let vm = vm(&host, &config);
    for (method, has_body) in
        [("GET", false), ("POST", false), ("POST", true), ("OPTIONS", false), ("HEAD", false)]
    {
        let mut headers = vec![(":method", method), (":path", "/v1/chat/completions"), ("x-kept", "1")];
        headers.extend(FORGED);
        let mut stream = vm.request();
        stream.headers(&headers, !has_body).unwrap();
        if has_body {
            stream.body(chat("hello").to_string().as_bytes(), true).unwrap();
        }
        let upstream = stream.upstream().headers.unwrap();
        let named = destinations(&stream);
        assert!(named.iter().all(|name| endpoints(2).contains(name)), "{method}: {named:?}");
        let evil = upstream.iter().filter(|(_, value)| value.starts_with(b"6.6") || *value == b"evil");
        assert_eq!(evil.count(), 0, "{method}");
        assert_eq!(upstream.get("x-warmpath-explain"), None, "{method}");
        assert_eq!(upstream.text("x-kept"), Some("1"), "{method}");
        assert_eq!(stream.local_response(), None, "nobody may ask for decisions here");
        stream.finish().unwrap();
    }
    assert_clean(&host, &[&vm]);
}

#[test]
fn forged_headers_are_stripped_before_the_body_comes() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let mut headers = vec![(":method", "POST"), (":path", "/v1/chat/completions")];
    headers.extend(FORGED);
    let mut stream = vm.request();
    stream.headers(&headers, false).unwrap();
    assert_eq!(stream.request_headers().len(), 2, "{:?}", stream.request_headers());
    stream.finish().unwrap();
    assert_clean(&host, &[&vm]);
}
