//! One connection that is kept alive and sends one request after the other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Longest time for one request: far above what anything here takes, so that it is reached by a failure only.
const REQUEST_TIME_MAX: Duration = Duration::from_mins(1);

/// A connection.
#[derive(Debug)]
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
}

/// When the parts of an answer came, from the begin of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The first byte of the body.
    pub first: Duration,
    /// The end.
    pub end: Duration,
}

impl Client {
    /// Connects.
    pub async fn connect(gateway: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(gateway).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// Sends a chat and hears its answer to the end; anything but 200 is an error.
    pub async fn post(&mut self, body: Bytes) -> anyhow::Result<Times> {
        tokio::time::timeout(REQUEST_TIME_MAX, self.exchange(body)).await.context("no answer came")?
    }

    async fn exchange(&mut self, body: Bytes) -> anyhow::Result<Times> {
        let request = Request::post("/v1/chat/completions")
            .header("host", "gateway")
            .header("content-type", "application/json")
            .body(Full::from(body))?;
        self.sender.ready().await?;
        let begun = Instant::now();
        let response = self.sender.send_request(request).await.context("a request was lost")?;
        let status = response.status();
        let (mut body, mut first) = (response.into_body(), None);
        let mut refusal = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.context("an answer broke off")?;
            first.get_or_insert_with(|| begun.elapsed());
            if status != 200 {
                refusal.extend(frame.into_data().unwrap_or_default());
            }
        }
        ensure!(status == 200, "a request was answered {status}: {}", String::from_utf8_lossy(&refusal));
        let end = begun.elapsed();
        Ok(Times { first: first.unwrap_or(end), end })
    }
}
