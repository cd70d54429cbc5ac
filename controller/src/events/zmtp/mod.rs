//! One connection to a ZeroMQ socket of an engine: ZMTP 3, without security, as the side that receives.
//!
//! Written here because of bounds. What is at the other end may be anything that listens at a port, and the crate that speaks
//! ZMTP in Rust allocates whatever length a frame's header declares, which nine bytes of garbage turn into the end of the
//! process. It also does not say which peer a message came from, and waits for up to half a minute between two connections.
//! What is needed of the protocol is small: two kinds of socket, one mechanism, frames.

mod frames;

use bytes::{Bytes, BytesMut};
use frames::{Fault, Frames, GREETING_BYTES, Received, command, greeting, message, property, read_greeting};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// How long it may take to connect, and to agree on the protocol.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
/// After how long without anything received the peer is asked for a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(4);
/// After how long without one the connection is taken for dead.
const SILENCE_MAX: Duration = Duration::from_secs(12);
/// How long a small message may take to be sent.
const SEND_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;
/// A ping: it sets no time of its own, and has no context.
const PING: &[u8] = &[0, 0];

/// What this side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Receives what is published.
    Subscriber,
    /// Sends requests and receives any number of replies to each.
    Dealer,
}

/// A connection over which messages can be received.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
    frames: Frames,
    /// Whether the peer knows pings and commands for subscriptions: ZMTP 3.1.
    is_newer: bool,
}

/// Why there is no connection, or none any more.
#[derive(Debug, Error)]
pub(super) enum ZmtpError {
    /// The network, or the peer, has ended it.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// Nothing came in time.
    #[error("nothing was received in time")]
    Silent,
    /// The peer speaks another protocol.
    #[error("the peer does not speak ZMTP 3")]
    Protocol,
    /// The peer demands credentials.
    #[error("the peer demands a security mechanism")]
    Mechanism,
    /// The peer's socket does not go with this one.
    #[error("the peer is another kind of socket")]
    Socket,
    /// A message is beyond the bounds.
    #[error("a message is larger than any of an engine")]
    TooLarge,
}

// === impl Kind ===

impl Kind {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Subscriber => b"SUB",
            Self::Dealer => b"DEALER",
        }
    }

    fn fits(self, peer: &[u8]) -> bool {
        match self {
            Self::Subscriber => matches!(peer, b"PUB" | b"XPUB"),
            Self::Dealer => matches!(peer, b"ROUTER" | b"REP" | b"DEALER"),
        }
    }
}

// === impl Connection ===

impl Connection {
    /// Connects to a socket that is bound.
    pub(super) async fn connect(address: SocketAddr, kind: Kind) -> Result<Self, ZmtpError> {
        let connect = timeout(OPEN_TIMEOUT, TcpStream::connect(address));
        Self::open(connect.await.map_err(|_| ZmtpError::Silent)??, kind).await
    }

    /// Agrees with the peer on the protocol, whichever side has connected.
    pub(super) async fn open(stream: TcpStream, kind: Kind) -> Result<Self, ZmtpError> {
        // A request must not wait for the acknowledgement of what was sent before it.
        stream.set_nodelay(true)?;
        let (buffer, frames) = (BytesMut::new(), Frames::default());
        let mut connection = Self { stream, buffer, frames, is_newer: false };
        timeout(OPEN_TIMEOUT, connection.agree(kind)).await.map_err(|_| ZmtpError::Silent)??;
        Ok(connection)
    }

    /// Receives what is published under topics that begin so. A topic of more than 200 bytes is none.
    pub(super) async fn subscribe(&mut self, topic: &str) -> Result<(), ZmtpError> {
        let topic = topic.as_bytes();
        if self.is_newer {
            return self.write(&command(b"SUBSCRIBE", topic)).await;
        }
        self.write(&message(&[&[&[1], topic].concat()])).await
    }

    /// Sends a message of short parts.
    pub(super) async fn send(&mut self, parts: &[&[u8]]) -> Result<(), ZmtpError> {
        self.write(&message(parts)).await
    }

