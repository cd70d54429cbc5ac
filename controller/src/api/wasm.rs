//! `GET /wasm` shows which filter is served, `GET /wasm/<sha256>/warmpath-router.wasm` is the filter.
//!
//! Proxies that fetch the filter over HTTP are configured with its hash. The hash is part of the path, so that a URL always means
//! the same filter: it may be cached, and a controller with another version responds with an error instead of that version. The
//! error is 503, because another replica may have the filter during an upgrade: Istio's agent and Envoy Gateway retry after a 503,
//! but give up after a 404, and Istio then rejects all requests of the listener.

use super::Api;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::io;
use std::path;
use thiserror::Error;
use warmpath_core::num::u64_len;

/// What every WebAssembly module begins with.
const MAGIC: &[u8] = b"\0asm";
/// The content of a URL never changes; a year is the longest time that caches accept.
const CACHE: &str = "public, max-age=31536000, immutable";
const CONTENT_TYPE: &str = "application/wasm";

/// The filter that is served.
#[derive(Clone, Debug)]
pub struct Wasm {
    bytes: Bytes,
    sha256: String,
}

/// Why the file cannot be served as the filter.
#[derive(Debug, Error)]
pub enum WasmError {
    /// It cannot be read.
    #[error("cannot read the filter {}", .path.display())]
    Unreadable {
        /// The file.
        path: path::PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is not a WebAssembly module", .path.display())]
    NotWasm {
        /// The file.
        path: path::PathBuf,
    },
}

/// What `/wasm` shows.
#[derive(Debug, Serialize)]
pub(super) struct WasmPage {
    sha256: String,
    /// Where it is served.
    path: String,
    bytes: u64,
}

// === impl Wasm ===

impl Wasm {
    /// Reads the file.
    pub fn load(path: &path::Path) -> Result<Self, WasmError> {
        let read = std::fs::read(path);
        let bytes = read.map_err(|source| WasmError::Unreadable { path: path.to_owned(), source })?;
        if !bytes.starts_with(MAGIC) {
            return Err(WasmError::NotWasm { path: path.to_owned() });
        }
        let sha256 = Sha256::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        Ok(Self { bytes: bytes.into(), sha256 })
    }

    fn path(&self) -> String {
        format!("/wasm/{}/warmpath-router.wasm", self.sha256)
    }
}

/// Responds with the hash and the path of the filter.
pub(super) async fn show(State(api): State<Api>) -> Response {
    let Some(wasm) = &api.wasm else { return absent("this controller serves no filter: set wasm_file\n") };
    let (sha256, path, bytes) = (wasm.sha256.clone(), wasm.path(), u64_len(wasm.bytes.len()));
    Json(WasmPage { sha256, path, bytes }).into_response()
}

/// Responds with the filter.
pub(super) async fn send(State(api): State<Api>, Path(sha256): Path<String>) -> Response {
    let Some(wasm) = &api.wasm else { return absent("this controller serves no filter: set wasm_file\n") };
    if !wasm.sha256.eq_ignore_ascii_case(&sha256) {
        let message = format!("this controller has another filter: {}\n", wasm.path());
        // Another connection may reach the replica that has it; this one cannot.
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::CONNECTION, "close")], message).into_response();
    }
    let etag = format!("\"{}\"", wasm.sha256);
    let headers =
        [(header::CONTENT_TYPE, CONTENT_TYPE), (header::CACHE_CONTROL, CACHE), (header::ETAG, etag.as_str())];
    (headers, wasm.bytes.clone()).into_response()
}

fn absent(message: &str) -> Response {
    (StatusCode::NOT_FOUND, message.to_owned()).into_response()
}
