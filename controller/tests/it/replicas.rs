//! Replicas of the controller pass on what their own proxies report, and nothing else.

use crate::support::{Proxy as LiveProxy, settings};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use warmpath::clock::Clock;
use warmpath::identity::Peers;
use warmpath::index::Index;
use warmpath::metrics::Metrics;
use warmpath::publish::{Hub, Shared, StreamId};
use warmpath::replicas::Replicas;
use warmpath::run;
use warmpath_core::ids::{CellHash, ConversationId, EndpointId, InstanceId, ProcessId};
use warmpath_core::limits::CELL_BYTES_DEFAULT;
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;
use warmpath_core::wire::{
    Ended, Event, Held, Hello, Hold, InFlightReport, Kind, Outcome, OutcomeClass, Pool, PoolEndpoint, Pools,
    PrefixDecoder, Released, Routed, Turn, UsageSeen, decode_down,
};

const ADDRESS: &str = "10.0.0.1:8000";
/// A proxy at each replica.
const PROCESSES: [u64; 3] = [10, 11, 12];

/// A replica, without a network.
struct Replica {
    instance: u64,
    hub: Hub,
}

/// The stream on which one replica follows another.
struct Link {
    from: usize,
    to: usize,
    stream: StreamId,
    prefixes: PrefixDecoder,
}

/// Replicas that all follow each other.
struct Fleet {
    replicas: Vec<Replica>,
    links: Vec<Link>,
}

/// A proxy at one of them.
struct Proxy {
    stream: StreamId,
    view: View,
    prefixes: PrefixDecoder,
    events: Vec<&'static str>,
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn endpoint() -> u64 {
    EndpointId::of(ADDRESS).0
}

fn replica(instance: u64) -> Replica {
    let mut hub = Hub::new(
        Index::new(InstanceId(instance), CELL_BYTES_DEFAULT, instance),
        Arc::new(Metrics::default()),
    );
    let endpoints = vec![PoolEndpoint { address: ADDRESS.to_owned(), ..PoolEndpoint::default() }];
    let hold = Some(Hold { room_ms_max: 60_000, ..Hold::default() });
    let pool =
        Pool { name: "p".to_owned(), models: vec!["*".to_owned()], endpoints, hold, ..Pool::default() };
    hub.publish(Kind::Pools(Pools { pools: vec![pool] }), at(1));
    Replica { instance, hub }
}

// === impl Fleet ===

impl Fleet {
    fn new(count: u64) -> Self {
        let mut fleet = Self { replicas: Vec::new(), links: Vec::new() };
        for instance in 1..=count {
            fleet.add(1_000 * instance);
        }
        fleet.pump(at(1));
        fleet
    }

    /// A replica starts: it follows the others, and they follow it.
    fn add(&mut self, instance: u64) {
        self.replicas.push(replica(instance));
        let new = self.replicas.len() - 1;
        for other in 0..new {
            self.link(other, new);
            self.link(new, other);
        }
    }

    fn link(&mut self, from: usize, to: usize) {
        let hello = Hello { process: self.replicas[to].instance, replica: true, ..Hello::default() };
        let stream = self.replicas[from].hub.join(&hello).unwrap().0;
        let replica = ProcessId(self.replicas[from].instance);
        self.replicas[to].hub.replica_joined(replica);
        self.links.push(Link { from, to, stream, prefixes: PrefixDecoder::default() });
    }

    /// Carries everything over that is pending. Returns how many events that were.
    fn pump(&mut self, now: Timestamp) -> usize {
        let mut count = 0;
        for link in &mut self.links {
            while let Some(batch) = self.replicas[link.from].hub.take(link.stream, now) {
                for message in batch.messages() {
                    let events = decode_down(&message).unwrap().events;
                    count += events.len();
                    let replica = ProcessId(self.replicas[link.from].instance);
                    self.replicas[link.to].hub.relay(replica, events, &mut link.prefixes, now);
                }
            }
        }
        count
    }

    /// A replica dies.
    fn kill(&mut self, dead: usize, now: Timestamp) {
        let replica = ProcessId(self.replicas[dead].instance);
        let (gone, kept): (Vec<Link>, _) = std::mem::take(&mut self.links)
            .into_iter()
            .partition(|link| link.from == dead || link.to == dead);
        self.links = kept;
        for link in gone {
            if link.from == dead {
                self.replicas[link.to].hub.replica_left(replica, now);
            } else {
                self.replicas[link.from].hub.leave(link.stream, now);
            }
        }
    }

