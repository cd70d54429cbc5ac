//! Requests that the filter rejects with a response of its own.

use crate::support::{
    CLUSTER, Controller, assert_clean, chat, chat_with, counted, endpoints, get, pools, post, serve,
    static_config, status_of, vm,
};
use serde_json::{Value, json};
use warmpath_core::wire::Health;
use warmpath_host::{Host, LocalResponse, Stream};

fn refused(stream: Stream) -> (LocalResponse, Value) {
    let response = stream.local_response().expect("the filter responds");
    assert_eq!(stream.upstream().headers, None, "nothing goes on");
    assert_eq!(response.headers.text("content-type"), Some("application/json"));
    stream.finish().unwrap();
    let body = serde_json::from_slice(&response.body).unwrap();
    (response, body)
}

#[test]
fn unknown_model_is_404_in_the_shape_of_openai() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let (response, body) = refused(serve(&vm, &chat_with("hello", &json!({"model": "gpt-\"5\""}))));
    assert_eq!(response.status, 404);
    let error = &body["error"];
    assert_eq!((&error["type"], &error["param"]), (&json!("NotFoundError"), &json!("model")));
    assert_eq!(error["code"], "model_not_found");
    assert!(error["message"].as_str().unwrap().contains("gpt-\"5\""), "{error}");
    assert_eq!(counted(&host, &[&vm], "warmpath.rejected.model_not_found"), 1);
    assert_clean(&host, &[&vm]);
}

/// The filter reads strings with instructions that tests of the core, built for this machine, do not have.
#[test]
fn names_are_read_whatever_their_length_and_wherever_they_hold_an_escape() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    for length in 0..40 {
        for end in ["", "\"", "\n", "é", "\u{1f600}\\"] {
            let name = "x".repeat(length) + end + "yyyyyyyyyyyyyyyyy";
            let (_, body) = refused(serve(&vm, &chat_with("hello", &json!({"model": name}))));
            assert_eq!(body["error"]["message"], format!("The model `{name}` does not exist."));
            let control = format!(r#"{{"model":"{}{}yyyyyyyyyyyyyyyyyy"}}"#, "x".repeat(length), '\u{1f}');
            let stream = post(&vm, "/v1/chat/completions", &control);
            assert!(stream.local_response().is_none(), "no JSON, so there is no model to refuse");
            stream.finish().unwrap();
        }
    }
    assert_clean(&host, &[&vm]);
}

#[test]
fn a_pool_without_an_endpoint_is_503_and_not_404() {
    let host = Host::default();
    let vm = vm(&host, &json!({"controller": {"cluster": CLUSTER}}));
    let mut controller = Controller::accept(&host, &[&vm]);
    controller.snapshot(vec![pools(&[])]);
    for send in [get(&vm, "/v1/models"), serve(&vm, &chat("hello")), post(&vm, "/v1/embeddings", "{}")] {
        let (response, body) = refused(send);
        assert_eq!(response.status, 503);
        assert_eq!(response.headers.text("retry-after"), Some("1"));
        assert_eq!(response.headers.text("x-warmpath-reason"), Some("no_endpoint_known"));
        assert_eq!(body["error"]["code"], "no_endpoint_known");
    }
    assert_eq!(counted(&host, &[&vm], "warmpath.rejected.no_endpoint_known"), 3);
    assert_clean(&host, &[&vm]);
}

#[test]
fn without_a_healthy_endpoint_all_are_tried_and_with_one_again_only_that() {
    let host = Host::default();
    let vm = vm(&host, &json!({"controller": {"cluster": CLUSTER}}));
    let mut controller = Controller::accept(&host, &[&vm]);
    let names = endpoints(2);
    let unhealthy = |name: &String| status_of(name, Health::Unhealthy);
    controller.snapshot(vec![pools(&names), unhealthy(&names[0]), unhealthy(&names[1])]);
    let stream = serve(&vm, &chat("hello"));
    assert_eq!(crate::support::destinations(&stream).len(), 2);
    stream.finish().unwrap();
    controller.delta(vec![status_of(&names[1], Health::Healthy)]);
    let stream = serve(&vm, &chat("hello"));
    assert_eq!(
        crate::support::destinations(&stream),
        [names[1].clone()],
        "the unhealthy one is no alternate"
    );
    stream.finish().unwrap();
    assert_clean(&host, &[&vm]);
}
