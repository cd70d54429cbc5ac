//! Many long prompts, at the same moment or one shortly after the other.
//!
//! All connections stand and all bodies are made before the clock starts, so that the time is that of the way to the
//! engine and back, and of the queue before it.

use super::{Client, Numbers, Sent, body};
use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const US_PER_S: f64 = 1e6;

/// The load. Its unit is a request.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// Requests, each on a connection of its own.
    pub count: usize,
    /// Bytes of each prompt.
    pub prompt_bytes: usize,
}

/// The connections, ready to send.
#[derive(Debug)]
pub struct Crowd {
    clients: Vec<Client>,
    /// What their prompts have in common, behind beginnings of their own.
    tail: String,
}

// === impl Burst ===

impl Burst {
    /// Connects to these gateways in turn, and sends one small request over each connection.
    pub async fn gather(self, gateways: &[SocketAddr], numbers: &mut Numbers) -> anyhow::Result<Crowd> {
        let addresses = gateways.iter().cycle().take(self.count);
        let mut clients = try_join_all(addresses.map(|gateway| Client::connect(*gateway))).await?;
        let first = numbers.take(self.count);
        let hello = |(client, number): (_, u64)| greet(client, first + number);
        try_join_all(clients.iter_mut().zip(0..).map(hello)).await?;
        Ok(Crowd { clients, tail: body::tail(self.prompt_bytes) })
    }
}

async fn greet(client: &mut Client, number: u64) -> anyhow::Result<()> {
    client.post(body::stream(number, 1, false)).await.map(|_| ())
}

// === impl Crowd ===

impl Crowd {
    /// Makes the bodies of the next burst.
    pub fn bodies(&self, numbers: &mut Numbers) -> Vec<Bytes> {
        let first = numbers.take(self.clients.len());
        let numbers = (first..).take(self.clients.len());
        numbers.map(|number| body::long(number, &self.tail)).collect()
    }

    /// Sends each of them `spacing` after the one before, and waits for all answers. A request without an answer is
    /// counted, and its connection opened no more.
    pub async fn send(&mut self, bodies: Vec<Bytes>, spacing: Duration) -> Sent {
        let begun = Instant::now();
        let posts =
            self.clients.iter_mut().zip(bodies).zip(0_u32..).map(|((client, body), number)| async move {
                if !spacing.is_zero() {
                    sleep_until(begun + spacing * number).await;
                }
                client.post(body).await
            });
        let answers = join_all(posts).await;
        let times: Vec<_> = answers.iter().flatten().collect();
        Sent {
            units: times.len(),
            latency_us: times.iter().map(|times| times.first.as_secs_f64() * US_PER_S).collect(),
            lost: answers.len() - times.len(),
        }
    }
}
