//! Requests in framings that client libraries do not choose: their end is not the end of the body.

use super::ask::PATH;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// The headers of a request that is written by hand, without those of its length.
pub(crate) const HEAD: &str = "host: gateway\r\ncontent-type: application/json\r\n";

/// A request of HTTP/1.1 with this body in two chunks, and a trailer.
pub(crate) fn chunks_and_trailers(body: &str) -> String {
    let (first, second) = body.split_at(100);
    format!(
        "POST {PATH} HTTP/1.1\r\n{HEAD}transfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
         {:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\nx-sum: 1\r\n\r\n",
        first.len(),
        second.len()
    )
}

/// Sends a request with trailers over HTTP/2.
pub(crate) async fn send_with_trailers(gateway: SocketAddr, body: String) -> StatusCode {
    let stream = TcpStream::connect(gateway).await.unwrap();
    let (mut requests, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let trailers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("sum"))]);
    let body = Full::new(Bytes::from(body)).with_trailers(async { Some(Ok::<_, Infallible>(trailers)) });
    let request = Request::post(format!("http://{gateway}{PATH}"))
        .header("content-type", "application/json")
        .body(Box::pin(body))
        .unwrap();
    requests.send_request(request).await.unwrap().status()
}
