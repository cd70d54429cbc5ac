//! Streamed answers at the same time.

use super::{Client, Numbers, Sent, body};
use futures::future::try_join_all;
use std::net::SocketAddr;

/// The load. Its unit is a piece, which is one token.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    /// How many at the same time.
    pub streams: usize,
    /// Pieces of each.
    pub chunks: usize,
    /// Whether the client asks for the usage at the end.
    pub has_usage: bool,
}

// === impl Streams ===

impl Streams {
    /// Asks for them and hears them to their end. One that fails ends it.
    pub async fn run(self, gateway: SocketAddr, numbers: &mut Numbers) -> anyhow::Result<Sent> {
        let first = numbers.take(self.streams);
        let stream = async |at: usize| {
            let mut client = Client::connect(gateway).await?;
            client.post(body::stream(first + at as u64, self.chunks, self.has_usage)).await
        };
        try_join_all((0..self.streams).map(stream)).await?;
        Ok(Sent { units: self.streams * self.chunks, ..Sent::default() })
    }
}
