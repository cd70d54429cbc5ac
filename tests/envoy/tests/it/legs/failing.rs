//! Prefill engines that fail, each in its way: another one, then a request without a leg, and always one response.

use super::engine::Manner;
use super::{Apart, CHAT, chat, with_handover};
use crate::backend::DeadAddress;
use http::StatusCode;

const CLIENTS_FAULT: StatusCode = StatusCode::BAD_REQUEST;

/// Manners of failing, and the reason that is counted for each.
const FAILING: [(Manner, &str); 5] = [
    (Manner::Status(StatusCode::INTERNAL_SERVER_ERROR), "faulty"),
    (Manner::Status(StatusCode::TOO_MANY_REQUESTS), "full"),
    (Manner::Nonsense, "handover_unreadable"),
    (Manner::Dying, "unreachable"),
    (Manner::Gone, "unreachable"),
];

#[tokio::test]
async fn a_leg_that_fails_goes_to_the_other_engine() {
    for (manner, reason) in FAILING {
        let apart = Apart::start(2, 1).await;
        apart.prefill[0].set(manner);
        let client = &apart.clients()[0];
        let (mut turn, mut met) = (0, 0);
        // Whether the first is chosen is up to the filter, which turns away from it once it has failed.
        while met == 0 {
            assert!(turn < 20, "{reason}: it is never chosen");
            let body = chat(&format!("{reason} {turn}"), turn % 2 == 0);
            turn += 1;
            let response = apart.send(client, CHAT, &body).await;
            assert_eq!(response.status, StatusCode::OK, "{reason}: {}", response.text());
            met = apart.prefill[0].take_received().len();
            assert_eq!(apart.prefill[1].take_received().len(), 1, "{reason}");
            let [own] = &Apart::received(&apart.decode)[..] else { panic!("{reason}: one request") };
            assert!(own.body == with_handover(&body).as_bytes(), "{reason}");
        }
        apart.counted(&format!("prefill_leg.{reason}"), 1).await;
        apart.counted("prefill_leg.retried", 1).await;
        assert_eq!(apart.metric("prefill_leg.replaced_by_local").await, 0, "{reason}");
        apart.rests().await;
    }
}

#[tokio::test]
async fn where_all_fail_the_decode_engine_gets_what_the_client_sent() {
    for (manner, reason) in FAILING {
        let apart = Apart::start(2, 1).await;
        apart.prefill.iter().for_each(|engine| engine.set(manner));
        let body = chat(reason, true);
        for client in apart.clients() {
            let response = apart.send(&client, CHAT, &body).await;
            assert_eq!(response.status, StatusCode::OK, "{reason}: {}", response.text());
            assert!(response.text().contains("[DONE]"), "{reason}");
            let [own] = &Apart::received(&apart.decode)[..] else { panic!("{reason}: one request") };
            assert!(own.body == body.as_bytes(), "{reason}: {}", String::from_utf8_lossy(&own.body));
        }
        apart.counted("prefill_leg.replaced_by_local", 1).await;
        apart.rests().await;
    }
}

#[tokio::test]
async fn engines_that_refuse_connections_cost_a_moment() {
    let dead = [DeadAddress::new(), DeadAddress::new()];
    let apart = Apart::start_with(0, 1, &dead.each_ref().map(DeadAddress::addr)).await;
    let body = chat("refused", true);
    let response = apart.send(&apart.clients()[0], CHAT, &body).await;
    assert_eq!(response.status, StatusCode::OK, "{}", response.text());
    let [own] = &Apart::received(&apart.decode)[..] else { panic!("one request") };
    assert!(own.body == body.as_bytes());
    apart.counted("prefill_leg.unreachable", 2).await;
    apart.counted("prefill_leg.replaced_by_local", 1).await;
    apart.rests().await;
}

#[tokio::test]
async fn a_stalled_engine_is_waited_for_and_then_not() {
    let apart = Apart::start(1, 1).await;
    apart.prefill[0].set(Manner::Stalled);
    let body = chat("stalled", true);
    let response = apart.send(&apart.clients()[0], CHAT, &body).await;
    assert_eq!(response.status, StatusCode::OK, "{}", response.text());
    let [own] = &Apart::received(&apart.decode)[..] else { panic!("one request") };
    assert!(own.body == body.as_bytes());
    apart.counted("prefill_leg.silent", 1).await;
    apart.rests().await;
}

#[tokio::test]
async fn what_is_the_clients_own_fault_is_tried_once() {
    let apart = Apart::start(2, 1).await;
    apart.prefill.iter().for_each(|engine| engine.set(Manner::Status(CLIENTS_FAULT)));
    let body = chat("wrong", true);
    let response = apart.send(&apart.clients()[0], CHAT, &body).await;
    assert_eq!(response.status, StatusCode::OK, "the decode engine's own word: {}", response.text());
    assert_eq!(Apart::received(&apart.prefill).len(), 1);
    let [own] = &Apart::received(&apart.decode)[..] else { panic!("one request") };
    assert!(own.body == body.as_bytes());
    apart.counted("prefill_leg.refused", 1).await;
    apart.rests().await;
}
