//! One connection that stays one: all its requests are served by the same worker thread of Envoy, which a
//! client with a pool cannot promise.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{ClientError, Response};
use crate::wait::DEADLINE;

/// An HTTP/1.1 connection. Dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    requests: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self, ClientError> {
        let stream = TcpStream::connect(address).await.map_err(ClientError::Connect)?;
        stream.set_nodelay(true).map_err(ClientError::Connect)?;
        let (requests, connection) =
            handshake(TokioIo::new(stream)).await.map_err(ClientError::Connection)?;
        let driver = tokio::spawn(async move {
            // An error of the connection is an error of the request that is under way, and told there.
            let _ended = connection.await;
        });
        Ok(Self { address, requests, driver })
    }

    /// Sends a request and waits for the whole response.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response, ClientError> {
        let mut request =
            Request::builder().method(method).uri(path).header("host", self.address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(ClientError::Request)?;
        let exchange = async {
            self.requests.ready().await.map_err(ClientError::Connection)?;
            let response = self.requests.send_request(request).await.map_err(ClientError::Connection)?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.map_err(ClientError::Body)?.to_bytes();
            Ok(Response { status: parts.status, headers: parts.headers, body })
        };
        timeout(DEADLINE, exchange).await.map_err(|_| ClientError::Silent)?
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
