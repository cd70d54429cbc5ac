//! A proxy that does not read: its backlog overflows instead of growing, and a snapshot brings it back.

use crate::support::{Proxy, metric, quiet_settings, until};
use warmpath::run::start;
use warmpath_core::ids::{CellHash, EndpointId};
use warmpath_core::wire::{Hello, InFlightReport, Kind, Phase, Routed};

const ENDPOINT: &str = "127.0.0.1:1";
/// Cells of one prompt: 32 KB on the wire, so that a few hundred fill any buffer between the two.
const CELLS: u64 = 4000;
/// More than a backlog may hold, and more than the sockets' buffers beside it.
const PROMPTS_MAX: u64 = 4_000;

fn routed(prompt: u64) -> Kind {
    let cells = (0..CELLS).map(|cell| prompt << 32 | cell).collect();
    Kind::Routed(Routed { endpoint: EndpointId::of(ENDPOINT).0, cells, ..Routed::default() })
}

#[tokio::test]
async fn a_slow_reader_gets_a_new_snapshot() {
    let running = start(quiet_settings()).await.unwrap();
    let mut slow = Proxy::open(running.grpc_addr(), Hello { process: 1, ..Hello::default() }).await;
    let busy = Proxy::connect(running.grpc_addr(), 2).await;
    let mut prompt = 0;
    while metric(running.http_addr(), "overflowed_total").await < 1.0 {
        assert!(prompt < PROMPTS_MAX, "the backlog grew without end");
        for _ in 0..20 {
            prompt += 1;
            busy.report([routed(prompt)]).await;
        }
    }
    let load = InFlightReport {
        origin: 22,
        endpoint: EndpointId::of(ENDPOINT).0,
        requests: 9,
        ..InFlightReport::default()
    };
    busy.report([Kind::InFlight(load)]).await;
    until("the load was taken in", async || {
        (metric(running.http_addr(), "events_in_total{kind=\"in_flight\"}").await > 0.0).then_some(())
    })
    .await;

    let mut snapshots = 0;
    slow.until("the load came", |view| {
        let place = view.slot(EndpointId::of(ENDPOINT));
        place
            .and_then(|place| view.endpoint(place))
            .is_some_and(|endpoint| endpoint.in_flight().requests == 9)
    })
    .await;
    while slow.generation == 0 {
        snapshots += u32::from(slow.next().await.phase() == Phase::Done);
    }
    assert_eq!(snapshots, 1, "the load came within a snapshot");
    let mut found = Vec::new();
    let newest: Vec<CellHash> = (0..CELLS).map(|cell| CellHash(prompt << 32 | cell)).collect();
    slow.view.prefixes().find(&newest, &mut found);
    assert_eq!(found.first().map(|entry| u64::from(entry.cells)), Some(CELLS));
    running.shutdown().await;
}
