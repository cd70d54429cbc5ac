//! The legs of every protocol, byte for byte.

use super::{Bootstrap, Handover, HandoverError, Order, Protocol, Push, Whole, reason};
use crate::prompt::Api;
use serde_json::{Value, json};

const CHAT: &str = r#"{"model":"m", "messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true},"max_completion_tokens":50,"seed":1.0,"tools":[]}"#;

fn text(body: Result<Vec<u8>, super::NotEditable>) -> String {
    String::from_utf8(body.unwrap()).unwrap()
}

#[test]
fn a_pull_asks_for_one_token_and_hands_over_what_the_engine_says() {
    let prefill = text(Protocol::Pull.prefill(Api::Chat, CHAT.as_bytes()));
    assert_eq!(
        prefill,
        r#"{"max_tokens":1,"kv_transfer_params":{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null},"model":"m", "messages":[{"role":"user","content":"hi"}],"stream":false,"max_completion_tokens":1,"seed":1.0,"tools":[]}"#
    );
    // As two engines on CPUs exchanged it.
    let params = r#"{"do_remote_prefill":true,"do_remote_decode":false,"remote_block_ids":[[1, 2,15]],"remote_engine_id":"58097e15","remote_request_id":"cmpl-pd-one-0-a88958b0","remote_host":"127.0.0.1","remote_port":5611,"tp_size":1,"remote_num_tokens":462,"remote_blocks_expiry_time":null}"#;
    let response = format!(r#"{{"id":"x","choices":[],"kv_transfer_params":{params},"usage":null}}"#);
    let handover = Protocol::Pull.handover(response.as_bytes()).unwrap();
    assert_eq!(handover, Handover::Transfer(params.to_owned()));
    let decode = text(Protocol::Pull.decode(Api::Chat, CHAT.as_bytes(), &handover));
    assert_eq!(decode, CHAT.replacen('{', &format!(r#"{{"kv_transfer_params":{params},"#), 1));
}

#[test]
fn a_response_that_names_no_blocks_hands_nothing_over() {
    let handover = |response: &str| Protocol::Pull.handover(response.as_bytes());
    for response in [
        r#"{"id":"x"}"#,
        r#"{"kv_transfer_params":null}"#,
        r#"{"kv_transfer_params":{"do_remote_prefill":true}}"#,
        r#"{"kv_transfer_params":{"do_remote_prefill":true,"remote_block_ids":null}}"#,
        r#"{"kv_transfer_params":{"do_remote_prefill":true,"remote_block_ids":[]}}"#,
        r#"{"kv_transfer_params":{"remote_block_ids":[[1]],"remote_engine_id":"e","remote_request_id":"r","remote_host":"h"}}"#,
        r#"{"kv_transfer_params":7}"#,
    ] {
        assert_eq!(handover(response), Err(HandoverError::Absent), "{response}");
    }
    for response in ["", "<html>", "[]", r#"{"kv_transfer_params":{"remote_block_ids":[1]}"#] {
        assert_eq!(handover(response), Err(HandoverError::Unreadable), "{response}");
    }
    let large = format!(
        r#"{{"kv_transfer_params":{{"remote_block_ids":[{}1],"remote_engine_id":"e","remote_request_id":"r","remote_host":"h","remote_port":1}}}}"#,
        "1,".repeat(5 << 20)
    );
    assert_eq!(handover(&large), Err(HandoverError::TooLarge));
}

#[test]
fn every_format_is_limited_in_its_own_way() {
    let limited = |api, body: Value| -> Value {
        serde_json::from_str(&text(Protocol::Pull.prefill(api, body.to_string().as_bytes()))).unwrap()
    };
    let responses = limited(Api::Responses, json!({"input": "hi", "max_output_tokens": 9, "store": true}));
    assert_eq!((&responses["max_output_tokens"], &responses["store"]), (&json!(1), &json!(false)));
    let messages = limited(Api::Messages, json!({"messages": [], "max_tokens": 9, "min_tokens": 3}));
    assert_eq!((&messages["max_tokens"], messages.get("min_tokens")), (&json!(1), None));
    let generate = limited(
        Api::Generate,
        json!({"token_ids": [1], "sampling_params": {"max_tokens": 9, "min_tokens": 3, "top_k": 4}}),
    );
    assert_eq!(generate["sampling_params"], json!({"max_tokens": 1, "top_k": 4}));
    assert!(Protocol::Pull.prefill(Api::Inputs, b"{}").is_err());
    assert!(Protocol::Pull.prefill(Api::Generate, br#"{"sampling_params":[{}]}"#).is_err());
}

#[test]
fn legs_that_run_together_have_agreed_before() {
    let room = Bootstrap { host: "10.0.0.1".to_owned(), port: Some(8998), room: u64::MAX };
    let protocol = Protocol::Bootstrap(room);
    assert_eq!(protocol.order(), Order::Together);
    let prefill = text(protocol.prefill(Api::Chat, CHAT.as_bytes()));
    let decode = text(protocol.decode(Api::Chat, CHAT.as_bytes(), &Handover::Agreed));
    let added = r#"{"bootstrap_host":"10.0.0.1","bootstrap_port":8998,"bootstrap_room":1,"#;
    assert_eq!(
        (prefill.as_str(), decode.as_str()),
        (CHAT.replacen('{', added, 1).as_str(), prefill.as_str())
    );

    let push = Push { transfer: 7, bootstrap: "http://10.0.0.1:8998".to_owned(), engine: "e".to_owned() };
    let protocol = Protocol::Push(push);
    let prefill: Value = serde_json::from_str(&text(protocol.prefill(Api::Chat, CHAT.as_bytes()))).unwrap();
    let decode: Value =
        serde_json::from_str(&text(protocol.decode(Api::Chat, CHAT.as_bytes(), &Handover::Agreed))).unwrap();
    assert_eq!(prefill["max_tokens"], 1);
    assert_eq!(prefill["kv_transfer_params"]["transfer_id"], decode["kv_transfer_params"]["transfer_id"]);
    assert_eq!(decode["kv_transfer_params"]["do_remote_prefill"], true);
    assert_eq!(decode["max_completion_tokens"], 50);
}

#[test]
fn a_context_hands_over_its_parameters_and_the_tokens_of_the_prompt() {
    let protocol = Protocol::ContextFirst;
    let prefill = text(protocol.prefill(Api::Chat, CHAT.as_bytes()));
    assert!(prefill.contains(r#""disaggregated_params":{"request_type":"context_only"}"#), "{prefill}");
    assert!(prefill.contains(r#""stream":false,"max_completion_tokens":50"#), "{prefill}");
    let response = |reason: &str| {
        format!(
            r#"{{"choices":[{{"finish_reason":"{reason}","disaggregated_params":{{"request_type":"context_only","first_gen_tokens":[9],"ctx_request_id":7,"opaque_state":"b3Bh"}}}}],"prompt_token_ids":[1, 2]}}"#
        )
    };
    let handover = protocol.handover(response("length").as_bytes()).unwrap();
    let params = r#"{"request_type":"generation_only","first_gen_tokens":[9],"ctx_request_id":7,"opaque_state":"b3Bh"}"#;
    assert_eq!(
        handover,
        Handover::Context { params: params.to_owned(), prompt_token_ids: Some("[1, 2]".to_owned()) }
    );
    let decode = text(protocol.decode(Api::Chat, CHAT.as_bytes(), &handover));
    let added = format!(r#"{{"disaggregated_params":{params},"prompt_token_ids":[1, 2],"#);
    assert_eq!(decode, CHAT.replacen('{', &added, 1));
    let completion = text(protocol.decode(Api::Completions, br#"{"prompt":"hi"}"#, &handover));
    assert_eq!(completion, format!(r#"{{"disaggregated_params":{params},"prompt":[1, 2]}}"#));
    assert_eq!(protocol.handover(response("stop").as_bytes()), Ok(Handover::Complete));
    assert_eq!(protocol.handover(br#"{"choices":[]}"#), Err(HandoverError::Absent));
}

#[test]
fn what_depends_on_more_than_the_prompts_kv_stays_whole() {
    for (api, body, expected) in [
        (Api::Chat, json!({"messages": []}), None),
        (Api::Chat, json!({"n": 1, "logprobs": true, "top_logprobs": 5, "tools": [], "max_tokens": 2}), None),
        (Api::Completions, json!({"prompt": [1, 2, 3], "echo": true}), None),
        (Api::Generate, json!({"text": "hi", "sampling_params": {"n": 1}}), None),
        (Api::Chat, json!({"max_completion_tokens": 1, "max_tokens": 9}), Some(Whole::OneToken)),
        (Api::Responses, json!({"max_output_tokens": 1}), Some(Whole::OneToken)),
        (Api::Chat, json!({"n": 2}), Some(Whole::Choices)),
        (Api::Completions, json!({"best_of": 3}), Some(Whole::Choices)),
        (Api::Chat, json!({"use_beam_search": true}), Some(Whole::Choices)),
        (Api::Chat, json!({"n": null, "use_beam_search": false, "background": false}), None),
        (Api::Generate, json!({"sampling_params": {"n": 3}}), Some(Whole::Choices)),
        (Api::Completions, json!({"prompt": ["a", "b"]}), Some(Whole::Prompts)),
        (Api::Completions, json!({"prompt_embeds": "x"}), Some(Whole::Prompts)),
        (Api::Generate, json!({"text": ["a"]}), Some(Whole::Prompts)),
        (Api::Chat, json!({"prompt_logprobs": 1}), Some(Whole::PromptLogprobs)),
        (Api::Completions, json!({"echo": true, "logprobs": 1}), Some(Whole::PromptLogprobs)),
        (Api::Responses, json!({"background": true}), Some(Whole::Stored)),
        (Api::Responses, json!({"previous_response_id": "resp_1"}), Some(Whole::Stored)),
        (Api::Inputs, json!({"input": "hi"}), Some(Whole::Format)),
        (Api::Chat, json!([]), Some(Whole::Unreadable)),
    ] {
        assert_eq!(reason(api, body.to_string().as_bytes()), expected, "{api:?} {body}");
    }
}

/// Engines read settings leniently: all of these are two choices to vLLM, and the second would read freed KV.
#[test]
fn a_setting_in_another_spelling_stays_whole() {
    for (name, values, expected) in [
        ("n", vec![json!(2.0), json!("2"), json!(" 2"), json!(true), json!([2])], Whole::Choices),
        ("best_of", vec![json!(2.0), json!("2")], Whole::Choices),
        ("use_beam_search", vec![json!(1), json!("true"), json!("yes"), json!(1.0)], Whole::Choices),
        ("background", vec![json!(1), json!("on")], Whole::Stored),
    ] {
        for value in values {
            let body = json!({ name: value });
            assert_eq!(reason(Api::Chat, body.to_string().as_bytes()), Some(expected), "{body}");
            let generate = json!({"sampling_params": body});
            assert_eq!(reason(Api::Generate, generate.to_string().as_bytes()), Some(expected), "{generate}");
        }
    }
    assert_eq!(reason(Api::Chat, br#"{"n": 2e0}"#), Some(Whole::Choices));
    let echoed = json!({"prompt": "hi", "echo": 1, "logprobs": 1});
    assert_eq!(reason(Api::Completions, echoed.to_string().as_bytes()), Some(Whole::PromptLogprobs));
}

/// An engine that ends on its first token writes nothing, and the other one waits for it.
#[test]
fn nothing_ends_the_first_leg_of_a_push_early() {
    let push = Push { transfer: 7, bootstrap: "http://10.0.0.1:8998".to_owned(), engine: "e".to_owned() };
    let protocol = Protocol::Push(push);
    let leg = |api, body: Value| -> Value {
        serde_json::from_str(&text(protocol.prefill(api, body.to_string().as_bytes()))).unwrap()
    };
    let stops = json!({"stop": ["a"], "stop_token_ids": [1], "top_k": 4});
    let generate = leg(Api::Generate, json!({"token_ids": [1], "sampling_params": stops}));
    assert_eq!(generate["sampling_params"], json!({"max_tokens": 1, "ignore_eos": true, "top_k": 4}));
    let messages = leg(Api::Messages, json!({"messages": [], "max_tokens": 9, "stop_sequences": ["a"]}));
    assert_eq!((messages.get("stop_sequences"), &messages["ignore_eos"]), (None, &json!(true)));
    let chat = leg(Api::Chat, json!({"messages": [], "stop": "a", "stop_token_ids": [1]}));
    assert_eq!((chat.get("stop"), chat.get("stop_token_ids")), (None, None));
}
