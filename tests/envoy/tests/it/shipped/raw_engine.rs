//! An engine that shows the bytes of each request and responds with bytes: what a library would hide.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the engine does with a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    /// Writes these bytes and waits for the next request.
    Respond(&'static str),
    /// Writes these bytes and closes the connection.
    Close(&'static str),
    /// Writes these bytes, then whatever it reads.
    Echo(&'static str),
}

/// A response without a body.
pub(super) const OK: Then = Then::Respond("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");

/// See the module.
pub(super) struct RawEngine {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

// === impl RawEngine ===

impl RawEngine {
    /// Does what `then` says, which gets the number of the request on its connection, from 0.
    pub(super) async fn start(then: impl Fn(usize) -> Then + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (then, seen) = (Arc::new(then), Arc::clone(&heads));
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (then, seen) = (Arc::clone(&then), Arc::clone(&seen));
                // An error is the other side's leaving.
                tokio::spawn(async move { serve(stream, &*then, &seen).await.ok() });
            }
        });
        Self { address, heads, server }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The head of each request so far, in lower case.
    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for RawEngine {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    then: &(impl Fn(usize) -> Then + Send + Sync),
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    for number in 0.. {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.trim().parse().unwrap());
        seen.lock().unwrap().push(head);
        stream.read_exact(&mut vec![0; length]).await?;
        match then(number) {
            Then::Respond(bytes) => stream.write_all(bytes.as_bytes()).await?,
            Then::Close(bytes) => return stream.write_all(bytes.as_bytes()).await,
            Then::Echo(bytes) => {
                stream.write_all(bytes.as_bytes()).await?;
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await?;
                return Ok(());
            }
        }
    }
    Ok(())
}
