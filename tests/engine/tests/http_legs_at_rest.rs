//! Many split requests at once, with clients that leave and engines that die: afterwards, nothing is held, awaited or running.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is not there fails the test"
)]

mod client;

use client::{eventually, legs, open, post};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use warmpath_engine::{
    EngineServer, Fault, Legs, LoadFailure, Params, Preset, Role, ServerConfig, State, Transfer,
    TransferProtocol,
};

const COMPLETIONS: &str = "/v1/completions";
const REQUESTS: usize = 120;

/// Twenty times as fast as an engine, so that requests overlap, with little room and a short lease.
fn config(number: usize, transfer: Transfer) -> ServerConfig {
    let params = Params { kv_tokens: 40_000, held_s_max: 6.0, ..Params::new(Preset::Qwen3On2) };
    ServerConfig {
        name: format!("engine-{number}"),
        params,
        time_scale: 20.0,
        transfer: Some(transfer),
        ..ServerConfig::default()
    }
}

fn body(number: usize) -> Value {
    json!({"prompt": format!("{number:04}{}", "abcd".repeat(200 + number * 10)), "max_tokens": 10})
}

fn is_at_rest(state: &State) -> bool {
    let Legs { prompts_held, prompts_awaited, .. } = state.legs;
    state.blocks_in_use + state.running + state.waiting + prompts_held + prompts_awaited == 0
}

#[tokio::test]
async fn after_pulls_nothing_is_held() {
    let transfer = Transfer { load_failure: LoadFailure::Recompute, ..Transfer::new(TransferProtocol::Nixl) };
    let start = async |number| EngineServer::start(config(number, transfer.clone())).await.unwrap();
    let engines = [start(0).await, start(1).await, start(2).await, start(3).await];
    let split = async |number: usize| {
        let (p, d) = (&engines[number % 2], &engines[2 + number % 2]);
        let mut first = body(number);
        first["kv_transfer_params"] = json!({"do_remote_decode": true});
        first["max_tokens"] = json!(1);
        let Ok(response) = open(p.addr(), COMPLETIONS, first).await else { return };
        let handover = response.rest().await;
        if handover.is_cut || number.is_multiple_of(7) {
            return;
        }
        let mut second = body(number);
        second["kv_transfer_params"] = handover.json()["kv_transfer_params"].clone();
        let decode = open(d.addr(), COMPLETIONS, second);
        if number.is_multiple_of(5) {
            // A client that leaves after a time in which nearly all do not have their response.
            let _ = tokio::time::timeout(Duration::from_millis(2), decode).await;
        } else if let Ok(response) = decode.await {
            response.rest().await;
        }
    };
    let dies = async {
        eventually(&engines[0], |state| state.legs.prefills >= 20).await;
        engines[0].fault(Fault::Restart).await;
    };
    tokio::join!(join_all((0..REQUESTS).map(split)), dies);
    for engine in &engines {
        eventually(engine, is_at_rest).await;
    }
    let of = |count: fn(&Legs) -> u64| engines.iter().map(|engine| count(&legs(engine))).sum::<u64>();
    assert!(of(|legs| legs.prompts_fetched) > 20, "{:?}", engines.each_ref().map(legs));
    assert!(of(|legs| legs.prompts_expired) > 0, "those that were not sent on");
    assert_eq!(of(|legs| legs.prompts_stale), of(|legs| legs.fetches_unexpected), "both sides know");
}

#[tokio::test]
async fn after_meetings_nothing_is_held() {
    let transfer = |role| Transfer {
        partner_time_max: Duration::from_millis(500),
        ..Transfer::new(TransferProtocol::Sglang).with_role(role)
    };
    let start = async |number, role| EngineServer::start(config(number, transfer(role))).await.unwrap();
    let (p, d) = (start(0, Role::Prefill).await, start(1, Role::Decode).await);
    let split = async |number: usize| {
        let mut body = body(number);
        body["bootstrap_host"] = json!("127.0.0.1");
        body["bootstrap_port"] = json!(p.side_addr().port());
        body["bootstrap_room"] = json!(number);
        let leg = async |engine: &EngineServer, leaves: bool| {
            let leg = post(engine, COMPLETIONS, &body);
            let time_max = Duration::from_millis(if leaves { 2 } else { 20_000 });
            let _ = tokio::time::timeout(time_max, leg).await;
        };
        tokio::join!(leg(&p, number.is_multiple_of(7)), leg(&d, number.is_multiple_of(5)));
    };
    join_all((0..REQUESTS).map(split)).await;
    for engine in [&p, &d] {
        eventually(engine, is_at_rest).await;
    }
    assert!(legs(&d).prompts_fetched > 20, "{:?} {:?}", legs(&p), legs(&d));
}
