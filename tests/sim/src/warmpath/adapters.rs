//! The names of LoRA adapters, as requests and the controller's file have them.

use super::POOL;
use crate::scenario::LORA;
use crate::workload::BASE_ADAPTER;
use std::sync::LazyLock;

static NAMES: LazyLock<Vec<String>> =
    LazyLock::new(|| (1..=LORA.adapters).map(|adapter| format!("adapter-{adapter}")).collect());

/// The adapters that the controller's file names.
pub(super) fn names() -> Vec<String> {
    NAMES.clone()
}

/// The model that a request names.
pub(super) fn model(adapter: u32) -> &'static str {
    if adapter == BASE_ADAPTER { POOL } else { &NAMES[adapter as usize - 1] }
}
