//! Clients that go away, at every point of a request. Nothing of them may stay: no stream, no promise.

use crate::stack::{MODEL, PATH, Setup, Stack, assert_at_rest, completion, prompt};
use warmpath_engine::Fault;
use warmpath_envoy::until;
use warmpath_http::RawConnection;

/// Clients that leave at each point.
const CLIENTS: usize = 20;
/// Tokens of an answer that no socket's buffer holds, so that it is still under way when its client leaves.
const LONG_TOKENS: usize = 200_000;

#[tokio::test]
async fn nothing_stays_of_clients_that_left() {
    let stack = Stack::start(Setup { workers: 2, ..Setup::default() }).await;
    let body = completion(MODEL, &prompt("left")).to_string();
    let head = head(body.len());

    for sent in [
        "POST /v1/compl".to_owned(),
        head[..head.len() - 4].to_owned(),
        head.clone(),
        format!("{head}{}", &body[..body.len() / 2]),
        format!("{head}{body}"),
    ] {
        for _ in 0..CLIENTS {
            let mut client = RawConnection::open(stack.gateway(0).await).await.unwrap();
            client.send(&sent).await.unwrap();
            client.abort().unwrap();
        }
    }
    assert_at_rest(&stack).await;
    leave_while_waiting(&stack, &format!("{head}{body}")).await;
    assert_at_rest(&stack).await;
    leave_within_the_answer(&stack).await;
    assert_at_rest(&stack).await;
}

async fn leave_while_waiting(stack: &Stack, request: &str) {
    for at in 0..3 {
        stack.engine(at).fault(Fault::Stall).await;
    }
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = RawConnection::open(stack.gateway(0).await).await.unwrap();
        client.send(request).await.unwrap();
        clients.push(client);
    }
    until("all requests to wait for their engines", async || {
        let active = stack.envoy(0).admin().stat("cluster.engines.upstream_rq_active").await.unwrap();
        (active == u64::try_from(CLIENTS).unwrap()).then_some(())
    })
    .await
    .unwrap();
    for client in clients {
        client.abort().unwrap();
    }
    until("Envoy to notice", async || {
        let active = stack.envoy(0).admin().stat("http.gateway.downstream_rq_active").await.unwrap();
        (active == 0).then_some(())
    })
    .await
    .unwrap();
    for at in 0..3 {
        stack.engine(at).fault(Fault::Clear).await;
    }
}

async fn leave_within_the_answer(stack: &Stack) {
    let mut body = completion(MODEL, &prompt("long answer"));
    body["max_tokens"] = LONG_TOKENS.into();
    body["stream"] = true.into();
    let body = body.to_string();
    for _ in 0..CLIENTS / 4 {
        let mut client = RawConnection::open(stack.gateway(0).await).await.unwrap();
        client.send(format!("{}{body}", head(body.len()))).await.unwrap();
        client.read_until(|text| text.contains("data: ")).await.unwrap();
        client.abort().unwrap();
    }
    stack.counted("aborted", 1).await;
}

fn head(body_bytes: usize) -> String {
    format!(
        "POST {PATH} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n\
         content-length: {body_bytes}\r\n\r\n"
    )
}
