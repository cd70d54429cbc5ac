//! Responses that do not come from the upstream: the filter's own, and the host's in its place.

use crate::abi::Direction;
use crate::error::Outcome;
use crate::headers::Headers;
use crate::stream::state::{LocalReply, LocalResponse};
use crate::vm::Core;

// === impl Core ===

impl Core {
    /// A trapped VM ends its streams with an empty 503, which the filter does not see.
    pub(crate) fn fail_stream(&mut self, id: u32) {
        if let Some(stream) = self.state().stream(id).filter(|stream| !stream.is_over()) {
            stream.local_response = Some(LocalResponse {
                status: 503,
                headers: Headers::from([(":status", "503")].as_slice()),
                body: Vec::new(),
                details: "wasm_fail_stream".to_owned(),
                grpc_status: None,
            });
        }
    }

    /// Sends the local response for a body beyond the connection's buffer. True if it did.
    pub(crate) fn enforce_limit(&mut self, id: u32, direction: Direction) -> Outcome<bool> {
        let buffer_bytes_max = self.state().process.borrow().options.buffer_bytes_max;
        let held = self.state().stream(id).map_or(0, |stream| stream.flow(direction).held.len());
        if held <= buffer_bytes_max {
            return Ok(false);
        }
        let (status, details, body) = match direction {
            Direction::Request => (413, "request_payload_too_large", "Payload Too Large"),
            Direction::Response => (500, "response_payload_too_large", "Internal Server Error"),
        };
        let reply = LocalReply {
            status,
            details: details.to_owned(),
            body: body.as_bytes().to_vec(),
            ..LocalReply::default()
        };
        self.local_reply(id, reply)?;
        Ok(true)
    }

    /// A local reply runs through the response callbacks of the filter that sent it, as of any other.
    /// After the response's own headers have gone on it is too late for one: the stream is reset.
    pub(crate) fn local_reply(&mut self, id: u32, reply: LocalReply) -> Outcome<()> {
        let Some(stream) = self.state().stream(id).filter(|stream| !stream.is_over()) else {
            return Ok(());
        };
        if stream.response.forwarded.headers.is_some() {
            stream.reset = true;
            return Ok(());
        }
        let in_response = stream.response.headers.is_some();
        let mut response = LocalResponse {
            status: reply.status,
            headers: reply_headers(&reply),
            body: reply.body,
            details: reply.details,
            grpc_status: reply.grpc_status,
        };
        stream.local_response = Some(response.clone());
        if !in_response {
            self.show_local_response(id, &mut response)?;
        }
        if let Some(stream) = self.state().stream(id) {
            stream.response.headers = Some(response.headers.clone());
            stream.local_response = Some(response);
        }
        Ok(())
    }

    fn show_local_response(&mut self, id: u32, response: &mut LocalResponse) -> Outcome<()> {
        let bodyless = response.body.is_empty();
        let count = response.headers.len() as u32;
        if let Some(stream) = self.state().stream(id) {
            stream.response.headers = Some(response.headers.clone());
            stream.response.headers_open = true;
        }
        self.call::<_, u32>(id, "proxy_on_response_headers", (id, count, u32::from(bodyless)))?;
        if let Some(stream) = self.state().stream(id) {
            stream.response.headers_open = false;
            if let Some(headers) = &stream.response.headers {
                response.headers = headers.clone();
            }
            stream.response.piece = Some(response.body.clone());
        }
        if !bodyless {
            let len = response.body.len() as u32;
            self.call::<_, u32>(id, "proxy_on_response_body", (id, len, 1))?;
        }
        if let Some(piece) = self.state().stream(id).and_then(|stream| stream.response.piece.take()) {
            response.body = piece;
        }
        Ok(())
    }
}

/// `Http::Utility::prepareLocalReply`: the guest's headers after `:status`, then what describes the body.
fn reply_headers(reply: &LocalReply) -> Headers {
    let mut headers = Headers::from([(":status", reply.status.to_string())].as_slice());
    for (name, value) in reply.headers.iter() {
        headers.add(name, value);
    }
    if !reply.body.is_empty() {
        headers.set("content-length", reply.body.len().to_string().as_bytes());
        if headers.get("content-type").is_none() {
            headers.add("content-type", b"text/plain");
        }
    }
    headers
}
