//! Settings of KV events, in the words of vLLM's `--kv-events-config`.

use serde::Deserialize;

/// Batches that a replay can repeat, as vLLM's default.
const BUFFER_STEPS: usize = 10_000;

/// How events are published.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct KvEvents {
    /// Where: `tcp://*:0` binds a free port of the engine's address, `tcp://*:5557` that port of it; any other connects.
    pub endpoint: String,
    /// Where replays are asked for; always bound.
    pub replay_endpoint: Option<String>,
    /// The first frame of each message.
    pub topic: String,
    /// Batches that a replay can repeat.
    pub buffer_steps: usize,
    /// How an event is written.
    pub encoding: Encoding,
    /// How a block is named.
    pub hashes: Hashes,
    /// The number of this engine among those that serve one model as one; ports other than 0 are counted up by it.
    pub data_parallel_rank: u32,
}

/// How an event is written, which changed with vLLM's versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As a map with names, since 0.24.
    #[default]
    Map,
    /// As a list, with the group and what kind it is, as 0.23 does.
    ListWithGroup,
    /// As a list, with adapter name and extra keys, as 0.17 does.
    ListWithKeys,
    /// As a list of six, as 0.10 does.
    List,
}

/// How a block is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hashes {
    /// By 64 bits, the default.
    #[default]
    Integers,
    /// By all 32 bytes, of which the integer is the last eight.
    Bytes,
}

// === impl KvEvents ===

impl Default for KvEvents {
    fn default() -> Self {
        Self {
            endpoint: "tcp://*:0".to_owned(),
            replay_endpoint: Some("tcp://*:0".to_owned()),
            topic: "kv-events".to_owned(),
            buffer_steps: BUFFER_STEPS,
            encoding: Encoding::default(),
            hashes: Hashes::default(),
            data_parallel_rank: 0,
        }
    }
}
