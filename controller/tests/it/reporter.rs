//! From the steps of feeds to what proxies are sent.

use crate::support;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use warmpath::clock::Clock;
use warmpath::config::Pool;
use warmpath::events::format::Written;
use warmpath::events::reporter::{Caches, Reporter, Target, Targets};
use warmpath::events::tokens::Before;
use warmpath::events::{Batch, BlockHash, KvEvent, Report, Step, StoredBlocks};
use warmpath::index::Index;
use warmpath::metrics::Metrics;
use warmpath::publish::{Hub, Shared};
use warmpath_config::Prompt;
use warmpath_core::ids::{CellHash, EndpointId, InstanceId};
use warmpath_core::num::index;
use warmpath_core::prompt::{Api, Request, Root, cells_of};
use warmpath_core::wire::{EngineStatus, Kind, Tier, Trust};

const ADDRESS: &str = "127.0.0.1:8000";
const CELL_BYTES: usize = 32;

/// Those of four blocks.
static TOKENS: LazyLock<Vec<u32>> = LazyLock::new(|| (300..364).collect());

/// A controller's index that one engine reports to.
struct Bench {
    shared: Shared,
    reports: mpsc::Sender<Report>,
    targets: watch::Sender<Targets>,
    filled: mpsc::UnboundedReceiver<u32>,
    written: Arc<Written>,
    caches: Caches,
    _stop: watch::Sender<bool>,
}

impl Bench {
    fn new() -> Self {
        let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/engine/data/tiny-model");
        let prompt = Prompt { tokenizer: model.to_owned(), ..Prompt::default() };
        let written = Arc::new(Written::read(&prompt).unwrap());
        let (stop, stopping) = watch::channel(false);
        let clock = Clock::default();
        let mut hub = Hub::new(Index::new(InstanceId(1), CELL_BYTES, 1), Arc::new(Metrics::default()));
        let pool = Pool {
            name: "pool".to_owned(),
            endpoints: vec![ADDRESS.parse::<std::net::SocketAddr>().unwrap().into()],
            ..Pool::default()
        };
        hub.publish(Kind::Pools(warmpath_config::pools::to_wire(&[pool])), clock.now());
        let shared = Shared::new(hub, clock, stopping);
        let (reports, receiver) = mpsc::channel(8);
        let (targets, followed) = watch::channel(Targets::new());
        let (sender, filled) = mpsc::unbounded_channel();
        let filled_at = move |_, rank| sender.send(rank).unwrap();
        let reporter = Reporter::new(shared.clone(), clock, CELL_BYTES, receiver, followed, filled_at);
        let caches = reporter.caches();
        tokio::spawn(reporter.run());
        let bench = Self { shared, reports, targets, filled, written, caches, _stop: stop };
        bench.follow(7);
        bench
    }

    fn follow(&self, identity: u64) {
        self.follow_as(identity, false);
    }

    fn follow_as(&self, identity: u64, is_withheld: bool) {
        let written = Arc::clone(&self.written);
        let target = Target { identity, pool: "pool".to_owned(), written, is_withheld };
        self.targets.send_replace(Targets::from([(ADDRESS.parse().unwrap(), target)]));
    }

    async fn step(&self, steps: Vec<Step>) {
        self.reports.send(Report { endpoint: ADDRESS.parse().unwrap(), rank: 0, steps }).await.unwrap();
    }

    /// What the view believes of the engine, and how much of the chain it has there.
    fn believed(&self, chain: &[CellHash]) -> (Trust, usize) {
        self.shared.with(|hub, _| {
            let view = hub.index().view();
            let slot = view.slot(EndpointId::of(ADDRESS)).unwrap();
            let mut found = Vec::new();
            view.find(chain, &mut found);
            (view.reported().trust(slot), found.first().map_or(0, |found| index(found.cells)))
        })
    }

