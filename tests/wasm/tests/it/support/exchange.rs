//! Requests as clients send them, and what the router made of them.

use super::Explanation;
use serde_json::Value;
use warmpath_host::{Action, Headers, Stream, Vm};

/// Sends a POST with a whole body; the filter passes it on, or responds itself.
pub(crate) fn post(vm: &Vm, path: &str, body: &str) -> Stream {
    let mut stream = vm.request();
    let headers = [(":method", "POST"), (":path", path), ("content-type", "application/json")];
    assert_eq!(stream.headers(&headers, false).unwrap(), Action::Pause, "it must wait for the body");
    stream.body(body.as_bytes(), true).unwrap();
    stream
}

/// Sends a GET.
pub(crate) fn get(vm: &Vm, path: &str) -> Stream {
    let mut stream = vm.request();
    stream.headers(&[(":method", "GET"), (":path", path)], true).unwrap();
    stream
}

/// Sends a chat.
pub(crate) fn serve(vm: &Vm, body: &Value) -> Stream {
    post(vm, "/v1/chat/completions", &body.to_string())
}

/// The head of a response of the endpoint to which the request was sent.
pub(crate) fn respond_head(stream: &mut Stream, headers: &[(&str, &str)], ends: bool) -> Action {
    let address = chosen(stream);
    stream.set_property(&["upstream", "address"], address.as_bytes());
    stream.response_headers(headers, ends).unwrap()
}

/// A whole response of the endpoint, and the end.
pub(crate) fn complete(mut stream: Stream) {
    respond_head(&mut stream, &[(":status", "200")], false);
    stream.response_body(b"{}", true).unwrap();
    stream.finish().unwrap();
}

/// Ends every stream, whatever came of it.
pub(crate) fn finish_all(streams: impl IntoIterator<Item = Stream>) {
    for stream in streams {
        stream.finish().unwrap();
    }
}

/// The endpoints that the request was sent with, best first.
pub(crate) fn destinations(stream: &Stream) -> Vec<String> {
    let headers: Headers = stream.upstream().headers.expect("the request went on");
    let list = headers.text("x-gateway-destination-endpoint").expect("it names a destination");
    list.split(',').map(str::to_owned).collect()
}

/// The endpoint that the request was sent to.
pub(crate) fn chosen(stream: &Stream) -> String {
    destinations(stream).swap_remove(0)
}

/// Requests the decision on a chat instead of its response.
pub(crate) fn explain(vm: &Vm, body: &Value) -> Explanation {
    let mut stream = vm.request();
    let headers = [(":method", "POST"), (":path", "/v1/chat/completions"), ("x-warmpath-explain", "1")];
    stream.headers(&headers, false).unwrap();
    stream.body(body.to_string().as_bytes(), true).unwrap();
    let response = stream.local_response().expect("the filter responds itself");
    assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
    stream.finish().unwrap();
    Explanation::of_response(&response.body)
}
