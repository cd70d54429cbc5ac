//! Feeds of KV events against ZeroMQ sockets of another implementation: what is reported of an engine that publishes, loses
//! messages, restarts, connects by itself, or is none at all.

use crate::support::until;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use warmpath::clock::Clock;
use warmpath::events::{Batch, Feeds, Followed, KvEvent, Report, Sources, Step};
use warmpath::metrics::Metrics;
use warmpath_core::wire::Trust;
use zeromq::{PubSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

/// An engine's sockets, and what it has published.
struct Publisher {
    socket: PubSocket,
    topic: &'static [u8],
    published: Vec<Bytes>,
    process: u8,
}

/// The feeds of one engine, and what follows from its reports.
struct Follow {
    feeds: Feeds,
    reports: mpsc::Receiver<Report>,
    engine: SocketAddr,
    metrics: Arc<Metrics>,
    held: BTreeSet<u64>,
    trust: Trust,
    /// How often everything was void.
    voids: usize,
}

// === impl Publisher ===

impl Publisher {
    fn new(socket: PubSocket, process: u8) -> Self {
        Self { socket, topic: b"kv-events", published: Vec::new(), process }
    }

    async fn bind(address: &str, process: u8) -> (Self, SocketAddr) {
        let mut socket = PubSocket::new();
        // The port may be that of a process that has just ended.
        let bound = until("the port is free", async || socket.bind(address).await.ok()).await;
        let bound = bound.to_string().replace("tcp://", "").parse().unwrap();
        (Self::new(socket, process), bound)
    }

    /// Stores a block, or removes it, without publishing that.
    fn lose(&mut self, name: &str, block: u8) {
        let name_length = 0xa0 + u8::try_from(name.len()).unwrap();
        let fields: &[u8] = match name {
            "BlockStored" => &[0x91, block, 0xc0, 0x91, 7, 1, 0xc0, 0xc0],
            _ => &[0x91, block, 0xc0],
        };
        let length = if name == "BlockStored" { 0x97 } else { 0x93 };
        let event = [&[length, name_length][..], name.as_bytes(), fields].concat();
        self.published.push([&[0x93, self.process, 0x91][..], &event, &[0]].concat().into());
    }

    /// The same, published.
    async fn publish(&mut self, name: &str, block: u8) {
        self.lose(name, block);
        self.repeat().await;
    }

    /// Publishes the last message.
    async fn repeat(&mut self) {
        let sequence = u64::try_from(self.published.len() - 1).unwrap();
        let mut message = ZmqMessage::from(Bytes::from_static(self.topic));
        message.push_back(Bytes::copy_from_slice(&sequence.to_be_bytes()));
        message.push_back(self.published.last().unwrap().clone());
        self.socket.send(message).await.unwrap();
    }
}

/// A socket that replays what it was given.
struct Replays {
    address: SocketAddr,
    history: Arc<Mutex<Vec<Bytes>>>,
    server: JoinHandle<()>,
}

impl Replays {
    async fn start() -> Self {
        let mut router = RouterSocket::new();
        let address = router.bind("tcp://127.0.0.1:0").await.unwrap().to_string().replace("tcp://", "");
        let history = Arc::<Mutex<Vec<Bytes>>>::default();
        let shared = Arc::clone(&history);
        let server = tokio::spawn(serve(router, move || shared.lock().unwrap().clone()));
        Self { address: address.parse().unwrap(), history, server }
    }

    /// Replays from now on what a publisher has published so far.
    fn take(&self, publisher: &Publisher) {
        self.history.lock().unwrap().clone_from(&publisher.published);
    }
}

impl Drop for Replays {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Serves one replay after another, of what `published` has then.
async fn serve(mut socket: RouterSocket, published: impl Fn() -> Vec<Bytes>) {
    loop {
        let Ok(request) = socket.recv().await else { continue };
        let [who, empty, from] = &request.into_vec()[..] else { continue };
        let from = u64::from_be_bytes(from[..].try_into().unwrap());
        let reply = |sequence: u64, payload: Bytes| {
            let mut reply = ZmqMessage::from(who.clone());
            for part in [
                empty.clone(),
                Bytes::from_static(b"kv"),
                Bytes::copy_from_slice(&sequence.to_be_bytes()),
                payload,
            ] {
                reply.push_back(part);
            }
            reply
        };
        for (sequence, payload) in (0..).zip(published()).filter(|(sequence, _)| *sequence >= from) {
            socket.send(reply(sequence, payload)).await.unwrap();
        }
        socket.send(reply(u64::MAX, Bytes::new())).await.unwrap();
    }
}

// === impl Follow ===

impl Follow {
    fn new(sources: Sources) -> Self {
        Self::at("127.0.0.1:1".parse().unwrap(), sources)
    }

    fn at(engine: SocketAddr, sources: Sources) -> Self {
        let metrics = Arc::new(Metrics::default());
        let (mut feeds, reports) = Feeds::new(Arc::clone(&metrics), Clock::default());
        feeds.follow([(engine, Followed { identity: 0, sources })]);
        Self { feeds, reports, engine, metrics, held: BTreeSet::new(), trust: Trust::None, voids: 0 }
    }

    /// One that follows a publisher, which can be asked for a replay.
    fn of(publisher: SocketAddr, replay: Option<SocketAddr>) -> Self {
        let (port, replay_port) = (Some(publisher.port()), replay.map(|replay| replay.port()));
        Self::new(Sources { discovers: false, port, replay_port, ..Sources::default() })
    }

    fn take(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
            assert_eq!((report.endpoint, report.rank), (self.engine, 0));
            for step in report.steps {
                match step {
                    Step::Trust { trust, is_cleared } => {
                        self.trust = trust;
                        self.voids += usize::from(is_cleared);
                        if is_cleared {
                            self.held.clear();
                        }
                    }
                    Step::Apply(Batch { events }) => events.into_iter().for_each(|event| self.apply(event)),
                    Step::Gone => {
                        self.trust = Trust::None;
                        self.held.clear();
                    }
                }
            }
        }
    }

    fn apply(&mut self, event: KvEvent) {
        match event {
            KvEvent::Stored(stored) => self.held.extend(stored.hashes.iter().map(|hash| hash.0)),
            KvEvent::Removed { hashes, .. } => {
                self.held.retain(|held| !hashes.iter().any(|hash| hash.0 == *held));
            }
            KvEvent::Cleared => self.held.clear(),
        }
    }

    async fn until(&mut self, trust: Trust, held: &[u64]) {
        until(&format!("{trust:?} {held:?}"), async || {
            self.take();
            (self.trust == trust && self.held.iter().eq(held)).then_some(())
        })
        .await;
    }

    /// Waits until the publisher's messages come: what it publishes before is lost.
    async fn meet(&mut self, publisher: &mut Publisher) {
        publisher.lose("BlockStored", 1);
        until("the subscription is there", async || {
            publisher.repeat().await;
            self.take();
            self.held.contains(&1).then_some(())
        })
        .await;
    }

    fn counts(&self, line: &str) -> bool {
        self.metrics.page().contains(line)
    }
}

#[tokio::test]
async fn what_an_engine_publishes_is_reported() {
    let (mut publisher, address) = Publisher::bind("tcp://127.0.0.1:0", 0).await;
    let mut follow = Follow::of(address, None);
    follow.meet(&mut publisher).await;
    follow.until(Trust::Whole, &[1]).await;
    publisher.publish("BlockStored", 2).await;
    publisher.publish("BlockStored", 3).await;
    publisher.publish("BlockRemoved", 2).await;
    follow.until(Trust::Whole, &[1, 3]).await;
    let (_, seen) = follow.feeds.board().seen(follow.engine).pop().unwrap();
    assert!(seen.is_connected && seen.trust == Trust::Whole && seen.messages >= 4, "{seen:?}");
    assert!(follow.counts("kv_events_total{kind=\"removed\"} 1"), "{}", follow.metrics.page());
    follow.feeds.follow([]);
    follow.until(Trust::None, &[]).await;
}

/// Each look at the pods tore the feed down and began anew.
#[tokio::test]
async fn an_engine_in_two_pools_has_one_feed() {
    let (mut publisher, address) = Publisher::bind("tcp://127.0.0.1:0", 0).await;
    let mut follow = Follow::of(address, None);
    follow.meet(&mut publisher).await;
    let messages = |follow: &Follow| follow.feeds.board().seen(follow.engine).pop().unwrap().1.messages;
    let before = messages(&follow);
    let sources = Sources { discovers: false, port: Some(address.port()), ..Sources::default() };
    for identity in [1, 2] {
        let of = |identity| (follow.engine, Followed { identity, sources: sources.clone() });
        follow.feeds.follow([of(0), of(identity)]);
    }
    publisher.publish("BlockStored", 2).await;
    follow.until(Trust::Whole, &[1, 2]).await;
    assert!(messages(&follow) > before, "another feed would count from zero");
}

/// The task of before, still waiting for the list, took away what the new one had registered.
#[tokio::test]
async fn an_engine_that_leaves_and_returns_while_it_is_asked_is_followed() {
    let (mut publisher, address) = Publisher::bind("tcp://127.0.0.1:0", 0).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sources = Sources { port: Some(address.port()), ..Sources::default() };
    let mut follow = Follow::at(silent.local_addr().unwrap(), sources.clone());
    let (asked, _) = silent.accept().await.unwrap();
    follow.feeds.follow([]);
    follow.feeds.follow([(follow.engine, Followed { identity: 0, sources })]);
    // Whoever asks again gets no list.
    drop(silent);
    follow.meet(&mut publisher).await;
    drop(asked);
    publisher.publish("BlockStored", 2).await;
    follow.until(Trust::Whole, &[1, 2]).await;
    assert_eq!(follow.feeds.board().seen(follow.engine).len(), 1);
}

#[tokio::test]
async fn what_was_lost_is_fetched_again() {
    let (mut publisher, address) = Publisher::bind("tcp://127.0.0.1:0", 0).await;
    let replays = Replays::start().await;
    for block in 2..200 {
        publisher.lose("BlockStored", block % 128);
    }
    publisher.lose("BlockRemoved", 5);
    replays.take(&publisher);
    let mut follow = Follow::of(address, Some(replays.address));
    let all: Vec<u64> = (0..128).filter(|block| *block != 5).collect();
    follow.until(Trust::Whole, &all).await;
    publisher.lose("BlockRemoved", 6);
    replays.take(&publisher);
    let rest: Vec<u64> = all.into_iter().filter(|block| *block != 6).collect();
    until("the gap is closed", async || {
        publisher.publish("BlockStored", 7).await;
        replays.take(&publisher);
        follow.take();
        (follow.held.iter().eq(&rest)).then_some(())
    })
    .await;
    follow.until(Trust::Whole, &rest).await;
    assert_eq!(follow.voids, 1, "at the beginning");
}

#[tokio::test]
async fn a_receiver_that_is_behind_loses_nothing_for_good() {
    let (mut publisher, address) = Publisher::bind("tcp://127.0.0.1:0", 0).await;
    let replays = Replays::start().await;
    let mut follow = Follow::of(address, Some(replays.address));
    until("there is a connection", async || {
        let seen = follow.feeds.board().seen(follow.engine);
        seen.iter().any(|(_, seen)| seen.is_connected).then_some(())
    })
    .await;
    // Nobody takes a report, and more is published than all queues hold.
    for round in 0..100 {
        for block in 0..100 {
            let name = if round % 2 == 0 { "BlockStored" } else { "BlockRemoved" };
            publisher.publish(name, block).await;
        }
        replays.take(&publisher);
    }
    until("it has caught up", async || {
        publisher.publish("BlockStored", 7).await;
        replays.take(&publisher);
        follow.take();
        (follow.trust == Trust::Whole && follow.held.iter().eq(&[7])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_gap_without_a_replay_voids_what_was_reported() {
    let (mut publisher, address) = Publisher::bind("tcp://127.0.0.1:0", 0).await;
    let mut follow = Follow::of(address, None);
    follow.meet(&mut publisher).await;
    publisher.lose("BlockRemoved", 1);
    publisher.publish("BlockStored", 9).await;
    follow.until(Trust::Partial, &[9]).await;
    assert!(follow.counts("kv_faults_total{kind=\"gap\"} 1"), "{}", follow.metrics.page());
}

#[tokio::test]
async fn a_restarted_engine_is_met_again_and_holds_nothing_of_before() {
    let (mut publisher, address) = Publisher::bind("tcp://127.0.0.1:0", 0).await;
    let mut follow = Follow::of(address, None);
    follow.meet(&mut publisher).await;
    publisher.publish("BlockStored", 2).await;
    follow.until(Trust::Whole, &[1, 2]).await;
    publisher.socket.close().await;
    follow.until(Trust::Suspect, &[1, 2]).await;
    let (mut publisher, _) = Publisher::bind(&format!("tcp://{address}"), 1).await;
    publisher.lose("BlockStored", 40);
    until("it is met again", async || {
        publisher.repeat().await;
        follow.take();
        follow.held.contains(&40).then_some(())
    })
    .await;
    follow.until(Trust::Whole, &[40]).await;
}

#[tokio::test]
async fn an_engine_that_publishes_under_another_topic_is_named_and_not_relied_on() {
    let (mut publisher, address) = Publisher::bind("tcp://127.0.0.1:0", 0).await;
    let replays = Replays::start().await;
    publisher.lose("BlockStored", 1);
    replays.take(&publisher);
    let (port, replay_port) = (Some(address.port()), Some(replays.address.port()));
    let topic = "llama".to_owned();
    let mut follow =
        Follow::new(Sources { discovers: false, port, replay_port, topic, ..Sources::default() });
    follow.until(Trust::Whole, &[1]).await;
    let seen = |follow: &Follow| {
        let (_, seen) = follow.feeds.board().seen(follow.engine).pop().unwrap();
        (seen.problem, seen.topic)
    };
    until("the topic is seen", async || {
        publisher.publish("BlockStored", 2).await;
        (seen(&follow) == (Some("topic"), Some("kv-events".to_owned()))).then_some(())
    })
    .await;
    follow.until(Trust::Suspect, &[1]).await;
    publisher.topic = b"llama";
    replays.take(&publisher);
    publisher.publish("BlockStored", 3).await;
    follow.until(Trust::Whole, &[1, 2, 3]).await;
    assert_eq!(seen(&follow), (None, None));
}

#[tokio::test]
async fn an_engine_may_connect_by_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut follow = Follow::new(Sources { discovers: false, connect: true, ..Sources::default() });
    follow.feeds.listen(listener);
    let mut socket = PubSocket::new();
    socket.connect(&format!("tcp://{address}")).await.unwrap();
    let mut publisher = Publisher::new(socket, 0);
    publisher.topic = b"kv@127.0.0.1:1@model";
    follow.meet(&mut publisher).await;
    follow.until(Trust::Whole, &[1]).await;
    let mut stranger = PubSocket::new();
    stranger.connect(&format!("tcp://{address}")).await.unwrap();
    let mut stranger = Publisher::new(stranger, 0);
    stranger.topic = b"kv@127.0.0.1:2@model";
    stranger.lose("BlockStored", 99);
    until("it is not recognised", async || {
        stranger.repeat().await;
        follow.counts("kv_undecodable_total{reason=\"unknown_engine\"}").then_some(())
    })
    .await;
    follow.until(Trust::Whole, &[1]).await;
}

/// Megabytes of a stranger used to be read, before anybody asked who it is.
#[tokio::test]
async fn nothing_of_a_stranger_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut follow = Follow::new(Sources { discovers: false, connect: true, ..Sources::default() });
    follow.feeds.listen(listener);
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let mut stranger = socket.connect(address).await.unwrap();
    assert_eq!(stranger.read(&mut [0; 1]).await.unwrap(), 0, "not even greeted");
    assert_eq!(failures(&follow, "stranger"), 1);
}

#[tokio::test]
async fn whatever_listens_at_the_port_the_controller_lives_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut follow = Follow::of(address, None);
    let greeting = [&b"\xff\0\0\0\0\0\0\0\0\x7f\x03\x01NULL"[..], &[0; 48]].concat();
    let ready = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03PUB";
    let huge = [&[2][..], &(1_u64 << 60).to_be_bytes()].concat();
    let endless = [1_u8, 0].repeat(100);
    let conversations: [(&[&[u8]], &str); 4] = [
        (&[b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"], "protocol"),
        (&[&greeting, ready, &huge], "too_large"),
        (&[&greeting, ready, &endless], "too_large"),
        (&[&greeting, b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06ROUTER"], "socket"),
    ];
    for (sent, reason) in conversations {
        let (mut stream, _) = listener.accept().await.unwrap();
        let before = failures(&follow, reason);
        stream.write_all(&sent.concat()).await.unwrap();
        until(reason, async || (failures(&follow, reason) > before).then_some(())).await;
    }
    drop(listener);
    let (mut publisher, _) = Publisher::bind(&format!("tcp://{address}"), 0).await;
    follow.meet(&mut publisher).await;
}

/// Connections that failed for a reason.
fn failures(follow: &Follow, reason: &str) -> u64 {
    let page = follow.metrics.page();
    let line = format!("kv_connections_failed_total{{reason=\"{reason}\"}} ");
    page.split_once(&line).map_or(0, |(_, rest)| rest.lines().next().unwrap().parse().unwrap())
}