    /// Waits until that is so.
    async fn until(&self, chain: &[CellHash], wanted: (Trust, usize)) {
        for _ in 0..2_000 {
            if self.believed(chain) == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{:?} instead of {wanted:?}", self.believed(chain));
    }

    fn stored(&self) -> (Step, Vec<CellHash>) {
        let mut text = Vec::new();
        self.written.tokens.append(&TOKENS, Before::Nothing, &mut text).unwrap();
        let body = serde_json::json!({"prompt": String::from_utf8(text).unwrap()}).to_string();
        let request = Request::parse(Api::Completions, body.as_bytes()).unwrap();
        let mut chain = Vec::new();
        cells_of(&request, Root::new("pool", "", "").written(self.written.id), CELL_BYTES, &mut chain);
        let event = KvEvent::Stored(StoredBlocks {
            hashes: (1..=4).map(BlockHash).collect(),
            parent: None,
            tokens: TOKENS.clone(),
            block_tokens: 16,
            lora: None,
            extra_keys: Vec::new(),
            tier: Tier::Gpu,
            group: 0,
            kind: None,
        });
        (Step::Apply(Batch { events: vec![event] }), chain)
    }
}

fn trust(trust: Trust, is_cleared: bool) -> Step {
    Step::Trust { trust, is_cleared }
}

#[tokio::test]
async fn what_engines_report_reaches_the_view() {
    let bench = Bench::new();
    let (stored, chain) = bench.stored();
    assert!(chain.len() > 4, "{}", chain.len());
    bench.step(vec![trust(Trust::Whole, true), stored.clone()]).await;
    bench.until(&chain, (Trust::Whole, chain.len())).await;
    let removed = KvEvent::Removed { hashes: vec![BlockHash(4)], tier: Tier::Gpu, group: 0 };
    bench.step(vec![Step::Apply(Batch { events: vec![removed] })]).await;
    let mut text = Vec::new();
    bench.written.tokens.append(&TOKENS[..48], Before::Nothing, &mut text).unwrap();
    bench.until(&chain, (Trust::Whole, text.len() / CELL_BYTES)).await;
    bench.step(vec![trust(Trust::Suspect, false)]).await;
    bench.until(&chain, (Trust::Suspect, 0)).await;
    bench.step(vec![trust(Trust::Whole, true), stored]).await;
    bench.until(&chain, (Trust::Whole, chain.len())).await;
    bench.follow(8);
    bench.until(&chain, (Trust::None, 0)).await;
}

#[tokio::test]
async fn what_is_withheld_is_followed_and_reaches_no_view() {
    let bench = Bench::new();
    bench.follow_as(8, true);
    let (stored, chain) = bench.stored();
    let address = ADDRESS.parse().unwrap();
    let seen = || bench.caches.seen(address).filter(|seen| seen.blocks > 0);
    support::until("its blocks are seen", async || {
        bench.step(vec![trust(Trust::Whole, true), stored.clone()]).await;
        seen().map(|seen| assert_eq!((seen.trust, seen.cells), (Trust::Whole, chain.len())))
    })
    .await;
    assert_eq!(bench.believed(&chain), (Trust::None, 0));
    // What it has reported before does not come again by itself.
    bench.follow(7);
    support::until("it is followed anew", async || {
        bench.step(vec![trust(Trust::Whole, true), stored.clone()]).await;
        (bench.believed(&chain) == (Trust::Whole, chain.len())).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_engine_whose_room_is_known_to_be_full_holds_nothing_else() {
    let mut bench = Bench::new();
    let (stored, chain) = bench.stored();
    let status = EngineStatus {
        endpoint: EndpointId::of(ADDRESS).0,
        capacity_tokens: Some(66),
        ..EngineStatus::default()
    };
    bench.shared.with(|hub, now| hub.publish(Kind::EngineStatus(status), now));
    bench.step(vec![trust(Trust::Partial, true), stored]).await;
    bench.until(&chain, (Trust::Partial, chain.len())).await;
    assert_eq!(bench.filled.recv().await, Some(0));
}
