//! temp
use crate::support::{Proxy, quiet_settings, settings};
use std::time::Instant;
use warmpath::run::start;
use warmpath::telemetry::Figures;
use warmpath_core::ids::EndpointId;
use warmpath_core::wire::{Kind, Load, Routed};

#[tokio::test(flavor = "multi_thread")]
async fn measure() {
    let running = start(quiet_settings()).await.unwrap();
    let a = Proxy::connect(running.grpc_addr(), 1).await;
    let mut b = Proxy::connect(running.grpc_addr(), 2).await;
    let endpoint = EndpointId::of("127.0.0.1:1").0;
    let mut times = Vec::new();
    for n in 1..=2000_u32 {
        let t = Instant::now();
        a.tell([Kind::Load(Load { origin: 11, endpoint, requests: n, ..Load::default() }), Kind::Routed(Routed{endpoint, cells: (0..64).map(|c| u64::from(n) << 32 | c).collect()})]).await;
        b.next().await;
        times.push(t.elapsed().as_micros());
    }
    times.sort_unstable();
    println!("a->controller->b us: p50 {} p99 {} max {}", times[1000], times[1980], times[1999]);
    let page = include_str!("../fixtures/pages/vllm.txt");
    let t = Instant::now();
    for _ in 0..1000 { std::hint::black_box(Figures::read(page.as_bytes())); }
    println!("page us: {}", t.elapsed().as_micros() / 1000);
    let many: Vec<std::net::SocketAddr> = (0..1000_u32).map(|n| format!("127.1.{}.{}:1", n / 250, n % 250).parse().unwrap()).collect();
    let mut s = settings(&many);
    s.scrape.interval = std::time::Duration::from_secs(60);
    let running = start(s).await.unwrap();
    let a = Proxy::connect(running.grpc_addr(), 1).await;
    for n in 0..1000_u32 {
        let endpoint = EndpointId::of(&many[n as usize].to_string()).0;
        a.tell([Kind::Routed(Routed{endpoint, cells: (0..4000).map(|c| u64::from(n) << 32 | c).collect()})]).await;
    }
    loop { let p = crate::support::metric(running.http_addr(), "view_cells").await; if p > 3_999_999.0 { break; } }
    let t = Instant::now();
    let _b = Proxy::connect(running.grpc_addr(), 2).await;
    println!("snapshot of 4M cells ms: {}", t.elapsed().as_millis());
}
