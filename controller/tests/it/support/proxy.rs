//! A proxy's end of the state stream, with a view that follows it.

use super::DEADLINE;
use std::net::SocketAddr;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;
use warmpath_core::wire::{Down, Event, Hello, Kind, Phase, PrefixDecoder, ResumePoint, Up};

/// One stream.
pub(crate) struct Proxy {
    pub(crate) process: u64,
    pub(crate) view: View,
    prefixes: PrefixDecoder,
    pub(crate) instance: u64,
    pub(crate) generation: u64,
    up: mpsc::Sender<Up>,
    down: Streaming<Down>,
}

// === impl Proxy ===

impl Proxy {
    /// Connects without a past and takes the snapshot in.
    pub(crate) async fn connect(address: SocketAddr, process: u64) -> Self {
        let mut proxy = Self::open(address, Hello { process, ..Hello::default() }).await;
        assert_eq!(proxy.follow().await, Phase::Begin);
        proxy
    }

    /// Opens a stream with this greeting and reads nothing.
    pub(crate) async fn open(address: SocketAddr, hello: Hello) -> Self {
        let process = hello.process;
        let (up, down) = raw(address, Up { hello: Some(hello), events: Vec::new() }).await;
        Self {
            process,
            view: View::default(),
            prefixes: PrefixDecoder::default(),
            instance: 0,
            generation: 0,
            up,
            down,
        }
    }

    /// The first message of the next stream.
    pub(crate) fn hello(&self) -> Hello {
        let resume = Some(ResumePoint { instance: self.instance, generation: self.generation });
        Hello { process: self.process, resume, ..Hello::default() }
    }

    /// Reports events.
    pub(crate) async fn report(&self, kinds: impl IntoIterator<Item = Kind>) {
        let events = kinds.into_iter().map(Event::from).collect();
        self.up.send(Up { hello: None, events }).await.unwrap();
    }

    /// Sends a message as it is.
    pub(crate) async fn send(&self, up: Up) {
        self.up.send(up).await.unwrap();
    }

    /// Takes in a snapshot or the reply to a resume, and returns which it was.
    pub(crate) async fn follow(&mut self) -> Phase {
        let first = self.next().await.phase();
        let mut phase = first;
        while !matches!(phase, Phase::Done | Phase::Resumed) {
            phase = self.next().await.phase();
        }
        first
    }

    /// Takes in messages until the view pleases.
    pub(crate) async fn until(&mut self, what: &str, is_true: impl Fn(&View) -> bool) {
        while !is_true(&self.view) {
            let generation = self.generation;
            self.try_next().await.unwrap_or_else(|status| {
                panic!("stream ended at generation {generation} before {what}: {status:?}")
            });
        }
    }

    /// Takes in the next message.
    pub(crate) async fn next(&mut self) -> Down {
        self.try_next().await.unwrap()
    }

    /// Takes in the next message, or learns how the stream ended.
    pub(crate) async fn try_next(&mut self) -> Result<Down, Option<Status>> {
        let message = tokio::time::timeout(DEADLINE, self.down.message()).await.expect("no message came");
        let down = message.map_err(Some)?.ok_or(None)?;
        for event in &down.events {
            let whole = match &event.kind {
                Some(Kind::Prefix(prefix)) => Kind::Prefix(self.prefixes.decode(prefix).unwrap()).into(),
                _ => event.clone(),
            };
            self.view.apply(&whole, Timestamp::ZERO);
        }
        self.instance = down.instance;
        self.generation = down.generation;
        Ok(down)
    }
}

async fn raw(address: SocketAddr, first: Up) -> (mpsc::Sender<Up>, Streaming<Down>) {
    let channel: Channel =
        Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let (up, messages) = mpsc::channel(16);
    up.send(first).await.unwrap();
    let path = PathAndQuery::from_static("/warmpath.v1.State/Sync");
    let codec: ProstCodec<Up, Down> = ProstCodec::default();
    let request = Request::new(ReceiverStream::new(messages));
    let response = client.streaming(request, path, codec).await.unwrap();
    (up, response.into_inner())
}
