//! Builders of HTTP responses.

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use serde_json::Value;
use std::io;

/// The body of any response; an error breaks the connection.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

pub(super) const ENGINE: HeaderName = HeaderName::from_static("x-engine");
pub(super) const CACHED_TOKENS: HeaderName = HeaderName::from_static("x-engine-cached-tokens");
pub(super) const PROMPT_TOKENS: HeaderName = HeaderName::from_static("x-engine-prompt-tokens");
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A response with a complete body.
pub(super) fn whole(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    with_body(status, content_type, body)
}

/// A body that breaks the connection instead of coming.
pub(super) fn broken() -> Body {
    let error = io::Error::other("the page is cut by a simulated fault");
    StreamBody::new(futures::stream::once(async { Err(error) })).boxed_unsync()
}

/// A body that breaks the connection after a beginning.
pub(super) fn broken_after(beginning: impl Into<Bytes>) -> Body {
    let beginning = Frame::data(beginning.into());
    let cut = async {
        // A pending body makes the connection write out what it has; an error at once would swallow it.
        tokio::task::yield_now().await;
        Err(io::Error::other("the response is cut by a simulated fault"))
    };
    StreamBody::new(futures::stream::iter([Ok(beginning)]).chain(futures::stream::once(cut))).boxed_unsync()
}

/// A JSON response.
pub(super) fn json(status: StatusCode, body: &Value) -> Response<Body> {
    whole(status, "application/json", body.to_string())
}

/// A response with any body.
pub(super) fn with_body(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