    fn tick(&mut self, now: Timestamp) {
        for replica in &mut self.replicas {
            replica.hub.tick(now);
        }
        self.pump(now);
    }

    fn hub(&mut self, at: usize) -> &mut Hub {
        &mut self.replicas[at].hub
    }

    /// Requests in flight, as each replica knows them.
    fn requests(&self) -> Vec<u32> {
        self.replicas.iter().map(|replica| requests(replica.hub.index().view())).collect()
    }

    /// Held requests that each replica knows.
    fn waiting(&self) -> Vec<usize> {
        let gates = self.replicas.iter().map(|replica| replica.hub.index().view().admission("p").unwrap());
        gates.map(|gate| gate.queue().iter().count()).collect()
    }
}

fn requests(view: &View) -> u32 {
    let slot = view.slot(EndpointId(endpoint())).unwrap();
    view.endpoint(slot).unwrap().in_flight().requests
}

fn held(view: &View) -> u32 {
    let mut found = Vec::new();
    view.prefixes().find(&[CellHash(1), CellHash(2)], &mut found);
    found.first().map_or(0, |found| found.cells)
}

// === impl Proxy ===

impl Proxy {
    fn join(hub: &mut Hub, process: u64) -> Self {
        let stream = hub.join(&Hello { process, ..Hello::default() }).unwrap().0;
        let mut proxy =
            Self { stream, view: View::default(), prefixes: PrefixDecoder::default(), events: Vec::new() };
        proxy.drain(hub);
        proxy.events.clear();
        proxy
    }

