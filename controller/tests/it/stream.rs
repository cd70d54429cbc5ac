//! The state stream over a real gRPC connection: snapshot, resume, passing on, and bad messages.

use crate::support::{Proxy, get, metric, quiet_settings, until};
use std::net::SocketAddr;
use tonic::{Code, Status};
use warmpath::run::{Running, start};
use warmpath_core::ids::{CellHash, EndpointId, ProcessId};
use warmpath_core::view::{Turn, View};
use warmpath_core::wire::{
    EngineStatus, Hello, InFlightReport, Kind, Phase, Prefix, ResumePoint, Routed, Up,
};

const FIRST: &str = "127.0.0.1:1";
const SECOND: &str = "127.0.0.1:2";

async fn controller() -> (Running, SocketAddr) {
    let running = start(quiet_settings()).await.unwrap();
    let address = running.grpc_addr();
    (running, address)
}

fn load(origin: u64, requests: u32) -> Kind {
    Kind::InFlight(InFlightReport {
        origin,
        endpoint: EndpointId::of(FIRST).0,
        requests,
        ..InFlightReport::default()
    })
}

fn routed(endpoint: &str, cells: &[u64]) -> Kind {
    Kind::Routed(Routed { endpoint: EndpointId::of(endpoint).0, cells: cells.to_vec(), ..Routed::default() })
}

fn requests(view: &View) -> u32 {
    view.slot(EndpointId::of(FIRST))
        .and_then(|slot| view.endpoint(slot))
        .map_or(0, |e| e.in_flight().requests)
}

fn held(view: &View, endpoint: &str, cells: &[u64]) -> u32 {
    let chain: Vec<CellHash> = cells.iter().map(|cell| CellHash(*cell)).collect();
    let mut found = Vec::new();
    view.prefixes().find(&chain, &mut found);
    let slot = view.slot(EndpointId::of(endpoint));
    found.iter().find(|entry| Some(entry.slot) == slot).map_or(0, |entry| entry.cells)
}

/// Takes in messages until the stream ends.
async fn end(proxy: &mut Proxy) -> Status {
    loop {
        if let Err(status) = proxy.try_next().await {
            return status.expect("it ends with a status");
        }
    }
}

#[tokio::test]
async fn a_new_proxy_gets_pools_and_what_others_did() {
    let (running, address) = controller().await;
    let first = Proxy::connect(address, 1).await;
    first.report([load(11, 3), routed(SECOND, &[1, 2, 3])]).await;
    until("the events were taken in", async || {
        (metric(running.http_addr(), "generation").await >= 3.0).then_some(())
    })
    .await;
    let second = Proxy::connect(address, 2).await;
    assert_eq!(second.view.pools()[0].name(), "main");
    assert_eq!(requests(&second.view), 3);
    assert_eq!(held(&second.view, SECOND, &[1, 2, 3]), 3);
    running.shutdown().await;
}

#[tokio::test]
async fn what_one_proxy_does_reaches_the_other_and_not_itself() {
    let (running, address) = controller().await;
    let mut first = Proxy::connect(address, 1).await;
    let mut second = Proxy::connect(address, 2).await;
    first.report([load(11, 5), routed(SECOND, &[1, 2])]).await;
    second.until("the load came", |view| requests(view) == 5).await;
    second.until("the prefix came", |view| held(view, SECOND, &[1, 2]) == 2).await;
    second.report([routed(FIRST, &[9])]).await;
    first.until("the other's prefix came", |view| held(view, FIRST, &[9]) == 1).await;
    assert_eq!(requests(&first.view), 0, "its own load was sent back");
    assert_eq!(held(&first.view, SECOND, &[1, 2]), 0, "its own prefix was sent back");
    running.shutdown().await;
}

#[tokio::test]
async fn routing_proxies_are_published_to_all_so_that_each_has_its_turn() {
    let (running, address) = controller().await;
    let mut first = Proxy::connect(address, 1).await;
    let mut second = Proxy::connect(address, 2).await;
    let _idle = Proxy::connect(address, 3).await;
    first.view.set_process(ProcessId(1));
    second.view.set_process(ProcessId(2));
    first.report([load(11, 1)]).await;
    second.report([load(12, 1)]).await;
    first.until("the first has its turn", |view| view.turn() == Turn::new(0, 2)).await;
    second.until("the second has its turn", |view| view.turn() == Turn::new(1, 2)).await;
    let late = Proxy::connect(address, 4).await;
    assert_eq!(late.view.turn(), Turn::default(), "a proxy that routes nothing has no turn");
    drop(second);
    first.until("who is gone has no turn", |view| view.turn() == Turn::new(0, 1)).await;
    running.shutdown().await;
}

