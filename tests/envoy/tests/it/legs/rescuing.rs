//! Decode engines that fail before their responses begin: Envoy may not send what was handed over twice, so the filter has the
//! request served as a whole by a call, and puts the response to that in the place of the failure.

use super::engine::Manner;
use super::{Apart, CHAT, chat};
use http::StatusCode;
use warmpath_envoy::until;

#[tokio::test]
async fn a_client_gets_its_response_though_the_decode_engine_fails() {
    for manner in [
        Manner::Status(StatusCode::INTERNAL_SERVER_ERROR),
        Manner::Status(StatusCode::SERVICE_UNAVAILABLE),
        Manner::Gone,
    ] {
        let apart = Apart::start(1, 2).await;
        apart.decode.iter().for_each(|engine| engine.set_decode(manner));
        for (number, client) in apart.clients().iter().enumerate() {
            for is_stream in [true, false] {
                let what = format!("{manner:?} {number} {is_stream}");
                let body = chat(&what, is_stream);
                let response = apart.send(client, CHAT, &body).await;
                assert_eq!(response.status, StatusCode::OK, "{what}: {}", response.text());
                let (content_type, end) =
                    if is_stream { ("text/event-stream", "[DONE]") } else { ("application/json", "message") };
                assert!(response.header("content-type").unwrap().starts_with(content_type), "{what}");
                assert!(response.text().contains(end), "{what}: {}", response.text());
                let received = Apart::received(&apart.decode);
                let legs = received.iter().filter(|request| request.is_decode()).count();
                let whole: Vec<_> = received.iter().filter(|request| !request.is_decode()).collect();
                assert_eq!((legs, whole.len()), (1, 1), "{what}");
                assert!(whole[0].body == body.as_bytes(), "{what}");
                assert_eq!(Apart::received(&apart.prefill).len(), 1, "{what}");
            }
        }
        apart.counted("decode_leg.rescued", 4).await;
        assert_eq!(apart.metric("decode_leg.lost").await, 0);
        apart.rests().await;
    }
}

#[tokio::test]
async fn a_client_gets_its_response_though_the_decode_engine_is_silent() {
    let apart = Apart::start(1, 2).await;
    apart.decode.iter().for_each(|engine| engine.set_decode(Manner::Stalled));
    let [first, second] = &apart.clients();
    let bodies = ["silent one", "silent two"].map(|topic| chat(topic, true));
    let mut received = Vec::new();
    // A later request that is served shows that those are stuck.
    let later = async {
        until("both decode legs", async || {
            received.extend(Apart::received(&apart.decode));
            (received.iter().filter(|request| request.is_decode()).count() == 2).then_some(())
        })
        .await
        .unwrap();
        apart.send(first, CHAT, r#"{"model":"sim","messages":[]}"#).await
    };
    // Both at once, because each is waited for.
    let responses =
        futures::join!(apart.send(first, CHAT, &bodies[0]), apart.send(second, CHAT, &bodies[1]), later);
    for response in [responses.0, responses.1] {
        assert_eq!(response.status, StatusCode::OK, "{}", response.text());
        assert!(response.text().contains("[DONE]"), "{}", response.text());
    }
    received.extend(Apart::received(&apart.decode));
    let whole = received.iter().filter(|request| !request.is_decode());
    assert_eq!(whole.filter(|request| bodies.iter().any(|body| request.body == body.as_bytes())).count(), 2);
    apart.rests().await;
}
