//! One connection that stays one: all its requests are served by the same worker thread of Envoy, which a
//! client with a pool cannot promise.

use crate::{ClientError, RESPONSE_TIME_MAX, Response, Streaming, request};
use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// An HTTP/1.1 connection. Dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    host: String,
    requests: SendRequest<Full<Bytes>>,
    driver: JoinHandle<hyper::Result<()>>,
    time_max: Duration,
}

// === impl Connection ===

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self, ClientError> {
        let stream = TcpStream::connect(address).await.map_err(ClientError::Connect)?;
        stream.set_nodelay(true).map_err(ClientError::Connect)?;
        let (requests, connection) =
            handshake(TokioIo::new(stream)).await.map_err(ClientError::Connection)?;
        let driver = tokio::spawn(connection);
        Ok(Self { host: address.to_string(), requests, driver, time_max: RESPONSE_TIME_MAX })
    }

    /// Waits for each response so long.
    #[must_use]
    pub fn with_time_max(mut self, time_max: Duration) -> Self {
        self.time_max = time_max;
        self
    }

    /// Sends a request and waits for the whole response.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response, ClientError> {
        let time_max = self.time_max;
        let whole = async { self.stream(method, path, headers, body).await?.whole().await };
        timeout(time_max, whole).await.map_err(|_| ClientError::Silent(time_max))?
    }

    /// Sends a request and waits for the headers of the response. The next request waits for the end of its body.
    pub async fn stream(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Streaming, ClientError> {
        let headers: Vec<_> = [("host", self.host.as_str())].iter().chain(headers).copied().collect();
        let request = request(method, path, &headers, body)?;
        let exchange = async {
            self.requests.ready().await.map_err(ClientError::Connection)?;
            let sent = Instant::now();
            let response = self.requests.send_request(request).await.map_err(ClientError::Connection)?;
            Ok(Streaming::new(response, sent))
        };
        timeout(self.time_max, exchange).await.map_err(|_| ClientError::Silent(self.time_max))?
    }

    /// Waits until the server has closed it.
    pub async fn closed(mut self) -> Result<(), ClientError> {
        (&mut self.driver).await.unwrap_or(Ok(())).map_err(ClientError::Connection)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // An error of the connection is an error of the request that is under way, and is reported there.
        self.driver.abort();
    }
}
