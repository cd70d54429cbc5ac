//! Clients that leave while their prompts are computed. Nothing of them may stay in the proxy.
//!
//! Envoy keeps a filter's call when the request that it was made for is gone, and no filter can end one: the prefill engine goes on
//! until it has responded, or until the call's time is up.

use super::engine::Manner;
use super::{Apart, CHAT, chat};
use warmpath_envoy::until;
use warmpath_http::RawConnection;

const CLIENTS: usize = 20;

#[tokio::test]
async fn nothing_stays_of_clients_that_leave_while_the_engine_is_stalled() {
    leave(Manner::Stalled).await;
}

#[tokio::test]
async fn nothing_stays_of_clients_that_leave_during_their_prefill() {
    leave(Manner::Well).await;
}

/// With engines of its own: those that have responded at once count as so fast that nothing more is split.
async fn leave(manner: Manner) {
    let apart = Apart::start(1, 1).await;
    apart.prefill[0].set(manner);
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let body = chat(&format!("left {number}"), true);
        let mut client = RawConnection::open(apart.gateway).await.unwrap();
        let head = format!(
            "POST {CHAT} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        client.send(head + &body).await.unwrap();
        clients.push(client);
    }
    let mut begun = 0;
    until("prompts to be computed", async || {
        begun += apart.prefill[0].take_received().len();
        (begun > 0).then_some(())
    })
    .await
    .unwrap();
    for client in clients {
        client.abort().unwrap();
    }
    apart.rests().await;
    apart.counted("aborted", 1).await;
    // The next one is served as if nothing had been.
    let response = apart.send(&apart.clients()[0], CHAT, &chat("next", true)).await;
    assert!(response.text().contains("[DONE]"), "{}", response.text());
    apart.rests().await;
}
