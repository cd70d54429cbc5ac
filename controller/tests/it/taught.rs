//! What proxies are sent of the prefixes that all of them teach a controller that has just started, in bytes.

use prost::Message;
use std::sync::Arc;
use warmpath::index::Index;
use warmpath::metrics::Metrics;
use warmpath::publish::{Hub, StreamId};
use warmpath_core::ids::{CellHash, EndpointId, InstanceId};
use warmpath_core::limits::CELL_BYTES_DEFAULT;
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;
use warmpath_core::wire::{
    Event, Hello, Kind, MessageChunker, Pool, PoolEndpoint, Pools, Prefix, PrefixDecoder, decode_down,
};

/// So many fit the capacity that is assumed of engines that name none.
const CONVERSATIONS: u64 = 100;
const TURNS: u64 = 20;
const CELLS_PER_TURN: u64 = 10;
const SHARED_CELLS: u64 = 20;

struct Proxy {
    stream: StreamId,
    view: View,
    prefixes: PrefixDecoder,
    /// Bytes of prefixes that it was sent.
    prefix_bytes: usize,
}

fn address(at: u64) -> String {
    format!("10.0.0.{}:8000", at + 1)
}

fn endpoint(at: u64) -> u64 {
    EndpointId::of(&address(at)).0
}

fn pools() -> Kind {
    let endpoints =
        (0..8).map(|at| PoolEndpoint { address: address(at), ..PoolEndpoint::default() }).collect();
    let pool = Pool { name: "p".to_owned(), models: vec!["*".to_owned()], endpoints, ..Pool::default() };
    Kind::Pools(Pools { pools: vec![pool] })
}

/// A shared system prompt, and conversations that grew from it turn by turn.
fn learned(conversations: std::ops::Range<u64>) -> Vec<Event> {
    let prefix = |depth: u64, cells: std::ops::Range<u64>, endpoints: Vec<u64>| {
        let held = vec![u32::try_from(cells.end - cells.start).unwrap(); endpoints.len()];
        Kind::Prefix(Prefix { depth: u32::try_from(depth).unwrap(), cells: cells.collect(), endpoints, held })
    };
    let mut events = vec![prefix(0, 1..SHARED_CELLS + 1, (0..8).map(endpoint).collect())];
    for conversation in conversations {
        for turn in 0..TURNS {
            let from = 1_000_000 * (conversation + 1) + turn * CELLS_PER_TURN;
            let depth = SHARED_CELLS + turn * CELLS_PER_TURN;
            events.push(prefix(depth, from..from + CELLS_PER_TURN, vec![endpoint(conversation % 8)]));
        }
    }
    events.into_iter().map(Event::from).collect()
}

fn bytes(events: &[Event]) -> usize {
    events.iter().map(Message::encoded_len).sum()
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn hub() -> Hub {
    let index = Index::new(InstanceId(9), CELL_BYTES_DEFAULT, 7);
    let mut hub = Hub::new(index, Arc::new(Metrics::default()));
    hub.publish(pools(), at(1));
    hub
}

// === impl Proxy ===

impl Proxy {
    fn join(hub: &mut Hub, process: u64) -> Self {
        let stream = hub.join(&Hello { process, ..Hello::default() }).unwrap().0;
        let mut proxy =
            Self { stream, view: View::default(), prefixes: PrefixDecoder::default(), prefix_bytes: 0 };
        proxy.drain(hub);
        proxy.prefix_bytes = 0;
        proxy
    }

    fn teach(&self, hub: &mut Hub, events: Vec<Event>, now: Timestamp) {
        let mut messages = MessageChunker::default();
        for event in events {
            messages.push(event);
        }
        for events in messages.finish() {
            hub.receive(self.stream, events, now);
        }
    }

    fn drain(&mut self, hub: &mut Hub) {
        while let Some(batch) = hub.take(self.stream, at(1)) {
            for message in batch.messages() {
                for mut event in decode_down(&message).unwrap().events {
                    if let Some(Kind::Prefix(prefix)) = &event.kind {
                        self.prefix_bytes += event.encoded_len();
                        event.kind = Some(Kind::Prefix(self.prefixes.decode(prefix).unwrap()));
                    }
                    self.view.apply(&event, at(1));
                }
            }
        }
    }

    /// Cells of a conversation that it knows at its endpoint.
    fn knows(&self, conversation: u64) -> u32 {
        let from = 1_000_000 * (conversation + 1);
        let chain: Vec<CellHash> =
            (1..=SHARED_CELLS).chain(from..from + TURNS * CELLS_PER_TURN).map(CellHash).collect();
        let mut found = Vec::new();
        self.view.prefixes().find(&chain, &mut found);
        let slot = self.view.slot(EndpointId(endpoint(conversation % 8)));
        found.iter().find(|entry| Some(entry.slot) == slot).map_or(0, |entry| entry.cells)
    }
}

#[test]
fn proxies_that_all_teach_the_same_are_sent_none_of_it() {
    let mut hub = hub();
    let mut proxies: Vec<Proxy> = (1..=10).map(|process| Proxy::join(&mut hub, process)).collect();
    for (order, proxy) in (0..).zip(&proxies) {
        proxy.teach(&mut hub, learned(0..CONVERSATIONS), at(100 * order + 10));
    }
    for ms in [1_500, 3_500, 60_000] {
        hub.tick(at(ms));
        for proxy in &mut proxies {
            proxy.drain(&mut hub);
            assert_eq!(proxy.prefix_bytes, 0, "after {ms} ms");
        }
    }
    let joins_later = Proxy::join(&mut hub, 11);
    assert_eq!(joins_later.knows(CONVERSATIONS - 1), 220, "the controller has learned it");
}

#[test]
fn what_a_proxy_lacks_of_the_taught_it_is_sent_once_without_repeated_roots() {
    let mut hub = hub();
    let mut first = Proxy::join(&mut hub, 1);
    let mut second = Proxy::join(&mut hub, 2);
    let mut silent = Proxy::join(&mut hub, 3);
    let half = CONVERSATIONS / 2;
    first.teach(&mut hub, learned(0..CONVERSATIONS), at(10));
    second.teach(&mut hub, learned(0..half), at(20));
    for ms in [1_000, 2_500, 5_000, 8_000] {
        hub.tick(at(ms));
        for proxy in [&mut first, &mut second, &mut silent] {
            proxy.drain(&mut hub);
        }
    }
    let (all, lacking) = (bytes(&learned(0..CONVERSATIONS)), bytes(&learned(half..CONVERSATIONS)));
    assert_eq!(first.prefix_bytes, 0, "it taught it");
    assert!(second.prefix_bytes <= lacking + lacking / 20, "{} for {lacking}", second.prefix_bytes);
    assert!(silent.prefix_bytes <= all + all / 20, "{} for {all}", silent.prefix_bytes);
    assert_eq!(second.knows(half), 220);
    assert_eq!((silent.knows(0), silent.knows(half)), (220, 220));
}

#[test]
fn what_a_snapshot_contained_is_not_sent_again() {
    let mut hub = hub();
    let first = Proxy::join(&mut hub, 1);
    first.teach(&mut hub, learned(0..CONVERSATIONS), at(10));
    let mut late = Proxy::join(&mut hub, 2);
    assert_eq!(late.knows(0), 220);
    hub.tick(at(4_000));
    late.drain(&mut hub);
    assert_eq!(late.prefix_bytes, 0);
}
