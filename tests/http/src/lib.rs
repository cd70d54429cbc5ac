//! The HTTP clients of tests and measurements: a well-behaved one with a pool, one connection that stays one, and raw
//! bytes for what hyper would not send.
//!
//! A response is whole ([`Response`]) or read while it arrives ([`Streaming`]); [`Events`] reads server-sent events.

mod client;
mod connection;
mod events;
mod raw;
mod response;

use std::time::Duration;

pub use self::client::{Client, ClientError};
pub use self::connection::Connection;
pub use self::events::Events;
pub use self::raw::RawConnection;
pub use self::response::{Chunk, Response, Streaming};

/// How long a response may take. Generous: it is reached only by a failure, never by a slow machine.
pub const RESPONSE_TIME_MAX: Duration = Duration::from_secs(30);

/// The header of a JSON body.
pub const JSON: (&str, &str) = ("content-type", "application/json");

/// A request with these headers.
fn request(
    method: http::Method,
    uri: &str,
    headers: &[(&str, &str)],
    body: bytes::Bytes,
) -> Result<http::Request<http_body_util::Full<bytes::Bytes>>, ClientError> {
    let mut request = http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(http_body_util::Full::new(body)).map_err(ClientError::Request)
}
