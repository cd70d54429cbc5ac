//! `warmpath get`: what a controller knows, from its API to the table.

use crate::support::{Proxy, get as get_page, quiet_settings, until};
use std::net::SocketAddr;
use warmpath::api::{ProxiesPage, StatePage};
use warmpath::args::{GetArgs, GetOutput, Kind};
use warmpath::get;
use warmpath::run::start;
use warmpath_core::ids::EndpointId;
use warmpath_core::wire::{Hello, InFlightReport, Kind as Event, UsageSeen};

async fn state(http: SocketAddr) -> StatePage {
    get::state(&http.to_string()).await.unwrap()
}

#[tokio::test]
async fn proxies_are_listed_while_they_are_connected_and_refused_ones_with_the_reason() {
    let running = start(quiet_settings()).await.unwrap();
    let http = running.http_addr();
    let hello = Hello {
        process: 7,
        node: "gateway-a".to_owned(),
        version: "0.0.9".to_owned(),
        cell_bytes: 256,
        takes_reports: true,
        ..Hello::default()
    };
    let misfit = Hello { process: 8, node: "gateway-b".to_owned(), cell_bytes: 64, ..hello.clone() };
    let proxy = Proxy::open(running.grpc_addr(), hello).await;
    let _refused = Proxy::open(running.grpc_addr(), misfit).await;
    let endpoint = EndpointId::of("127.0.0.1:2").0;
    let load = InFlightReport { origin: 11, endpoint, requests: 2, ..InFlightReport::default() };
    proxy.report([Event::InFlight(load), Event::InFlight(InFlightReport { origin: 12, ..load })]).await;
    let state = until("both are known", async || {
        let state = state(http).await;
        let is_known = state.proxies.first().is_some_and(|proxy| proxy.requests == 4);
        (is_known && !state.refused.is_empty()).then_some(state)
    })
    .await;
    let [proxy_state] = state.proxies.as_slice() else { panic!("{:?}", state.proxies) };
    assert_eq!((proxy_state.node.as_str(), proxy_state.version.as_str()), ("gateway-a", "0.0.9"));
    assert_eq!((proxy_state.cell_bytes, proxy_state.takes_reports), (Some(256), Some(true)));
    let [refused] = state.refused.as_slice() else { panic!("{:?}", state.refused) };
    assert_eq!((refused.node.as_str(), refused.reason.as_str()), ("gateway-b", "cell_bytes"));
    assert!(refused.message.contains("64 bytes"), "{refused:?}");
    let (_, page) = get_page(http, "/proxies").await;
    let page: ProxiesPage = serde_json::from_str(&page).unwrap();
    assert_eq!((page.instance, page.proxies.len(), page.refused.len()), (state.instance, 1, 1));
    drop(proxy);
    let gone = async || self::state(http).await.proxies.is_empty().then_some(());
    until("it is gone", gone).await;
    running.shutdown().await;
}

#[tokio::test]
async fn the_cached_share_is_of_what_engines_report() {
    let running = start(quiet_settings()).await.unwrap();
    let proxy = Proxy::connect(running.grpc_addr(), 1).await;
    let seen = |address: &str, prompt_tokens, cached_tokens| {
        let endpoint = EndpointId::of(address).0;
        let pool = "main".to_owned();
        Event::UsageSeen(UsageSeen { pool, endpoint, prompt_tokens, cached_tokens, ..UsageSeen::default() })
    };
    proxy
        .report([
            seen("127.0.0.1:1", 1000, Some(900)),
            seen("127.0.0.1:2", 1000, Some(100)),
            seen("127.0.0.1:2", 5000, None),
            seen("127.0.0.1:3", 5000, Some(0)),
        ])
        .await;
    let state = until("they are taken in", async || {
        let state = state(running.http_addr()).await;
        (state.generation >= 4).then_some(state)
    })
    .await;
    let shares = |share: Option<f64>| share.map(|share| (share * 100.0).round());
    assert_eq!(shares(state.pools[0].cached_share), Some(50.0));
    let of_endpoints: Vec<_> = state.pools[0].endpoints.iter().map(|e| shares(e.cached_share)).collect();
    assert_eq!(of_endpoints, [Some(90.0), Some(10.0)]);
    running.shutdown().await;
}

#[tokio::test]
async fn the_command_prints_what_the_controller_knows() {
    let running = start(quiet_settings()).await.unwrap();
    let args = GetArgs {
        kind: Kind::Endpoints,
        controller: format!("http://{}", running.http_addr()),
        output: GetOutput::Text,
        namespace: None,
        pool: None,
        no_headers: true,
        watch: false,
    };
    let state = get::state(&args.controller).await.unwrap();
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    get::print(&mut out, &mut notes, state, &args).unwrap();
    let table = String::from_utf8(out).unwrap();
    assert!(table.starts_with("127.0.0.1:1   -   main   both   unknown"), "{table}");
    running.shutdown().await;
    let error = get::state(&args.controller).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot reach http://127.0.0.1:"), "{error}");
}