    /// The next message. Nothing is lost where the future is dropped.
    pub(super) async fn receive(&mut self) -> Result<Vec<Bytes>, ZmtpError> {
        loop {
            match self.frames.next(&mut self.buffer)? {
                Some(Received::Message(parts)) => return Ok(parts),
                Some(Received::Command(name, contents)) => self.obey(&name, &contents)?,
                None => self.read().await?,
            }
        }
    }

    async fn agree(&mut self, kind: Kind) -> Result<(), ZmtpError> {
        self.stream.write_all(&greeting()).await?;
        let mut peer = [0; GREETING_BYTES];
        self.stream.read_exact(&mut peer).await?;
        let ((major, minor), mechanism) = read_greeting(&peer).ok_or(ZmtpError::Protocol)?;
        if major < 3 {
            return Err(ZmtpError::Protocol);
        }
        if mechanism != b"NULL" {
            return Err(ZmtpError::Mechanism);
        }
        self.is_newer = (major, minor) >= (3, 1);
        let is = frames::write_property(b"Socket-Type", kind.name());
        self.stream.write_all(&command(b"READY", &is)).await?;
        let received = loop {
            match self.frames.next(&mut self.buffer)? {
                Some(received) => break received,
                None => self.read().await?,
            }
        };
        let Received::Command(name, properties) = received else { return Err(ZmtpError::Protocol) };
        if &name[..] != b"READY" {
            return Err(ZmtpError::Mechanism);
        }
        let peer = property(properties, b"Socket-Type")?.unwrap_or_default();
        if kind.fits(&peer) { Ok(()) } else { Err(ZmtpError::Socket) }
    }

    /// Reads what there is, and pings a peer that is silent.
    async fn read(&mut self) -> Result<(), ZmtpError> {
        // Not since the last bytes came: whoever takes the messages may have taken his time, and the peer has not been asked since.
        let began = Instant::now();
        loop {
            self.buffer.reserve(READ_BYTES);
            let now = Instant::now();
            let until = if self.is_newer { now + PING_INTERVAL } else { now + SILENCE_MAX };
            match timeout_at(until, self.stream.read_buf(&mut self.buffer)).await {
                Ok(Ok(0)) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(read) => {
                    read?;
                    return Ok(());
                }
                // An older peer has no way to give a sign of life.
                Err(_) if !self.is_newer => {}
                Err(_) if began.elapsed() >= SILENCE_MAX => return Err(ZmtpError::Silent),
                Err(_) => self.put(&command(b"PING", PING))?,
            }
        }
    }

    fn obey(&mut self, name: &[u8], contents: &Bytes) -> Result<(), ZmtpError> {
        match name {
            // The first two bytes are a time to live; what follows is returned.
            b"PING" => self.put(&command(b"PONG", contents.get(2..).unwrap_or_default())),
            b"ERROR" => Err(ZmtpError::Protocol),
            _ => Ok(()),
        }
    }

    /// Sends a few bytes over a connection that has room for them, as one has on which nothing else is sent. It never waits,
    /// so it cannot be dropped half done.
    fn put(&mut self, bytes: &[u8]) -> Result<(), ZmtpError> {
        match self.stream.try_write(bytes) {
            Ok(written) if written == bytes.len() => Ok(()),
            Ok(_) => Err(ZmtpError::Silent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(ZmtpError::Silent),
            Err(error) => Err(error.into()),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ZmtpError> {
        timeout(SEND_TIMEOUT, self.stream.write_all(bytes)).await.map_err(|_| ZmtpError::Silent)??;
        Ok(())
    }
}

// === impl ZmtpError ===

impl ZmtpError {
    /// Its name in metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Io(_) => "connection",
            Self::Silent => "silent",
            Self::Protocol => "protocol",
            Self::Mechanism => "mechanism",
            Self::Socket => "socket",
            Self::TooLarge => "too_large",
        }
    }
}

impl From<Fault> for ZmtpError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Malformed => Self::Protocol,
            Fault::TooLarge => Self::TooLarge,
        }
    }
}
