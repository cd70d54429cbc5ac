//! An engine that keeps the bytes of each request and serves either leg: a library, or a simulated engine, would hide them.

use super::HANDOVER;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What is in the body of a request whose response never ends after its first token.
pub(super) const ENDLESS: &str = "without end";

/// How long a prefill leg takes.
const PREFILL: Duration = Duration::from_millis(20);

const TOKEN: &[u8] = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
const DONE: &[u8] = b"data: [DONE]\n\n";
const WHOLE: &[u8] = br#"{"choices":[{"message":{"content":"a"}}]}"#;

/// What an engine does with a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Serves it.
    Well,
    /// Responds with this status.
    Status(StatusCode),
    /// Responds with 200 and nonsense.
    Nonsense,
    /// Responds with 200 and half of a body, and closes the connection.
    Dying,
    /// Closes the connection.
    Gone,
    /// Never responds.
    Stalled,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

type Body = BoxBody<Bytes, io::Error>;

/// What all connections of an engine share.
#[derive(Debug)]
struct Shared {
    /// With prefill legs and with decode legs.
    manners: Mutex<(Manner, Manner)>,
    received: Mutex<Vec<Received>>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Engine {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

// === impl Received ===

impl Received {
    /// Whether it has what a prefill leg has handed over.
    pub(super) fn is_decode(&self) -> bool {
        contains(&self.body, HANDOVER.as_bytes())
    }

    /// Whether it is a prefill leg.
    pub(super) fn is_prefill(&self) -> bool {
        contains(&self.body, br#""do_remote_decode":true"#)
    }
}

// === impl Engine ===

impl Engine {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            manners: Mutex::new((Manner::Well, Manner::Well)),
            received: Mutex::default(),
        });
        let of_all = Arc::clone(&shared);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&of_all);
                let service = service_fn(move |request| respond(Arc::clone(&shared), request));
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, shared, server }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.address
    }

    /// With prefill legs from now on.
    pub(super) fn set(&self, manner: Manner) {
        self.shared.manners.lock().unwrap().0 = manner;
    }

    /// With decode legs from now on.
    pub(super) fn set_decode(&self, manner: Manner) {
        self.shared.manners.lock().unwrap().1 = manner;
    }

    /// What has come since the last time that this was asked, but for what has no end.
    pub(super) fn take_received(&self) -> Vec<Received> {
        let mut received = std::mem::take(&mut *self.shared.received.lock().unwrap());
        received.retain(|request| !contains(&request.body, ENDLESS.as_bytes()));
        received
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn respond(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let received = Received { path: head.uri.path().to_owned(), headers: head.headers, body };
    let (is_prefill, is_decode) = (received.is_prefill(), received.is_decode());
    let body = received.body.clone();
    shared.received.lock().unwrap().push(received);
    let (of_prefill, of_decode) = *shared.manners.lock().unwrap();
    let manner = if is_prefill {
        of_prefill
    } else if is_decode {
        of_decode
    } else {
        Manner::Well
    };
    match manner {
        Manner::Well if is_prefill => {
            tokio::time::sleep(PREFILL).await;
            let body =
                format!(r#"{{"choices":[{{"finish_reason":"length"}}],"kv_transfer_params":{HANDOVER}}}"#);
            Ok(json(StatusCode::OK, body.into()))
        }
        Manner::Well => Ok(generated(&body)),
        Manner::Status(status) => Ok(json(status, r#"{"error":{"message":"not well"}}"#.into())),
        Manner::Nonsense => Ok(json(StatusCode::OK, "<html>".into())),
        Manner::Dying => {
            let half = Ok(Frame::data(Bytes::from_static(br#"{"choices":[{"finish_re"#)));
            let body = StreamBody::new(stream::iter([half, Err(io::Error::other("dies"))]));
            Ok(response("application/json", BodyExt::boxed(body)))
        }
        Manner::Gone => Err(io::Error::other("gone")),
        Manner::Stalled => std::future::pending().await,
    }
}

/// The response of a whole request or of a decode leg.
fn generated(body: &[u8]) -> Response<Body> {
    if !contains(body, br#""stream":true"#) {
        return json(StatusCode::OK, Bytes::from_static(WHOLE));
    }
    let piece = |bytes: &'static [u8]| Ok(Frame::data(Bytes::from_static(bytes)));
    let pieces = stream::iter([piece(TOKEN)]);
    if contains(body, ENDLESS.as_bytes()) {
        return response(
            "text/event-stream",
            BodyExt::boxed(StreamBody::new(pieces.chain(stream::pending()))),
        );
    }
    response("text/event-stream", BodyExt::boxed(StreamBody::new(pieces.chain(stream::iter([piece(DONE)])))))
}

fn json(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = response("application/json", Full::new(body).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response
}

fn response(content_type: &'static str, body: Body) -> Response<Body> {
    Response::builder().header("content-type", content_type).body(body).unwrap()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
