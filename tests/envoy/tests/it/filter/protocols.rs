//! The same request in every way in which HTTP can carry it. The prompt is read in all of them.

use crate::stack::{
    HEAD, MODEL, PATH, Stack, assert_at_rest, chunks_and_trailers, completion, engine_of, explain_anywhere,
    prompt, send_with_trailers,
};
use http::StatusCode;
use warmpath_http::{Client, RawConnection};

#[tokio::test]
async fn the_prompt_is_read_however_it_is_sent() {
    let stack = Stack::usual().await;
    let gateway = stack.gateway(0).await;

    let plain = topic("plain HTTP/2");
    let response = Client::h2c(gateway).post_json(PATH, &completion(MODEL, &prompt("plain HTTP/2"))).await;
    assert_eq!(response.unwrap().status, StatusCode::OK);
    assert_learned(&stack, "plain HTTP/2").await;

    assert_eq!(send_with_trailers(gateway, topic("HTTP/2 with trailers")).await, StatusCode::OK);
    assert_learned(&stack, "HTTP/2 with trailers").await;

    let sent = chunks_and_trailers(&topic("chunks and trailers"));
    assert!(exchange(&stack, &sent, 1).await.starts_with("HTTP/1.1 200 OK"));
    assert_learned(&stack, "chunks and trailers").await;

    let old = topic("HTTP/1.0");
    let sent = format!("POST {PATH} HTTP/1.0\r\n{HEAD}content-length: {}\r\n\r\n{old}", old.len());
    assert!(exchange(&stack, &sent, 1).await.starts_with("HTTP/1.0 200 OK"));
    assert_learned(&stack, "HTTP/1.0").await;

    let sent = format!("POST {PATH} HTTP/1.1\r\n{HEAD}content-length: {}\r\n\r\n{plain}", plain.len());
    let answers = exchange(&stack, &sent.repeat(5), 5).await;
    assert_eq!(answers.matches("200 OK").count(), 5, "{answers}");
    assert_at_rest(&stack).await;
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it() {
    let stack = Stack::usual().await;
    let body = topic("expected");
    let mut client = RawConnection::open(stack.gateway(0).await).await.unwrap();
    let length = body.len();
    client
        .send(format!(
            "POST {PATH} HTTP/1.1\r\n{HEAD}expect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        ))
        .await
        .unwrap();
    client.read_until(|text| text.starts_with("HTTP/1.1 100 Continue\r\n")).await.unwrap();
    client.send(&body).await.unwrap();
    client.read_until(|text| text.contains("HTTP/1.1 200 OK")).await.unwrap();
    assert_learned(&stack, "expected").await;
}

fn topic(topic: &str) -> String {
    completion(MODEL, &prompt(topic)).to_string()
}

/// Somebody holds the prompt of this topic, and is the first choice for it.
async fn assert_learned(stack: &Stack, topic: &str) {
    let body = completion(MODEL, &prompt(topic));
    let client = stack.client().await;
    let candidates = explain_anywhere(&client, &body).await.unwrap();
    let holders = candidates.iter().filter(|candidate| candidate.cells > 0).count();
    assert_eq!(holders, 1, "{topic}: {candidates:?}");
    let response = client.post_json(PATH, &body).await.unwrap();
    assert_eq!(
        stack.engine_named(engine_of(&response)).addr().to_string(),
        candidates[0].endpoint,
        "{topic}"
    );
}

/// Sends bytes and reads until so many answers have come.
async fn exchange(stack: &Stack, sent: &str, answers: usize) -> String {
    let mut client = RawConnection::open(stack.gateway(0).await).await.unwrap();
    client.send(sent).await.unwrap();
    client.read_until(|text| text.matches("\"usage\"").count() == answers).await.unwrap()
}