#[tokio::test]
async fn a_newer_stream_of_a_process_ends_the_one_of_a_vm_that_never_closed_it() {
    let (running, address) = controller().await;
    let mut first = Proxy::connect(address, 1).await;
    first.report([load(11, 5)]).await;
    until("the load was taken in", async || {
        (metric(running.http_addr(), "generation").await >= 2.0).then_some(())
    })
    .await;
    let mut newer = Proxy::connect(address, 1).await;
    assert_eq!(end(&mut first).await.code(), Code::Aborted);
    let other = Proxy::connect(address, 2).await;
    assert_eq!(requests(&other.view), 5, "the process is not gone");
    other.report([routed(FIRST, &[9])]).await;
    newer.until("the other's prefix came", |view| held(view, FIRST, &[9]) == 1).await;
    assert_eq!(requests(&newer.view), 0, "no echo of its own load");
    running.shutdown().await;
}

#[tokio::test]
async fn every_stream_gets_a_sign_of_life_that_is_no_change() {
    let (running, address) = controller().await;
    let mut proxies = [Proxy::connect(address, 1).await, Proxy::connect(address, 2).await];
    let generation = metric(running.http_addr(), "generation").await;
    for proxy in &mut proxies {
        for _ in 0..2 {
            while proxy.next().await.events.iter().all(|event| !matches!(event.kind, Some(Kind::Current(_))))
            {
            }
        }
    }
    assert!((metric(running.http_addr(), "generation").await - generation).abs() < 0.5);
    running.shutdown().await;
}

#[tokio::test]
async fn a_proxy_with_cells_of_another_size_is_refused_with_the_reason() {
    let (running, address) = controller().await;
    let hello = Hello { process: 1, cell_bytes: 512, ..Hello::default() };
    let status = Proxy::open(address, hello).await.try_next().await.unwrap_err().unwrap();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("512") && status.message().contains("256"), "{status}");
    let refused = metric(running.http_addr(), "streams_refused_total{reason=\"cell_bytes\"}").await;
    assert!((refused - 1.0).abs() < 0.5, "{refused}");
    running.shutdown().await;
}

#[tokio::test]
async fn a_proxy_that_comes_back_gets_only_what_it_missed() {
    let (running, address) = controller().await;
    let first = Proxy::connect(address, 1).await;
    let second = Proxy::connect(address, 2).await;
    let hello = second.hello();
    drop(second);
    first.report([routed(FIRST, &[1]), routed(SECOND, &[2])]).await;
    until("the events were taken in", async || {
        (metric(running.http_addr(), "generation").await >= 3.0).then_some(())
    })
    .await;
    let mut back = Proxy::open(address, hello.clone()).await;
    let down = back.next().await;
    assert_eq!((down.phase(), down.events.len()), (Phase::Resumed, 2));
    assert_eq!(down.generation, hello.resume.unwrap().generation + 2);
    let snapshots = metric(running.http_addr(), "snapshots_total").await;
    assert!((snapshots - 2.0).abs() < 0.5, "{snapshots} snapshots");
    running.shutdown().await;
}

#[tokio::test]
async fn another_instance_or_generation_needs_a_snapshot() {
    let (running, address) = controller().await;
    let hello = Proxy::connect(address, 1).await.hello();
    let resume = hello.resume.unwrap();
    let at = |resume| Hello { resume: Some(resume), ..hello.clone() };
    let other = at(ResumePoint { instance: resume.instance ^ 1, ..resume });
    assert_eq!(Proxy::open(address, other).await.follow().await, Phase::Begin);
    let future = at(ResumePoint { generation: resume.generation + 1, ..resume });
    assert_eq!(Proxy::open(address, future).await.follow().await, Phase::Begin);
    assert_eq!(Proxy::open(address, hello.clone()).await.follow().await, Phase::Resumed);
    running.shutdown().await;
}

