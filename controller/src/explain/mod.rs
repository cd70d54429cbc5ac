//! `warmpath explain`: asks a controller or a proxy where a request would go, and prints the explanation.

mod table;

use crate::args::ExplainArgs;
use crate::web::{self, Bounds, WebError};
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Full;
use std::io::{self, Write};
use table::Table;
use thiserror::Error;
use warmpath_core::router::EXPLAIN_TOKEN_HEADER;

/// The most bytes of a response that are read: one candidate is some 250 bytes of JSON, a pool has 8192 at most.
const RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Requests a proxy's decision instead of a response.
const EXPLAIN_HEADER: &str = "x-warmpath-explain";

/// Why there is no explanation.
#[derive(Debug, Error)]
pub enum AskError {
    /// There is no response.
    #[error(transparent)]
    Web(#[from] WebError),
    /// The response is an error.
    #[error("{status}: {body}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its body.
        body: String,
    },
}

/// Sends a request's body; returns the explanation as JSON.
pub async fn ask(args: &ExplainArgs, body: String) -> Result<Bytes, AskError> {
    let (url, header) = match &args.proxy {
        Some(proxy) => (web::url(proxy, &args.path), Some(EXPLAIN_HEADER)),
        None => (web::url(&args.controller, &format!("/explain?path={}", args.path)), None),
    };
    let request = request(&url, header, args.token.as_deref(), body)
        .map_err(|source| WebError::Url { url: url.clone(), source })?;
    let reply = web::send(url, request, Bounds::bytes(RESPONSE_BYTES_MAX)).await?;
    if reply.status == StatusCode::OK {
        return Ok(reply.body);
    }
    let body = String::from_utf8_lossy(&reply.body).trim().to_owned();
    Err(AskError::Refused { status: reply.status, body })
}

/// Prints an explanation: as a table, or as JSON.
pub fn print(out: &mut impl Write, explanation_json: &[u8], is_json: bool) -> io::Result<()> {
    if is_json {
        out.write_all(explanation_json)?;
        return writeln!(out);
    }
    let explanation = serde_json::from_slice(explanation_json).map_err(io::Error::other)?;
    write!(out, "{}", Table(&explanation))
}

fn request(
    url: &str,
    header: Option<&'static str>,
    token: Option<&str>,
    body: String,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let uri = Uri::try_from(url)?;
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(uri)
        .header(http::header::CONTENT_TYPE, "application/json");
    if let Some(header) = header {
        request = request.header(header, "1");
    }
    if let Some(token) = token {
        request = request.header(EXPLAIN_TOKEN_HEADER, token);
    }
    request.body(Full::new(Bytes::from(body)))
}
