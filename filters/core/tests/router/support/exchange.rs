//! Requests as clients send them, and what the router made of them.

use crate::support::{Explanation, Stream, Vm};
use serde_json::Value;
use warmpath_core::router::DESTINATION_HEADER;

/// The first token of a streamed chat.
pub(crate) const TOKEN: &[u8] = b"data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";

/// Sends a POST with a whole body; the filter passes it on, or responds itself.
pub(crate) fn post(vm: &Vm, path: &str, body: &str) -> Stream {
    let mut stream = vm.request();
    let headers = [(":method", "POST"), (":path", path), ("content-type", "application/json")];
    stream.headers(&headers, false);
    stream.body(body.as_bytes(), true);
    stream
}

/// Sends a GET.
pub(crate) fn get(vm: &Vm, path: &str) -> Stream {
    let mut stream = vm.request();
    stream.headers(&[(":method", "GET"), (":path", path)], true);
    stream
}

/// Sends a chat.
pub(crate) fn serve(vm: &Vm, body: &Value) -> Stream {
    post(vm, "/v1/chat/completions", &body.to_string())
}

/// Ends every stream, whatever came of it.
pub(crate) fn finish_all(streams: impl IntoIterator<Item = Stream>) {
    for stream in streams {
        stream.finish();
    }
}

/// The endpoints that the request was sent with, best first.
pub(crate) fn destinations(stream: &Stream) -> Vec<String> {
    let list = stream.request_headers.get(DESTINATION_HEADER).expect("the request went on");
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
    stream.headers(&headers, false);
    stream.body(body.to_string().as_bytes(), true);
    let response = stream.reply.take().expect("the filter responds itself");
    assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
    stream.finish();
    Explanation::of_response(&response.body)
}

impl Stream {
    /// The end of the last call: a status and a body, or none.
    pub(crate) fn called(&mut self, response: Option<(u16, &str)>) {
        let call = self.calls.last().expect("a call was made").id;
        self.called_of(call, response);
    }

    /// A whole response of the endpoint, and the end.
    pub(crate) fn complete(mut self) {
        self.response_headers(&[(":status", "200")], false);
        self.response_body(b"{}", true);
        self.finish();
    }
}
