//! An engine's load and capacity, read from the metrics pages of all supported engines.
//!
//! | | vLLM | SGLang | trtllm-serve | Triton TensorRT-LLM |
//! |---|---|---|---|---|
//! | waiting | `vllm:num_requests_waiting` | `sglang:num_queue_reqs` | `trtllm_num_requests_waiting` | `nv_trt_llm_request_metrics{request_type="waiting"}` |
//! | running | `vllm:num_requests_running` | `sglang:num_running_reqs` | `trtllm_num_requests_running` | `..{request_type="scheduled"}` |
//! | KV use | `vllm:kv_cache_usage_perc` | `sglang:token_usage` | `trtllm_kv_cache_utilization` | `nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"}` |
//! | block | `vllm:cache_config_info{block_size}` | `sglang:cache_config_info{page_size}` | `trtllm_kv_cache_tokens_per_block` | `..{kv_cache_block_type="tokens_per"}` |
//! | blocks | `..{num_gpu_blocks}` | `..{num_pages}` | `trtllm_kv_cache_max_blocks` | `..{kv_cache_block_type="max"}` |
//! | or tokens | | `sglang:max_total_num_tokens` | | |
//! | tier below | `vllm:kv_offload_config_info{cpu_kv_cache_size_tokens}` | `sglang:hicache_host_total_tokens` | | |
//!
//! The names follow the model server protocol of the Gateway API inference extension, except for the last two lines and
//! `sglang:page_size`, which only the engines define: vLLM 0.33's `CPUOffloadingInfo`
//! (`vllm/v1/kv_offload/cpu/common.py`), and SGLang 0.5.23's `SchedulerMetricsCollector`
//! (`sglang/srt/observability/metrics_collector.py`), which has no `sglang:cache_config_info`.
//!
//! An engine with data parallelism shows one series for each rank behind the same address: counts, blocks
//! and tokens add up, shares are averaged.
//!
//! Both engines copy the GPU's blocks into the tier while the GPU still has them, so the two together hold as much as the
//! larger one, not the sum. Sizes that no page reports in tokens are left to the configuration: vLLM before 0.33 and LMCache
//! report bytes of host memory but not the bytes per token, TensorRT-LLM reports only how full its host pool is
//! (`trtllm_kv_cache_host_utilization`), and none reports disks and remote stores.

use super::page::{Sample, samples};
use warmpath_core::num::count;
use warmpath_core::wire::EngineStatus;

/// Start of the process; a later one means that the cache is cold.
const PROCESS_START: &[u8] = b"process_start_time_seconds";

/// The contents of one page.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// The engine's status; the endpoint and its health are the [`super::Tracker`]'s to fill in.
    pub status: EngineStatus,
    /// When the engine's process started, in milliseconds since 1970.
    pub started_ms: Option<u64>,
}

/// The samples of a page so far.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    running: f64,
    waiting: f64,
    used: f64,
    used_series: f64,
    block_tokens: f64,
    blocks: f64,
    gpu_tokens: f64,
    tier_tokens: f64,
    started_s: f64,
}

// === impl Reading ===

impl Reading {
    /// Reads a page. A page without any known name gives nothing: an engine of an unknown kind that is up.
    pub fn of(page: &[u8]) -> Self {
        let mut sums = Sums::default();
        for sample in samples(page, is_known) {
            sums.take(&sample);
        }
        let permille = if sums.used_series > 0.0 { sums.used / sums.used_series * 1000.0 } else { 0.0 };
        let gpu_tokens =
            if sums.gpu_tokens > 0.0 { sums.gpu_tokens } else { sums.block_tokens * sums.blocks };
        let capacity_tokens = known(count(gpu_tokens));
        let status = EngineStatus {
            running: count32(sums.running),
            waiting: count32(sums.waiting),
            kv_used_permille: count32(permille).min(1000),
            capacity_tokens,
            block_tokens: Some(count32(sums.block_tokens)).filter(|tokens| *tokens > 0),
            kv_below_gpu_tokens: count(sums.tier_tokens).saturating_sub(capacity_tokens.unwrap_or_default()),
            ..EngineStatus::default()
        };
        Self { status, started_ms: known(count(sums.started_s * 1000.0)) }
    }
}

// === impl Sums ===

impl Sums {
    fn take(&mut self, sample: &Sample<'_>) {
        // Gauges of values that are not known yet are NaN.
        if !sample.value.is_finite() {
            return;
        }
        match sample.name {
            b"vllm:num_requests_running" | b"sglang:num_running_reqs" | b"trtllm_num_requests_running" => {
                self.running += sample.value;
            }
            b"vllm:num_requests_waiting" | b"sglang:num_queue_reqs" | b"trtllm_num_requests_waiting" => {
                self.waiting += sample.value;
            }
            b"vllm:kv_cache_usage_perc" | b"sglang:token_usage" | b"trtllm_kv_cache_utilization" => {
                self.use_share(sample.value);
            }
            b"vllm:cache_config_info" => self.config(sample, "block_size", "num_gpu_blocks"),
            b"sglang:cache_config_info" => self.config(sample, "page_size", "num_pages"),
            b"sglang:max_total_num_tokens" => self.gpu_tokens += sample.value,
            b"sglang:hicache_host_total_tokens" => self.tier_tokens += sample.value,
            b"vllm:kv_offload_config_info" => {
                let tokens = number(sample, "cpu_kv_cache_size_tokens");
                self.tier_tokens += tokens.unwrap_or_default();
            }
            b"sglang:page_size" | b"trtllm_kv_cache_tokens_per_block" => self.block_tokens = sample.value,
            b"trtllm_kv_cache_max_blocks" => self.blocks += sample.value,
            b"nv_trt_llm_request_metrics" => match sample.label("request_type") {
                Some("waiting") => self.waiting += sample.value,
                Some("scheduled") => self.running += sample.value,
                _ => {}
            },
            b"nv_trt_llm_kv_cache_block_metrics" => match sample.label("kv_cache_block_type") {
                Some("fraction") => self.use_share(sample.value),
                Some("tokens_per") => self.block_tokens = sample.value,
                Some("max") => self.blocks += sample.value,
                _ => {}
            },
            PROCESS_START => self.started_s = sample.value,
            _ => {}
        }
    }

    fn use_share(&mut self, share: f64) {
        self.used += share;
        self.used_series += 1.0;
    }

    /// Capacity given in labels; engines write `None` there until they know it.
    fn config(&mut self, sample: &Sample<'_>, block_tokens: &str, blocks: &str) {
        if let (Some(block_tokens), Some(blocks)) = (number(sample, block_tokens), number(sample, blocks)) {
            self.block_tokens = block_tokens;
            self.blocks += blocks;
        }
    }
}

/// A whole number in a label.
fn number(sample: &Sample<'_>, label: &str) -> Option<f64> {
    Some(f64::from(sample.label(label)?.parse::<u32>().ok()?))
}

/// Rejects most lines by their first bytes.
fn is_known(name: &[u8]) -> bool {
    let prefixes: [&[u8]; 5] = [b"vllm:", b"sglang:", b"trtllm_", b"nv_trt_llm_", PROCESS_START];
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Engines report zero for values that they do not know yet.
fn known(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}

fn count32(value: f64) -> u32 {
    u32::try_from(count(value)).unwrap_or(u32::MAX)
}
