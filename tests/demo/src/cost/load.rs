//! What is sent while the processor time is read.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpStream;

use crate::cluster::MODEL;
use crate::workload::words;

/// Bytes of a token.
const TOKEN_BYTES: usize = warmpath_engine::model::TOKEN_BYTES;

/// A load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "load", rename_all = "snake_case")]
pub(super) enum Load {
    /// Requests with prompts that nobody has seen, answered whole with one token. The unit is a request.
    Requests {
        /// How many, all connections together.
        count: usize,
        /// Connections that are kept alive and send one request after the other.
        connections: usize,
        /// Bytes of each prompt.
        prompt_bytes: usize,
    },
    /// Streams at the same time. The unit is a piece, which is one token.
    Stream {
        /// How many streams.
        streams: usize,
        /// Pieces of each.
        chunks: usize,
        /// Whether the client asks for the usage at the end.
        has_usage: bool,
    },
}

impl Load {
    /// The same with fewer requests, to warm up. Streams are short enough as they are.
    pub(super) fn smaller(self, requests_max: usize) -> Self {
        match self {
            Self::Requests { count, connections, prompt_bytes } => {
                Self::Requests { count: count.min(requests_max), connections, prompt_bytes }
            }
            Self::Stream { .. } => self,
        }
    }

    /// What a unit is.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Requests { .. } => "request",
            Self::Stream { .. } => "piece",
        }
    }

    /// The load in a few words.
    pub(super) fn label(self) -> String {
        match self {
            Self::Requests { connections, prompt_bytes, .. } => {
                format!("{} KB prompt, {connections} connection(s)", prompt_bytes >> 10)
            }
            Self::Stream { streams, has_usage, .. } => {
                format!("{streams} streams, usage {}", if has_usage { "asked" } else { "not asked" })
            }
        }
    }

    /// Sends it, and returns how many units that were. `number` makes every prompt a new one.
    pub(super) async fn run(self, gateway: SocketAddr, number: &mut u64) -> anyhow::Result<usize> {
        let (connections, each, units) = match self {
            Self::Requests { count, connections, .. } => {
                let each = count.div_ceil(connections.max(1));
                (connections, each, each * connections)
            }
            Self::Stream { streams, chunks, .. } => (streams, 1, streams * chunks),
        };
        let first = *number;
        *number += (connections * each) as u64;
        let connection = async |at: usize| {
            let mut sender = connect(gateway).await?;
            for request in 0..each {
                post(&mut sender, self.body(first + (at * each + request) as u64)).await?;
            }
            anyhow::Ok(())
        };
        try_join_all((0..connections).map(connection)).await?;
        Ok(units)
    }

    fn body(self, number: u64) -> Bytes {
        let (prompt_bytes, max_tokens) = match self {
            Self::Requests { prompt_bytes, .. } => (prompt_bytes, 1),
            Self::Stream { chunks, .. } => (1 << 10, chunks),
        };
        let prompt = words(number, prompt_bytes / TOKEN_BYTES);
        let mut body = json!({
            "model": MODEL,
            "messages": [{ "role": "user", "content": prompt }],
            "max_tokens": max_tokens,
        });
        if let (Self::Stream { has_usage, .. }, Some(fields)) = (self, body.as_object_mut()) {
            fields.insert("stream".to_owned(), true.into());
            if has_usage {
                fields.insert("stream_options".to_owned(), json!({ "include_usage": true }));
            }
        }
        body.to_string().into()
    }
}

async fn connect(gateway: SocketAddr) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(gateway).await.context("cannot connect to envoy")?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn post(sender: &mut SendRequest<Full<Bytes>>, body: Bytes) -> anyhow::Result<()> {
    let request = Request::post("/v1/chat/completions")
        .header("host", "gateway")
        .header("content-type", "application/json")
        .body(Full::from(body))?;
    sender.ready().await?;
    let response = sender.send_request(request).await.context("a request was lost")?;
    ensure!(response.status() == 200, "a request was answered {}", response.status());
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.context("an answer broke off")?;
    }
    Ok(())
}
