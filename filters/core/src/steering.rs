//! The fields and headers by which routers, sidecars and engines arrange KV transfers and data-parallel ranks. Only the router may
//! set them: those of clients are removed.
//!
//! Clients could do harm with them: a request with a bare `do_remote_prefill` ends the process of a vLLM 0.32 engine that
//! transfers KV, and one that names another engine's blocks reads the prompt of whoever filled them.

use crate::json::{Change, Changes};

/// The field in which vLLM's and SGLang's own formats keep a request's parameters, harmless ones included.
pub(crate) const HOLDER: &str = "sampling_params";

/// Fields whose presence makes it worth looking closer: those of [`REMOVALS`], and those that may hold some.
pub(crate) const FIELDS: [&str; 17] = [
    "kv_transfer_params",
    "ec_transfer_params",
    "do_remote_prefill",
    "do_remote_decode",
    "bootstrap_host",
    "bootstrap_port",
    "bootstrap_room",
    "bootstrap_pair_key",
    "decode_tp_size",
    "routed_dp_rank",
    "disagg_prefill_dp_rank",
    "data_parallel_rank",
    "data_parallel_rank_decode",
    "disaggregated_params",
    "vllm_xargs",
    HOLDER,
    "extra_args",
];

/// Fields that vLLM's server puts into the parameters of a request, from wherever it takes these.
const ARGUMENTS: Changes<'_> =
    &[("kv_transfer_params", Change::Remove), ("ec_transfer_params", Change::Remove)];

/// Removes all such fields from a body.
pub(crate) const REMOVALS: [(&str, Change<'_>); 16] = [
    // vLLM: `kv_transfer_params` of ChatCompletionRequest and the others, which become `extra_args` of the parameters.
    ("kv_transfer_params", Change::Remove),
    ("ec_transfer_params", Change::Remove),
    ("vllm_xargs", Change::Within(ARGUMENTS)),
    (HOLDER, Change::Within(&[("extra_args", Change::Within(ARGUMENTS))])),
    ("do_remote_prefill", Change::Remove),
    ("do_remote_decode", Change::Remove),
    // SGLang: GenerateReqInput, and the OpenAI requests that become one.
    ("bootstrap_host", Change::Remove),
    ("bootstrap_port", Change::Remove),
    ("bootstrap_room", Change::Remove),
    ("bootstrap_pair_key", Change::Remove),
    ("decode_tp_size", Change::Remove),
    ("routed_dp_rank", Change::Remove),
    ("disagg_prefill_dp_rank", Change::Remove),
    ("data_parallel_rank", Change::Remove),
    ("data_parallel_rank_decode", Change::Remove),
    // TensorRT-LLM: `disaggregated_params` of its OpenAI requests.
    ("disaggregated_params", Change::Remove),
];

/// Headers with the same power: vLLM's for its rank, and those that llm-d's sidecar obeys.
pub(crate) const HEADERS: [&str; 6] = [
    "x-data-parallel-rank",
    "x-data-parallel-host-port",
    "x-prefiller-host-port",
    "x-prefiller-url",
    "x-encoder-hosts-ports",
    "x-kv-cache-source-host-port",
];

#[cfg(test)]
mod tests {
    use super::{FIELDS, HOLDER, REMOVALS};
    use crate::json::Edits;

    fn without(body: &str) -> String {
        let edits = Edits::of(body.as_bytes(), &REMOVALS).unwrap();
        String::from_utf8(edits.apply(body.as_bytes())).unwrap()
    }

    #[test]
    fn every_such_field_is_removed_and_no_other_is() {
        for field in FIELDS {
            let body = format!(
                r#"{{"model":"m","{field}":{{"kv_transfer_params":{{"do_remote_prefill":true}}}},"n":1}}"#
            );
            let left = without(&body);
            let is_holder = matches!(field, "vllm_xargs" | HOLDER | "extra_args");
            assert_eq!(left.contains(field), is_holder, "{left}");
            assert!(left.starts_with(r#"{"model":"m","#) && left.ends_with(r#""n":1}"#), "{left}");
            assert!(matches!(field, HOLDER | "extra_args") || !left.contains("do_remote"), "{left}");
        }
        let body = r#"{"sampling_params":{"extra_args":{"kv_transfer_params":{},"x":1},"n":2}}"#;
        assert_eq!(without(body), r#"{"sampling_params":{"extra_args":{"x":1},"n":2}}"#);
    }
}
