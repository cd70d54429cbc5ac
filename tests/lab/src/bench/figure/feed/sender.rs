//! A made-up proxy: it tells the controller what it routed, and the controller tells all others.

use crate::bench::figure::world::Chance;
use anyhow::Context;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;
use warmpath_core::ids::{CellHash, EndpointId};
use warmpath_core::wire::{Down, Event, Hello, Kind, Routed, STREAM_METHOD, STREAM_SERVICE, Up};

/// Names the made-up process; any number but zero.
const PROCESS: u64 = 0x0BE7_C400;

/// Time between two messages.
const INTERVAL: Duration = Duration::from_millis(10);

/// Cells of each prompt, about 5 KB of text.
const CHAIN_CELLS: usize = 20;

/// Messages that may wait for the network.
const QUEUE: usize = 64;

/// The connection.
#[derive(Debug)]
pub(super) struct Sender {
    up: mpsc::Sender<Up>,
    endpoints: Vec<u64>,
    sent: Arc<AtomicU64>,
}

// === impl Sender ===

impl Sender {
    /// Introduces itself to the controller; what comes down is read and forgotten.
    pub(super) async fn connect(controller: SocketAddr, engines: &[SocketAddr]) -> anyhow::Result<Self> {
        let channel =
            Endpoint::from_shared(format!("http://{controller}"))?.tcp_nodelay(true).connect().await?;
        let mut client = Grpc::new(channel);
        client.ready().await.context("the controller does not take the stream")?;
        let (up, messages) = mpsc::channel(QUEUE);
        let hello = Hello { process: PROCESS, node: "bench".to_owned(), ..Hello::default() };
        up.send(Up { hello: Some(hello), events: Vec::new() }).await?;
        let path = PathAndQuery::try_from(format!("/{STREAM_SERVICE}/{STREAM_METHOD}"))?;
        let codec: ProstCodec<Up, Down> = ProstCodec::default();
        let response = client.streaming(Request::new(ReceiverStream::new(messages)), path, codec).await?;
        let mut down = response.into_inner();
        tokio::spawn(async move { while let Ok(Some(_)) = down.message().await {} });
        let endpoints = engines.iter().map(|engine| EndpointId::of(&engine.to_string()).0).collect();
        Ok(Self { up, endpoints, sent: Arc::default() })
    }

    /// Tells new prefixes until the task is aborted, so many cells a second.
    pub(super) fn keep_sending(&self, cells_per_s: f64) -> JoinHandle<()> {
        let (up, endpoints, sent) = (self.up.clone(), self.endpoints.clone(), Arc::clone(&self.sent));
        let chains = (cells_per_s * INTERVAL.as_secs_f64() / CHAIN_CELLS as f64).round() as usize;
        tokio::spawn(async move {
            let mut chance = Chance(PROCESS);
            let mut ticks = interval(INTERVAL);
            // Late is caught up with: the rate is what is promised.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            loop {
                ticks.tick().await;
                let events = (0..chains).map(|_| {
                    let endpoint = endpoints.get(chance.below(endpoints.len())).copied().unwrap_or_default();
                    routed(endpoint, &chance.chain(CHAIN_CELLS))
                });
                if up.send(Up { hello: None, events: events.collect() }).await.is_err() {
                    return;
                }
                sent.fetch_add((chains * CHAIN_CELLS) as u64, Ordering::Relaxed);
            }
        })
    }

    /// New cells so far.
    pub(super) fn cells_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Tells one prefix, held by the first engine.
    pub(super) async fn tell(&self, chain: &[CellHash]) -> anyhow::Result<()> {
        let endpoint = self.endpoints.first().copied().context("no engine")?;
        let events = vec![routed(endpoint, chain)];
        self.up.send(Up { hello: None, events }).await.context("the controller closed the stream")
    }
}

fn routed(endpoint: u64, chain: &[CellHash]) -> Event {
    let cells = chain.iter().map(|cell| cell.0).collect();
    Kind::Routed(Routed { endpoint, cells, ..Routed::default() }).into()
}
