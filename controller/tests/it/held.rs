//! Held requests pass through the controller: other proxies know them, and they go when their proxy does.

use crate::support::{Proxy as LiveProxy, get as get_page, metric, quiet_settings, until};
use std::sync::Arc;
use warmpath::get;
use warmpath::index::Index;
use warmpath::metrics::Metrics;
use warmpath::publish::{Hub, StreamId};
use warmpath::run;
use warmpath_core::ids::{ConversationId, EndpointId, InstanceId};
use warmpath_core::limits::CELL_BYTES_DEFAULT;
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;
use warmpath_core::wire::{
    Conversation, Ended, Event, Gone, Held, HeldFor, Hello, Hold, Kind, Pool, PoolEndpoint, Pools, Released,
    Routed, Tenant, Turn, decode_down,
};

const POOL: &str = "p";
const ADDRESS: &str = "10.0.0.1:8000";

/// A proxy's end of a stream without a network.
struct Proxy {
    stream: StreamId,
    view: View,
    events: Vec<Event>,
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn hub() -> Hub {
    let index = Index::new(InstanceId(1), CELL_BYTES_DEFAULT, 0);
    let mut hub = Hub::new(index, Arc::new(Metrics::default()));
    let endpoints = vec![PoolEndpoint { address: ADDRESS.to_owned(), ..PoolEndpoint::default() }];
    let hold = Some(Hold { room_ms_max: 60_000, endpoint_ms_max: 60_000, tenants: vec![] });
    let pool =
        Pool { name: POOL.to_owned(), models: vec!["*".to_owned()], endpoints, hold, ..Pool::default() };
    hub.publish(Kind::Pools(Pools { pools: vec![pool] }), at(1));
    hub
}

fn held(origin: u64, number: u64, age_ms: u64) -> Event {
    let held_for = HeldFor::Endpoint.into();
    Kind::Held(Held { origin, number, pool: POOL.to_owned(), held_for, age_ms, tokens: 9, ..Held::default() })
        .into()
}

fn released(origin: u64, number: u64) -> Event {
    Kind::Released(Released { origin, number, is_sent: false }).into()
}

/// Origin, number and age of all that wait.
fn waiting(view: &View, now: Timestamp) -> Vec<(u64, u64, u64)> {
    let queue = view.admission(POOL).into_iter().flat_map(|gate| gate.queue().iter());
    let mut waiting: Vec<_> = queue
        .map(|waiting| (waiting.key.origin.0, waiting.key.number, now.ms_since(waiting.since)))
        .collect();
    waiting.sort_unstable();
    waiting
}

// === impl Proxy ===

impl Proxy {
    fn join(hub: &mut Hub, process: u64, now: Timestamp) -> Self {
        let stream = hub.join(&Hello { process, ..Hello::default() }).unwrap().0;
        let mut proxy = Self { stream, view: View::default(), events: Vec::new() };
        proxy.drain(hub, now);
        proxy
    }

