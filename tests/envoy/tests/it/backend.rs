//! A small HTTP server that says who it is and how much it was sent: enough to see where a request went.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

/// The server: what it is asked, and what it answers.
pub(crate) struct Backend {
    address: SocketAddr,
    body_lengths: Arc<Mutex<Vec<usize>>>,
    server: JoinHandle<()>,
}

// === impl Backend ===

impl Backend {
    /// Answers everything with this status and with `{"served_by": its address, "bytes": the body's length}`.
    pub(crate) async fn start(status: StatusCode) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let body_lengths = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&body_lengths);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                let service = service_fn(move |request| answer(request, status, address, Arc::clone(&seen)));
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, body_lengths, server }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The length of the body of each request so far.
    pub(crate) fn body_lengths(&self) -> Vec<usize> {
        self.body_lengths.lock().unwrap().clone()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    status: StatusCode,
    address: SocketAddr,
    seen: Arc<Mutex<Vec<usize>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let bytes = request.into_body().collect().await?.to_bytes().len();
    seen.lock().unwrap().push(bytes);
    let body = json!({ "served_by": address.to_string(), "bytes": bytes }).to_string();
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    Ok(response)
}

/// An address at which connections are refused, for as long as this lives: bound, and not listening.
pub(crate) struct DeadAddress {
    address: SocketAddr,
    _socket: TcpSocket,
}

// === impl DeadAddress ===

impl DeadAddress {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self { address: socket.local_addr().unwrap(), _socket: socket }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.address
    }
}
