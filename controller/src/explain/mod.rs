//! `warmpath explain`: asks a controller or a proxy where a request would go, and prints the explanation.

mod table;

use crate::args::ExplainArgs;
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
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
    /// The address or the path is invalid.
    #[error("invalid URL `{url}`")]
    Url {
        /// The given text.
        url: String,
        /// The reason.
        source: http::Error,
    },
    /// There was no response.
    #[error("cannot reach {url}")]
    Unreachable {
        /// The address.
        url: String,
        /// The reason.
        source: ClientError,
    },
    /// The response broke off, or is too long.
    #[error("cannot read the response")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
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
        Some(proxy) => (format!("{}{}", proxy.trim_end_matches('/'), args.path), Some(EXPLAIN_HEADER)),
        None => (format!("{}/explain?path={}", args.controller.trim_end_matches('/'), args.path), None),
    };
    let request = request(&url, header, args.token.as_deref(), body)
        .map_err(|source| AskError::Url { url: url.clone(), source })?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let response = client.request(request).await.map_err(|source| AskError::Unreachable { url, source })?;
    let status = response.status();
    let body =
        Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect().await.map_err(AskError::Broken)?;
    let body = body.to_bytes();
    if status == StatusCode::OK {
        return Ok(body);
    }
    Err(AskError::Refused { status, body: String::from_utf8_lossy(&body).trim().to_owned() })
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
