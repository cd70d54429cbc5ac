//! Several pools behind one proxy: a request reaches the pool of its model, or its client learns why it cannot.

use crate::support::{Host, Stream, Vm, counted, destinations, endpoints, static_config};
use serde_json::{Value, json};
use warmpath_core::config::Config;
use warmpath_core::limits::{BODY_BYTES_KEPT_MAX, BODY_BYTES_MAX};
use warmpath_core::router::MODEL_HEADER;
use warmpath_core::wire::{Pool, PoolEndpoint};

const CHAT: &str = "/v1/chat/completions";
/// Status, part of the message, a header and the body.
type Refused<'a> = (u16, &'a str, (&'a str, &'a str), &'a [u8]);

/// A name with a letter beyond ASCII, a slash, a space and a colon.
const ODD: &str = "org/模型 v2:latest";

/// A pool `llama` with the first endpoint, and one with the second.
fn two_pools() -> Config {
    let mut config = static_config(1);
    let endpoint = PoolEndpoint { address: endpoints(2).swap_remove(1), ..PoolEndpoint::default() };
    let models = vec!["beta".to_owned(), ODD.to_owned()];
    config.pools.pools.push(Pool {
        name: "second".to_owned(),
        models,
        endpoints: vec![endpoint],
        ..Pool::default()
    });
    config
}

fn send(vm: &Vm, path: &str, headers: &[(&str, &str)], pieces: &[&[u8]]) -> Stream {
    let mut stream = vm.request();
    let headers = [&[(":method", "POST"), (":path", path)], headers].concat();
    stream.headers(&headers, false);
    for (at, piece) in pieces.iter().enumerate() {
        stream.body(piece, at + 1 == pieces.len());
    }
    stream
}

fn is_second(stream: &Stream) -> bool {
    stream.reply.is_none() && destinations(stream) == endpoints(2)[1..]
}

fn error(stream: &Stream) -> (u16, String) {
    let reply = stream.reply.as_ref().expect("the router responds itself");
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    (reply.status, body["error"]["message"].as_str().unwrap().to_owned())
}

#[test]
fn what_an_engine_can_read_does_not_lose_its_model() {
    let host = Host::default();
    let vm = host.vm(&two_pools());
    let utf16: Vec<u8> = r#"{"model":"beta"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for body in [
        br#"{"model":"llama","messages":[],"model":"beta"}"#.as_slice(),
        br#"{"model":7,"model":"beta"}"#,
        br#"{"model":"beta","temperature":NaN}"#,
        br#"{"model":"beta","messages":"of a wrong shape"}"#,
        br#"{"model":"beta","messages":[{"role":"user\ud83d","content":"\udc00"}]}"#,
        b"\xEF\xBB\xBF{\"model\":\"beta\"}",
        &utf16,
    ] {
        for content_type in ["application/json", "application/x-www-form-urlencoded", "text/plain", ""] {
            let is_utf16 = body.contains(&0);
            if is_utf16 && content_type.contains('t') && !content_type.contains("json") {
                continue;
            }
            let stream = send(&vm, CHAT, &[("content-type", content_type)], &[body]);
            assert!(is_second(&stream), "{content_type}: {}", String::from_utf8_lossy(body));
            assert_eq!(stream.request_headers[MODEL_HEADER], "beta");
            stream.finish();
        }
    }
}

#[test]
fn a_name_beyond_ascii_is_a_header_that_a_route_can_match() {
    let host = Host::default();
    let vm = host.vm(&two_pools());
    for body in [json!({"model": ODD}).to_string(), format!("{{\"model\":{}}}", escaped(ODD))] {
        let stream = send(&vm, CHAT, &[], &[body.as_bytes()]);
        assert!(is_second(&stream));
        assert_eq!(stream.request_headers[MODEL_HEADER], ODD);
        stream.finish();
    }
}

#[test]
fn a_name_that_no_route_can_match_does_not_end_in_the_first_pool() {
    let host = Host::default();
    let mut config = two_pools();
    config.pools.pools[0].models = vec!["*".to_owned()];
    let vm = host.vm(&config);
    for name in ["be\nta", "\u{0}", "\u{85}", &"a".repeat(257)] {
        let stream = send(&vm, CHAT, &[], &[json!({"model": name}).to_string().as_bytes()]);
        assert_eq!(error(&stream).0, 404, "{name:?}");
        stream.finish();
    }
    let vm = Host::default().vm(&Config { pools: config.pools.clone(), ..config.clone() });
    let stream = send(&vm, CHAT, &[], &[json!({"model": "anything"}).to_string().as_bytes()]);
    assert_eq!(destinations(&stream), endpoints(1));
    stream.finish();
}

