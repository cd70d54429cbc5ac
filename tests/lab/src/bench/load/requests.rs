//! Requests with prompts that nobody has seen, one after the other on each connection, answered whole with one token.

use super::{Client, Numbers, Sent, body};
use futures::future::try_join_all;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const US_PER_S: f64 = 1e6;

/// The load. Its unit is a request.
#[derive(Clone, Copy, Debug)]
pub struct Requests {
    /// How many, all connections together.
    pub count: usize,
    /// Connections that are kept alive.
    pub connections: usize,
    /// Bytes of each prompt.
    pub prompt_bytes: usize,
    /// When to end, even if fewer were sent.
    pub time_max: Duration,
}

// === impl Requests ===

impl Requests {
    /// Sends them. A request that fails ends it.
    pub async fn run(self, gateway: SocketAddr, numbers: &mut Numbers) -> anyhow::Result<Sent> {
        let each = self.count.div_ceil(self.connections.max(1));
        let first = numbers.take(each * self.connections);
        let begun = Instant::now();
        let connection = async |at: usize| {
            let mut client = Client::connect(gateway).await?;
            let mut latency_us = Vec::with_capacity(each);
            for request in 0..each {
                let body = body::whole(first + (at * each + request) as u64, self.prompt_bytes);
                latency_us.push(client.post(body).await?.end.as_secs_f64() * US_PER_S);
                if begun.elapsed() > self.time_max {
                    break;
                }
            }
            anyhow::Ok(latency_us)
        };
        let latency_us = try_join_all((0..self.connections).map(connection)).await?.concat();
        Ok(Sent { units: latency_us.len(), latency_us, lost: 0 })
    }
}
