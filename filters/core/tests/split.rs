//! Exchanges of real engines, read and written again: what our legs say must be what these engines took, byte for byte.
//!
//! `captures/vllm-nixl` has two vLLM 0.32 engines with NIXL on CPUs, and one engine without a connector. `./just live-pd` plays
//! such exchanges again through Envoy; these tests need no engine.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde::Deserialize;
use warmpath_core::prompt::Api;
use warmpath_core::split::{Handover, HandoverError, Protocol, reason};

/// One client's request, and what became of it. Ids, times and addresses are made up.
#[derive(Debug, Deserialize)]
struct Exchange {
    path: String,
    body: String,
    prefill_request: String,
    prefill_status: u16,
    prefill_response: String,
    decode_request: String,
    decode_status: u16,
    decode_response: String,
}

/// The exchanges by their names.
macro_rules! captures {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("captures/vllm-nixl/", $name, ".json")))),*]
    };
}

/// Those in which the prefill engine keeps its blocks.
const HANDED_OVER: [(&str, &str); 14] = captures![
    "cached-on-prefill",
    "chat",
    "chat-stream",
    "chat-structured",
    "chat-tools",
    "completions",
    "completions-stream",
    "first-token-ends",
    "max-tokens-too-large",
    "messages",
    "messages-stream",
    "responses",
    "responses-stream",
    "short-prompt",
];

/// Those in which there is nothing to hand over.
const REFUSED: [(&str, &str); 4] =
    captures!["invalid-field", "no-connector", "prompt-too-long", "unknown-model"];

// === impl Exchange ===

impl Exchange {
    fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap()
    }

    fn api(&self) -> Api {
        match self.path.as_str() {
            "/v1/chat/completions" => Api::Chat,
            "/v1/completions" => Api::Completions,
            "/v1/responses" => Api::Responses,
            "/v1/messages" => Api::Messages,
            other => unreachable!("no capture has {other}"),
        }
    }
}

#[test]
fn legs_are_what_real_engines_took() {
    for (name, text) in HANDED_OVER {
        let exchange = Exchange::read(text);
        assert_eq!(reason(exchange.api(), exchange.body.as_bytes()), None, "{name}");
        let prefill = Protocol::Pull.prefill(exchange.api(), exchange.body.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(prefill).unwrap(), exchange.prefill_request, "{name}");
        assert_eq!(exchange.prefill_status, 200, "{name}");
        let handover = Protocol::Pull.handover(exchange.prefill_response.as_bytes()).unwrap();
        assert!(matches!(handover, Handover::Transfer(_)), "{name}");
        let decode = Protocol::Pull.decode(exchange.api(), exchange.body.as_bytes(), &handover).unwrap();
        assert_eq!(String::from_utf8(decode).unwrap(), exchange.decode_request, "{name}");
    }
}

#[test]
fn what_a_prefill_engine_refuses_hands_nothing_over() {
    for (name, text) in REFUSED {
        let exchange = Exchange::read(text);
        let prefill = Protocol::Pull.prefill(exchange.api(), exchange.body.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(prefill).unwrap(), exchange.prefill_request, "{name}");
        let handover = Protocol::Pull.handover(exchange.prefill_response.as_bytes());
        assert_eq!(handover, Err(HandoverError::Absent), "{name}");
        // The decode engine says the same to the client, which gets it once.
        assert_eq!(exchange.decode_status, exchange.prefill_status, "{name}");
        if exchange.prefill_status != 200 {
            assert_eq!(exchange.decode_response, exchange.prefill_response, "{name}");
        }
        assert_eq!(exchange.decode_request, exchange.body, "{name}");
    }
}