    fn drain(&mut self, hub: &mut Hub, now: Timestamp) {
        self.events.clear();
        while let Some(batch) = hub.take(self.stream, now) {
            for message in batch.messages() {
                for event in decode_down(&message).unwrap().events {
                    self.view.apply(&event, now);
                    self.events.push(event);
                }
            }
        }
    }
}

#[test]
fn a_proxy_that_joins_learns_what_the_others_hold_and_not_what_it_holds() {
    let mut hub = hub();
    let first = Proxy::join(&mut hub, 10, at(1));
    hub.receive(first.stream, vec![held(100, 1, 0), held(100, 2, 500)], at(1_000));
    let second = Proxy::join(&mut hub, 11, at(4_000));
    assert_eq!(waiting(&second.view, at(4_000)), [(100, 1, 3_000), (100, 2, 3_500)]);
    let again = Proxy::join(&mut hub, 10, at(4_000));
    assert_eq!(waiting(&again.view, at(4_000)), []);
}

#[test]
fn a_request_that_is_released_before_a_slow_proxy_reads_is_sent_as_one_event() {
    let mut hub = hub();
    let first = Proxy::join(&mut hub, 10, at(1));
    let mut slow = Proxy::join(&mut hub, 11, at(1));
    let events = vec![held(100, 1, 0), held(100, 2, 0), held(100, 1, 5_000), released(100, 1)];
    hub.receive(first.stream, events, at(10));
    slow.drain(&mut hub, at(10));
    assert_eq!(slow.events, [released(100, 1), held(100, 2, 0)]);
    assert_eq!(waiting(hub.index().view(), at(10)), [(100, 2, 0)]);
}

#[test]
fn what_a_proxy_holds_goes_when_it_does() {
    let mut hub = hub();
    let first = Proxy::join(&mut hub, 10, at(1));
    let mut second = Proxy::join(&mut hub, 11, at(1));
    // No request of this origin is in flight: nothing else says that it exists.
    hub.receive(first.stream, vec![held(100, 1, 0)], at(10));
    second.drain(&mut hub, at(10));
    assert_eq!(waiting(&second.view, at(10)), [(100, 1, 0)]);
    hub.leave(first.stream, at(20));
    hub.tick(at(1_000));
    second.drain(&mut hub, at(1_000));
    assert_eq!(waiting(&second.view, at(1_000)).len(), 1, "it may come back");
    hub.tick(at(3_000));
    second.drain(&mut hub, at(3_000));
    assert!(second.events.contains(&Kind::Gone(Gone { origin: 100 }).into()), "{:?}", second.events);
    assert_eq!(waiting(&second.view, at(3_000)), []);
    assert_eq!(waiting(hub.index().view(), at(3_000)), []);
}

/// A turn that a proxy sends to the only endpoint, and its end.
fn turn(origin: u64, conversation: u64) -> Vec<Event> {
    let endpoint = EndpointId::of(ADDRESS).0;
    let turn = Turn { conversation, tokens: 9_000, is_new: true, ..Turn::default() };
    let routed = Routed {
        endpoint,
        cells: (1..=100).collect(),
        origin,
        request: 1,
        turn: Some(turn),
        ..Routed::default()
    };
    vec![Kind::Routed(routed).into(), Kind::Ended(Ended { origin, request: 1 }).into()]
}

fn conversations(events: &[Event]) -> Vec<&Conversation> {
    let kinds = events.iter().filter_map(|event| event.kind.as_ref());
    kinds.filter_map(|kind| if let Kind::Conversation(one) = kind { Some(one) } else { None }).collect()
}

#[test]
fn a_proxy_that_joins_learns_which_conversations_have_places_and_how_long_they_are_idle() {
    let mut hub = hub();
    let first = Proxy::join(&mut hub, 10, at(1));
    hub.receive(first.stream, turn(100, 7), at(1_000));
    let second = Proxy::join(&mut hub, 11, at(4_000));
    let [known] = conversations(&second.events)[..] else { panic!("{:?}", second.events) };
    assert_eq!((known.conversation, known.pool.as_str()), (7, POOL));
    assert_eq!((known.endpoint, known.idle_ms), (EndpointId::of(ADDRESS).0, 3_000));
    let gate = second.view.admission(POOL).unwrap();
    assert_eq!(gate.place(ConversationId(7)), Some(EndpointId::of(ADDRESS)));
}

/// A controller that has restarted is taught by all proxies at once; each of them knows what the others teach.
#[test]
fn conversations_that_proxies_teach_are_passed_on_in_snapshots_only() {
    let mut hub = hub();
    let mut proxies = [Proxy::join(&mut hub, 10, at(1)), Proxy::join(&mut hub, 11, at(1))];
    let known = {
        let mut before = self::hub();
        let proxy = Proxy::join(&mut before, 10, at(1));
        before.receive(proxy.stream, turn(100, 7), at(1));
        conversations(&Proxy::join(&mut before, 11, at(10)).events)[0].clone()
    };
    for proxy in &proxies {
        hub.receive(proxy.stream, vec![Kind::Conversation(known.clone()).into()], at(10));
    }
    for proxy in &mut proxies {
        proxy.drain(&mut hub, at(10));
        assert_eq!(proxy.events, []);
    }
    let late = Proxy::join(&mut hub, 12, at(10));
    assert_eq!(conversations(&late.events), [&known]);
}

/// A controller whose only pool holds requests.
async fn start() -> run::Running {
    let mut settings = quiet_settings();
    POOL.clone_into(&mut settings.pools[0].name);
    let tenants = vec![Tenant { name: "gold".to_owned(), weight: 3 }];
    settings.pools[0].hold = Some(Hold { room_ms_max: 60_000, endpoint_ms_max: 9_000, tenants });
    run::start(settings).await.unwrap()
}

#[tokio::test]
async fn people_see_what_is_held_in_which_pool_by_whom_and_how_long() {
    let running = start().await;
    let http = running.http_addr();
    let proxy = LiveProxy::connect(running.grpc_addr(), 1).await;
    let for_room = |number, age_ms| {
        let held_for = HeldFor::Room.into();
        Kind::Held(Held {
            origin: 100,
            number,
            pool: POOL.to_owned(),
            held_for,
            age_ms,
            body_bytes: 500,
            ..Held::default()
        })
    };
    proxy.report([for_room(1, 30_000), for_room(2, 0)].into_iter().chain(held(100, 3, 2_000).kind)).await;
    let state = until("all three are known", async || {
        let state = get::state(&http.to_string()).await.unwrap();
        state.proxies.first().is_some_and(|proxy| proxy.held == 3).then_some(state)
    })
    .await;
    let pool = &state.pools[0];
    let hold = pool.hold.as_ref().unwrap();
    assert_eq!((hold.room_s, hold.endpoint_s, hold.tenants["gold"]), (60, 9, 3));
    assert_eq!((pool.held_for_room.requests, pool.held_for_room.body_bytes), (2, 1_000));
    assert!(pool.held_for_room.oldest_ms >= 30_000, "{:?}", pool.held_for_room);
    assert_eq!(pool.held_for_endpoint.requests, 1);
    let series = |name: &str, reason: &str| format!("{name}{{pool=\"{POOL}\",reason=\"{reason}\"}}");
    for (name, reason, at_least) in [
        ("held_requests", "no_room", 2.0),
        ("held_requests", "no_endpoint", 1.0),
        ("held_oldest_seconds", "no_room", 30.0),
        ("held_oldest_seconds", "no_endpoint", 2.0),
        ("held_body_bytes", "no_room", 1_000.0),
    ] {
        assert!(metric(http, &series(name, reason)).await >= at_least, "{name} {reason}");
    }
    let (_, page) = get_page(http, "/metrics").await;
    for name in ["gate_on", "gate_lost_ratio"] {
        assert!(page.contains(&format!("warmpath_controller_{name}{{pool=\"{POOL}\"}} 0")), "{name}: {page}");
    }
    running.shutdown().await;
}

#[tokio::test]
async fn a_held_request_reaches_the_other_proxies_and_its_release_does() {
    let running = start().await;
    let first = LiveProxy::connect(running.grpc_addr(), 1).await;
    let mut second = LiveProxy::connect(running.grpc_addr(), 2).await;
    first.report(held(100, 1, 0).kind).await;
    second.until("it is held", |view| waiting(view, at(0)).len() == 1).await;
    first.report(released(100, 1).kind).await;
    second.until("it is released", |view| waiting(view, at(0)).is_empty()).await;
    running.shutdown().await;
}