#[tokio::test]
async fn a_snapshot_leaves_out_the_receivers_own_load() {
    let (running, address) = controller().await;
    let mut first = Proxy::connect(address, 1).await;
    let other = Proxy::connect(address, 2).await;
    first.report([load(11, 5)]).await;
    other.report([load(22, 7)]).await;
    first.until("the other's load came", |view| requests(view) == 7).await;
    let again = Proxy::connect(address, 1).await;
    assert_eq!(requests(&again.view), 7);
    running.shutdown().await;
}

#[tokio::test]
async fn learned_prefixes_are_passed_on_whole_and_once() {
    let (running, address) = controller().await;
    let first = Proxy::connect(address, 1).await;
    let mut second = Proxy::connect(address, 2).await;
    let endpoint = EndpointId::of(FIRST).0;
    let prefix = |depth, cells: &[u64]| {
        let held = vec![u32::try_from(cells.len()).unwrap()];
        Kind::Prefix(Prefix { depth, cells: cells.to_vec(), endpoints: vec![endpoint], held })
    };
    first.report([prefix(0, &[1, 2]), prefix(2, &[3]), prefix(1, &[4])]).await;
    second.until("the first branch came", |view| held(view, FIRST, &[1, 2, 3]) == 3).await;
    second.until("the second branch came", |view| held(view, FIRST, &[1, 4]) == 2).await;
    // A second proxy with the same prefixes changes nothing.
    second.report([prefix(0, &[1, 2, 3]), prefix(1, &[4])]).await;
    until("both were dropped", async || {
        let dropped = metric(running.http_addr(), "events_dropped_total{reason=\"known\"}").await;
        (dropped >= 2.0).then_some(())
    })
    .await;
    running.shutdown().await;
}

#[tokio::test]
async fn loads_of_a_proxy_that_went_away_go_after_the_grace() {
    let (running, address) = controller().await;
    let first = Proxy::connect(address, 1).await;
    let mut second = Proxy::connect(address, 2).await;
    first.report([load(11, 5)]).await;
    second.until("the load came", |view| requests(view) == 5).await;
    drop(first);
    second.until("the load went", |view| requests(view) == 0).await;
    running.shutdown().await;
}

#[tokio::test]
async fn a_proxy_does_not_speak_for_the_controller() {
    let (running, address) = controller().await;
    let first = Proxy::connect(address, 1).await;
    let status = EngineStatus { endpoint: EndpointId::of(FIRST).0, waiting: 1000, ..EngineStatus::default() };
    first.report([Kind::EngineStatus(status)]).await;
    until("it was dropped", async || {
        let dropped = metric(running.http_addr(), "events_dropped_total{reason=\"not_yours\"}").await;
        (dropped > 0.0).then_some(())
    })
    .await;
    running.shutdown().await;
}

#[tokio::test]
async fn a_stream_that_breaks_the_protocol_is_closed() {
    let (running, address) = controller().await;
    let mut silent = Proxy::open(address, Hello::default()).await;
    let status = silent.try_next().await.unwrap_err().unwrap();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "process is zero"));

    let mut twice = Proxy::connect(address, 1).await;
    twice.send(Up { hello: Some(twice.hello()), events: Vec::new() }).await;
    assert_eq!(end(&mut twice).await.code(), Code::InvalidArgument);

    let mut many = Proxy::connect(address, 1).await;
    many.report(std::iter::repeat_n(load(11, 1), 5000)).await;
    let status = end(&mut many).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    running.shutdown().await;
}

#[tokio::test]
async fn a_lone_proxy_receives_the_generation_of_its_own_events() {
    let (running, address) = controller().await;
    let mut lone = Proxy::connect(address, 1).await;
    let before = lone.generation;
    lone.report([load(11, 0), routed(FIRST, &[1])]).await;
    while lone.generation < before + 2 {
        let down = lone.next().await;
        assert!(down.events.iter().all(|event| matches!(event.kind, Some(Kind::Current(_)))), "{down:?}");
    }
    running.shutdown().await;
}

#[tokio::test]
async fn a_stop_ends_streams_as_unavailable() {
    let (running, address) = controller().await;
    let http = running.http_addr();
    let mut proxy = Proxy::connect(address, 1).await;
    assert_eq!(get(http, "/healthz").await.1, "ok\n");
    running.shutdown().await;
    assert_eq!(end(&mut proxy).await.code(), Code::Unavailable);
}
