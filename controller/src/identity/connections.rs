//! Accepts the connections of the gRPC port, and encrypts them if there is a certificate.
//!
//! Handshakes run concurrently, in a bounded number: a slow one, or one that never ends, must not block others.

use super::Identity;
use super::certificate::Certificate;
use crate::logs::Paced;
use crate::metrics::Metrics;
use rustls::server::ServerConfig;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes at once.
const HANDSHAKES_MAX: usize = 256;
/// Connections that wait for the server to take them.
const ACCEPTED_MAX: usize = 16;
/// Wait after a failed accept: usually no file descriptor is left, and one must become free first.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How a client disconnects during a handshake, as a port probe does.
const LEFT: [io::ErrorKind; 3] =
    [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
/// HTTP/2, the only protocol of this port.
const ALPN: &[u8] = b"h2";

/// One connection.
#[derive(Debug)]
pub enum Connection {
    /// Without a certificate.
    Plaintext(TcpStream),
    /// With one.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Counts and logs failed handshakes.
#[derive(Clone, Debug)]
struct Failures {
    metrics: Arc<Metrics>,
    paced: Arc<Paced>,
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// It does not speak TLS.
    Plaintext,
    /// The client rejects the certificate, or every cipher.
    Refused,
    /// It took too long.
    Timeout,
    /// The client disconnected.
    Left,
    /// There are too many at once.
    TooMany,
    /// Something else.
    Other,
}

/// Accepts connections for as long as the stream is read.
pub fn connections(listener: TcpListener, identity: &Identity) -> ReceiverStream<io::Result<Connection>> {
    let (accepted, connections) = mpsc::channel(ACCEPTED_MAX);
    let acceptor = identity.certificate.as_ref().map(|(_, certificate)| acceptor(certificate));
    let failures = Failures { metrics: Arc::clone(&identity.metrics), paced: Arc::default() };
    tokio::spawn(accept(listener, acceptor, failures, accepted));
    ReceiverStream::new(connections)
}

fn acceptor(certificate: &Arc<Certificate>) -> TlsAcceptor {
    let builder = ServerConfig::builder_with_provider(Arc::clone(certificate.provider()));
    let versions = builder.with_safe_default_protocol_versions();
    let versions = versions.unwrap_or_else(|_| unreachable!("ring has suites of both versions"));
    let resolver: Arc<Certificate> = Arc::clone(certificate);
    let mut config = versions.with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = vec![ALPN.to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    failures: Failures,
    accepted: mpsc::Sender<io::Result<Connection>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let (stream, from) = tokio::select! {
            next = listener.accept() => match next {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            },
            () = accepted.closed() => return,
        };
        // A failure only makes messages later.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = acceptor.clone() else {
            if accepted.send(Ok(Connection::Plaintext(stream))).await.is_err() {
                return;
            }
            continue;
        };
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            failures.note(from, Failure::TooMany, None);
            continue;
        };
        let (accepted, failures) = (accepted.clone(), failures.clone());
        tokio::spawn(async move {
            let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
            drop(permit);
            match shaken {
                // The receiver is gone when the server stops.
                Ok(Ok(stream)) => drop(accepted.send(Ok(Connection::Tls(Box::new(stream)))).await),
                Ok(Err(error)) => failures.note(from, Failure::of(&error), Some(&error)),
                Err(_) => failures.note(from, Failure::Timeout, None),
            }
        });
    }
}

// === impl Failures ===

impl Failures {
    fn note(&self, from: SocketAddr, failure: Failure, error: Option<&io::Error>) {
        let reason = failure.label();
        self.metrics.handshakes_failed.get_or_create(&[("reason", reason)]).inc();
        if failure != Failure::Left && self.paced.is_due(reason) {
            let error = error.map(ToString::to_string);
            tracing::warn!(%from, reason, error, "a TLS handshake failed");
        }
    }
}

// === impl Failure ===

impl Failure {
    fn of(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::InvalidMessage(_)) => Self::Plaintext,
            Some(rustls::Error::AlertReceived(_)) => Self::Refused,
            None if LEFT.contains(&error.kind()) => Self::Left,
            Some(_) | None => Self::Other,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Left => "left",
            Self::TooMany => "too_many",
            Self::Other => "other",
        }
    }
}

// === impl Connection ===

impl Connection {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plaintext(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.socket().connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plaintext(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plaintext(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plaintext(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plaintext(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plaintext(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plaintext(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
