//! A bare connection, for what a well-behaved client does not do: pipelining, HTTP/1.0, half a request, going
//! away in the middle.

use crate::RESPONSE_TIME_MAX;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A connection that sends exactly these bytes, and returns those that it receives.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
    received: Vec<u8>,
}

// === impl RawConnection ===

impl RawConnection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { stream: TcpStream::connect(address).await?, received: Vec::new() })
    }

    /// Sends these bytes, as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Reads until what has been received so far, as text, is `enough`, and returns it all.
    pub async fn read_until(&mut self, enough: impl Fn(&str) -> bool) -> io::Result<String> {
        timeout(RESPONSE_TIME_MAX, async {
            loop {
                let text = String::from_utf8_lossy(&self.received);
                if enough(&text) {
                    return Ok(text.into_owned());
                }
                if self.stream.read_buf(&mut self.received).await? == 0 {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text_of(&self.received)));
                }
            }
        })
        .await?
    }

    /// Reads until the server closes, and returns all that has been received.
    pub async fn read_to_end(mut self) -> io::Result<String> {
        timeout(RESPONSE_TIME_MAX, self.stream.read_to_end(&mut self.received)).await??;
        Ok(text_of(&self.received))
    }

    /// Goes away at once, with a reset instead of a goodbye.
    pub fn abort(self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