#[test]
fn the_model_of_a_form_is_found() {
    let host = Host::default();
    let vm = host.vm(&two_pools());
    let form = [("content-type", "multipart/form-data; boundary=x7")];
    let model = b"--x7\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nbeta\r\n".as_slice();
    let file = b"--x7\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n\x00\xFF\r\n"
        .as_slice();
    let end = b"--x7--\r\n".as_slice();
    for pieces in [[model, file, end], [file, model, end]] {
        let stream = send(&vm, "/v1/audio/transcriptions", &form, &pieces);
        assert!(is_second(&stream));
        assert_eq!(stream.request_headers[MODEL_HEADER], "beta");
        stream.finish();
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let stream = send(&vm, "/v1/audio/speech", &form, &[b"input=x&model=beta"]);
    assert!(is_second(&stream));
    stream.finish();
    assert_eq!(counted(&host, &[&vm], "warmpath.unread.form"), 0);
}

#[test]
fn a_large_body_reaches_the_pool_of_its_model() {
    let host = Host::default();
    let vm = host.vm(&two_pools());
    let image = vec![b'A'; BODY_BYTES_MAX];
    let (before, after) = (br#"{"model":"llama","x":""#.as_slice(), br#"","model":"beta"}"#.as_slice());
    let stream = send(&vm, CHAT, &[], &[before, &image, after]);
    assert!(is_second(&stream), "the last of equal keys counts here too");
    stream.finish();
    let head = b"--x7\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n".as_slice();
    let tail =
        b"\r\n--x7\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nbeta\r\n--x7--\r\n".as_slice();
    let form = [("content-type", "multipart/form-data; boundary=x7")];
    let stream = send(&vm, "/v1/audio/transcriptions", &form, &[head, &image, tail]);
    assert!(is_second(&stream));
    stream.finish();
    assert_eq!(counted(&host, &[&vm], "warmpath.unread.too_large"), 2);
}

#[test]
fn a_body_without_a_readable_model_is_refused_with_the_cure() {
    let json = ("content-type", "application/json");
    let large = (BODY_BYTES_KEPT_MAX + 1).to_string();
    let cases: [Refused<'_>; 11] = [
        (400, "not valid JSON", json, br#"{"x":"a""b":"model":"beta"}"#),
        (400, "JSON ends early", json, br#"{"model":"beta","#),
        (400, "not valid JSON", json, b"model=beta"),
        (400, "not UTF-8", json, b"\xFF\xFE\x00"),
        (400, "a string as `model`", json, br#"{"model":["beta"]}"#),
        (400, "a string as `model`", json, br#"["beta"]"#),
        (400, "boundary", ("content-type", "multipart/form-data"), b"--x7"),
        (415, "neither JSON nor a form", ("content-type", "text/plain"), b"beta"),
        (415, "neither JSON nor a form", ("content-type", "audio/wav"), b"beta"),
        (415, "without content-encoding", ("content-encoding", "zstd"), b"beta"),
        (413, "64 MiB", ("content-length", &large), b"beta"),
    ];
    for (status, cure, header, body) in cases {
        let host = Host::default();
        let vm = host.vm(&two_pools());
        let stream = send(&vm, CHAT, &[header], &[body]);
        let (found, message) = error(&stream);
        assert!(found == status && message.contains(cure), "{header:?}: {found} {message}");
        stream.finish();
        assert_eq!(counted(&host, &[&vm], "warmpath.rejected.model_unread"), 1);

        // One pool: whatever it is, its engines may judge.
        let vm = host.vm(&static_config(1));
        let stream = send(&vm, CHAT, &[header], &[body]);
        assert_eq!(destinations(&stream), endpoints(1));
        stream.finish();
    }
}

#[test]
fn a_request_that_names_no_model_goes_to_the_first_pool() {
    let host = Host::default();
    let vm = host.vm(&two_pools());
    for body in [b"".as_slice(), b"{}", br#"{"model":null}"#] {
        let stream = send(&vm, CHAT, &[("content-type", "application/json")], &[body]);
        assert_eq!(destinations(&stream), endpoints(1), "{}", String::from_utf8_lossy(body));
        stream.finish();
    }
}

fn get(vm: &Vm, method: &str, path: &str) -> Stream {
    let mut stream = vm.request();
    stream.headers(&[(":method", method), (":path", path), ("origin", "https://a.example")], true);
    stream
}

fn listed(stream: &Stream) -> Vec<Value> {
    let reply = stream.reply.as_ref().expect("the router responds itself");
    assert_eq!(reply.status, 200);
    serde_json::from_slice::<Value>(&reply.body).unwrap()["data"].as_array().unwrap().clone()
}

#[test]
fn the_list_of_models_is_that_of_all_pools() {
    let host = Host::default();
    let mut config = two_pools();
    let real = json!({"id": "beta", "object": "model", "max_model_len": 32768});
    // An engine may list what no request can reach, and what another pool serves.
    let (unrouted, other) = (json!({"id": "base"}), json!({"id": "llama", "owned_by": "another"}));
    config.pools.pools[1].listed = [&real, &unrouted, &other, &json!(7)].map(Value::to_string).to_vec();
    let vm = host.vm(&config);
    for method in ["GET", "HEAD"] {
        let models = listed(&get(&vm, method, "/v1/models"));
        let own = |id: &str| json!({"id": id, "object": "model", "created": 0, "owned_by": "warmpath"});
        assert_eq!(models, [own("llama"), own("sql"), real.clone()]);
    }
    let vm = Host::default().vm(&static_config(1));
    assert_eq!(destinations(&get(&vm, "GET", "/v1/models")), endpoints(1), "of one pool an engine knows all");
}

#[test]
fn one_model_is_described_by_an_engine_of_its_pool() {
    let host = Host::default();
    let vm = host.vm(&two_pools());
    for path in
        ["/v1/models/beta", "/v1/models/org/%E6%A8%A1%E5%9E%8B%20v2:latest", "/v1/realtime?a=1&model=beta"]
    {
        let stream = get(&vm, "GET", path);
        assert!(is_second(&stream), "{path}");
        stream.finish();
    }
    assert_eq!(error(&get(&vm, "GET", "/v1/models/gamma")).0, 404);
    assert_eq!(destinations(&get(&vm, "OPTIONS", "/v1/models")), endpoints(1));
}

/// A JSON string with each of its units escaped.
fn escaped(text: &str) -> String {
    let units: Vec<String> = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{}\"", units.concat())
}