    fn drain(&mut self, hub: &mut Hub) {
        while let Some(batch) = hub.take(self.stream, at(1)) {
            for message in batch.messages() {
                for mut event in decode_down(&message).unwrap().events {
                    if let Some(Kind::Prefix(prefix)) = &event.kind {
                        event.kind = Some(Kind::Prefix(self.prefixes.decode(prefix).unwrap()));
                    }
                    self.events.extend(event.kind.as_ref().map(Kind::label));
                    self.view.apply(&event, at(1));
                }
            }
        }
    }
}

fn in_flight(origin: u64, requests: u32) -> Event {
    Kind::InFlight(InFlightReport { origin, endpoint: endpoint(), requests, ..InFlightReport::default() })
        .into()
}

/// A request that is sent, and its first token.
fn served(origin: u64) -> Vec<Event> {
    let (endpoint, request) = (endpoint(), 7);
    let class = OutcomeClass::Served.into();
    vec![
        Kind::Routed(Routed { endpoint, cells: vec![1, 2], origin, request, ..Routed::default() }).into(),
        Kind::Outcome(Outcome { endpoint, class, origin, request, ..Outcome::default() }).into(),
    ]
}

#[test]
fn what_a_proxy_reports_reaches_the_proxies_of_all_replicas_once() {
    let mut fleet = Fleet::new(3);
    let mut proxies: Vec<Proxy> = (0..3).map(|at| Proxy::join(fleet.hub(at), PROCESSES[at])).collect();
    let stream = proxies[0].stream;
    let mut events = served(100);
    events.push(in_flight(100, 1));
    fleet.hub(0).receive(stream, events, at(10));
    assert_eq!(fleet.pump(at(10)), 6, "three events to two replicas each");
    assert_eq!(fleet.pump(at(10)), 0, "nothing goes round in circles");
    for (replica, proxy) in proxies.iter_mut().enumerate() {
        proxy.drain(fleet.hub(replica));
        if replica == 0 {
            assert_eq!(proxy.events, [""; 0], "it knows its own");
        } else {
            assert_eq!(proxy.events, ["routed", "outcome", "in_flight"]);
            assert_eq!((requests(&proxy.view), held(&proxy.view)), (1, 2));
        }
    }
}

#[test]
fn people_see_the_same_cached_share_at_every_replica() {
    let mut fleet = Fleet::new(2);
    let proxy = Proxy::join(fleet.hub(0), PROCESSES[0]);
    let usage = UsageSeen {
        pool: "p".to_owned(),
        endpoint: endpoint(),
        prompt_tokens: 1_000,
        cached_tokens: Some(750),
        ..UsageSeen::default()
    };
    fleet.hub(0).receive(proxy.stream, vec![Kind::UsageSeen(usage).into()], at(10));
    fleet.pump(at(10));
    for replica in 0..2 {
        let cached = fleet.hub(replica).cached_at(EndpointId(endpoint()), at(10));
        assert_eq!(cached.share(), Some(0.75), "replica {replica}");
    }
}

#[test]
fn a_replica_that_starts_knows_what_the_others_know() {
    let mut fleet = Fleet::new(1);
    let proxy = Proxy::join(fleet.hub(0), 10);
    let mut events = served(100);
    events.push(in_flight(100, 3));
    fleet.hub(0).receive(proxy.stream, events, at(10));
    fleet.add(2_000);
    fleet.pump(at(20));
    let joined = Proxy::join(fleet.hub(1), 11);
    assert_eq!((requests(&joined.view), held(&joined.view)), (3, 2));
    fleet.add(3_000);
    fleet.pump(at(30));
    assert_eq!(fleet.requests(), [3, 3, 3], "from the first, and not again from the second");
}

#[test]
fn a_proxy_that_moves_is_counted_once() {
    let mut fleet = Fleet::new(2);
    let proxy = Proxy::join(fleet.hub(0), 10);
    fleet.hub(0).receive(proxy.stream, vec![in_flight(100, 4)], at(10));
    fleet.hub(0).leave(proxy.stream, at(20));
    let moved = Proxy::join(fleet.hub(1), 10);
    fleet.hub(1).receive(moved.stream, vec![in_flight(100, 5)], at(30));
    fleet.pump(at(40));
    assert_eq!(fleet.requests(), [5, 5], "what the first relays is older");
    for ms in [1_000, 2_500, 5_000] {
        fleet.tick(at(ms));
        assert_eq!(fleet.requests(), [5, 5], "after {ms} ms");
    }
    fleet.hub(1).leave(moved.stream, at(6_000));
    fleet.tick(at(9_000));
    assert_eq!(fleet.requests(), [0, 0]);
}

#[test]
fn what_a_proxy_holds_is_known_at_every_replica_and_moves_with_it() {
    let mut fleet = Fleet::new(2);
    let held = |number| Kind::Held(Held { origin: 100, number, pool: "p".to_owned(), ..Held::default() });
    let proxy = Proxy::join(fleet.hub(0), 10);
    fleet.hub(0).receive(proxy.stream, vec![held(1).into(), held(2).into()], at(10));
    fleet.pump(at(10));
    assert_eq!(fleet.waiting(), [2, 2]);
    fleet.add(3_000);
    fleet.pump(at(20));
    assert_eq!(fleet.waiting(), [2, 2, 2], "a replica that starts gets them in a snapshot");
    fleet.hub(0).receive(proxy.stream, vec![held(3).into()], at(30));
    fleet.hub(0).leave(proxy.stream, at(30));
    let moved = Proxy::join(fleet.hub(1), 10);
    let released =
        [1, 2, 3].map(|number| Kind::Released(Released { origin: 100, number, is_sent: false }).into());
    fleet.hub(1).receive(moved.stream, released.into(), at(40));
    fleet.pump(at(50));
    assert_eq!(fleet.waiting()[1..], [0, 0], "what the first relays of it is older");
    fleet.hub(1).receive(moved.stream, vec![held(4).into()], at(60));
    fleet.pump(at(60));
    for ms in [1_000, 2_500] {
        fleet.tick(at(ms));
        assert_eq!(fleet.waiting(), [1, 1, 1], "after {ms} ms");
    }
    fleet.hub(1).leave(moved.stream, at(3_000));
    fleet.tick(at(6_000));
    assert_eq!(fleet.waiting(), [0, 0, 0]);
}

#[test]
fn a_conversation_has_one_place_at_every_replica() {
    let mut fleet = Fleet::new(2);
    let turn = Turn { conversation: 7, tokens: 9_000, is_new: true, ..Turn::default() };
    let (endpoint, request, origin) = (endpoint(), 1, 100);
    let routed = Routed {
        endpoint,
        cells: (1..=100).collect(),
        origin,
        request,
        turn: Some(turn),
        ..Routed::default()
    };
    let ended = Ended { origin, request };
    let proxy = Proxy::join(fleet.hub(0), 10);
    fleet.hub(0).receive(proxy.stream, vec![Kind::Routed(routed).into(), Kind::Ended(ended).into()], at(10));
    fleet.pump(at(10));
    fleet.add(3_000);
    fleet.pump(at(20));
    for replica in &fleet.replicas {
        let gate = replica.hub.index().view().admission("p").unwrap();
        assert_eq!(gate.place(ConversationId(7)), Some(EndpointId(endpoint)));
        assert_eq!(gate.export(at(20)).count(), 1, "what both others send it is the same one");
    }
}

#[test]
fn requests_of_a_replica_that_is_gone_are_dropped_unless_their_proxy_moves() {
    let mut fleet = Fleet::new(3);
    let stays = Proxy::join(fleet.hub(0), 10);
    let leaver = Proxy::join(fleet.hub(0), 11);
    fleet.hub(0).receive(stays.stream, vec![in_flight(100, 1)], at(10));
    fleet.hub(0).receive(leaver.stream, vec![in_flight(110, 2)], at(10));
    fleet.pump(at(10));
    assert_eq!(fleet.requests(), [3, 3, 3]);
    fleet.kill(0, at(100));
    let moved = Proxy::join(fleet.hub(1), 11);
    fleet.hub(1).receive(moved.stream, vec![in_flight(110, 2)], at(600));
    fleet.pump(at(600));
    assert_eq!(fleet.requests()[1..], [3, 3], "the other may come as well");
    fleet.tick(at(2_500));
    assert_eq!(fleet.requests()[1..], [2, 2]);
}

#[test]
fn the_proxies_of_all_replicas_take_turns() {
    let mut fleet = Fleet::new(2);
    let mut proxies: Vec<Proxy> = (0..2).map(|at| Proxy::join(fleet.hub(at), PROCESSES[at])).collect();
    for (replica, proxy) in proxies.iter().enumerate() {
        fleet.hub(replica).receive(proxy.stream, vec![in_flight(PROCESSES[replica] * 10, 1)], at(10));
    }
    for ms in [1_000, 2_000] {
        fleet.tick(at(ms));
    }
    for (replica, proxy) in proxies.iter_mut().enumerate() {
        proxy.view.set_process(ProcessId(PROCESSES[replica]));
        proxy.drain(fleet.hub(replica));
        assert!(proxy.view.has_peers());
    }
    fleet.kill(1, at(2_100));
    fleet.tick(at(5_000));
    proxies[0].drain(fleet.hub(0));
    assert!(!proxies[0].view.has_peers());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_kept_over_a_restart_and_to_the_replica_itself_there_is_none() {
    let running = run::start(settings(&[ADDRESS.parse().unwrap()])).await.unwrap();
    let address = running.grpc_addr();
    let (_stop, stopping) = watch::channel(false);
    let shared = Shared::new(replica(9).hub, Clock::default(), stopping);
    let mut replicas = Replicas::new(shared.clone(), Peers::default());
    replicas.follow(&[address].into());
    let until = |requests_wanted: u32| {
        let shared = shared.clone();
        async move {
            let reached = async {
                let look = |hub: &mut Hub, now| {
                    hub.tick(now);
                    requests(hub.index().view())
                };
                while shared.with(look) != requests_wanted {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), reached).await.expect("what is relayed comes");
        }
    };
    let proxy = LiveProxy::connect(address, 1).await;
    proxy.report(in_flight(100, 3).kind).await;
    until(3).await;
    running.shutdown().await;
    until(0).await;
    let mut again = settings(&[ADDRESS.parse().unwrap()]);
    again.listen.grpc = address;
    let running = run::start(again).await.unwrap();
    let proxy = LiveProxy::connect(address, 1).await;
    proxy.report(in_flight(100, 4).kind).await;
    until(4).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_of_a_replica_whose_pod_is_deleted_do_not_take_turns_any_longer() {
    let running = run::start(settings(&[ADDRESS.parse().unwrap()])).await.unwrap();
    let (_stop, stopping) = watch::channel(false);
    let shared = Shared::new(replica(9).hub, Clock::default(), stopping);
    let mut replicas = Replicas::new(shared.clone(), Peers::default());
    replicas.follow(&[running.grpc_addr()].into());
    let proxy = LiveProxy::connect(running.grpc_addr(), 1).await;
    proxy.report(in_flight(100, 3).kind).await;
    let until = |listed_wanted: bool| {
        let shared = shared.clone();
        async move {
            let is_listed = |hub: &mut Hub, now| {
                hub.tick(now);
                let events = hub.index().view().export(now);
                events.iter().any(|event| match &event.kind {
                    Some(Kind::Proxies(proxies)) => !proxies.processes.is_empty(),
                    _ => false,
                })
            };
            let reached = async {
                while shared.with(is_listed) != listed_wanted {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), reached).await.expect("the list follows the link");
        }
    };
    until(true).await;
    // The stream is open: nobody but this replica knows that the other one is leaving.
    replicas.follow(&[].into());
    until(false).await;
    running.shutdown().await;
}
