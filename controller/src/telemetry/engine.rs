//! An engine's load and capacity, read from the metrics pages of all supported engines.
//!
//! | | vLLM | SGLang | trtllm-serve | Triton TensorRT-LLM |
//! |---|---|---|---|---|
//! | waiting | `vllm:num_requests_waiting` | `sglang:num_queue_reqs` | `trtllm_num_requests_waiting` | `nv_trt_llm_request_metrics{request_type="waiting"}` |
//! | running | `vllm:num_requests_running` | `sglang:num_running_reqs` | `trtllm_num_requests_running` | `..{request_type="scheduled"}` |
//! | KV use | `vllm:kv_cache_usage_perc`, before 0.10 `vllm:gpu_cache_usage_perc` | `sglang:token_usage` | `trtllm_kv_cache_utilization` | `nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"}` |
//! | block | `vllm:cache_config_info{block_size}` | `sglang:cache_config_info{page_size}` | `trtllm_kv_cache_tokens_per_block` | `..{kv_cache_block_type="tokens_per"}` |
//! | blocks | `..{num_gpu_blocks}` | `..{num_pages}` | `trtllm_kv_cache_max_blocks` | `..{kv_cache_block_type="max"}` |
//! | or tokens | `..{kv_cache_size_tokens}` | `sglang:max_total_num_tokens` | | |
//! | tier below | `vllm:kv_offload_config_info{cpu_kv_cache_size_tokens}` | `sglang:hicache_host_total_tokens` | | |
//! | adapters | `vllm:lora_requests_info{max_lora}` | | | |
//! | legs | | `sglang:num_running_reqs{engine_type}` | | |
//! | connector | `vllm:nixl_..` | | | |
//! | work done | `vllm:prompt_tokens_total`, .. | `sglang:prompt_tokens_total`, .. | `trtllm_request_success_total` | `nv_inference_count`, .. |
//!
//! The times between tokens are [`super::latency`]'s matter.
//!
//! The names follow the model server protocol of the Gateway API inference extension, except for tokens, the tier and
//! `sglang:page_size`, which only the engines define: vLLM 0.33's `CPUOffloadingInfo`
//! (`vllm/v1/kv_offload/cpu/common.py`), and SGLang 0.5.23's `SchedulerMetricsCollector`
//! (`sglang/srt/observability/metrics_collector.py`), which has no `sglang:cache_config_info`.
//!
//! Tokens go before blocks times their size: a model with several kinds of KV cache has blocks of several sizes, of which
//! vLLM shows the smallest, so that the product is far too small (or, with state caches, too large). vLLM 0.10 and 0.11
//! show the KV use under both names. How series of one name combine is [`super::series`]'s matter.
//!
//! Both engines copy the GPU's blocks into the tier while the GPU still has them, so the two together hold as much as the
//! larger one, not the sum. Sizes that no page reports in tokens are left to the configuration: vLLM before 0.33 and LMCache
//! report bytes of host memory but not the bytes per token, TensorRT-LLM reports only how full its host pool is
//! (`trtllm_kv_cache_host_utilization`), and none reports disks and remote stores.

use super::latency::{Latencies, Reader};
use super::page::{Sample, samples};
use super::series::Series;
use warmpath_core::num::{count, float};
use warmpath_core::wire::{EngineStatus, Role};

/// Start of the process; a later one means that the cache is cold. Pages that several processes write together (SGLang,
/// vLLM with several API servers) have none.
const PROCESS_START: &[u8] = b"process_start_time_seconds";

/// How the metrics of vLLM's NIXL connector begin.
const NIXL_PREFIX: &[u8] = b"vllm:nixl_";

/// The contents of one page.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// The engine's status; the endpoint, its health and its incarnation are the `Tracker`'s to fill in.
    pub status: EngineStatus,
    /// When the engine's process started, in milliseconds since 1970.
    pub started_ms: Option<u64>,
    /// The sum of counters that only grow while the process lives.
    pub work_done: Option<u64>,
    /// Whose metrics they are; none where no name on the page is known.
    pub kind: Option<EngineKind>,
    /// The legs of requests that the engine was started for; none where the page does not say. Only SGLang's does.
    pub legs: Option<Role>,
    /// Whether any of the KV cache is in use, however little.
    pub is_cache_used: bool,
    /// Whether the page has metrics of vLLM's NIXL connector, which has them from its start.
    pub has_nixl: bool,
}

/// An engine whose metrics are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM's own server.
    Trtllm,
    /// Triton, with TensorRT-LLM or another backend.
    Triton,
}

/// The series of a page so far, by quantity.
#[derive(Clone, Debug, Default)]
struct Quantities {
    running: Series,
    waiting: Series,
    used: Series,
    used_old: Series,
    block_tokens: Series,
    blocks: Series,
    /// Capacities in tokens.
    gpu_tokens: Series,
    /// The same of pages that give blocks and their size for each engine.
    config_tokens: Series,
    tier_tokens: Series,
    started_s: Series,
    work_done: Option<f64>,
    kind: Option<EngineKind>,
    legs: Option<Role>,
    has_nixl: bool,
    /// LoRA adapters in a batch at most; of several series, the newest one's value counts.
    adapter_slots: Option<(f64, u32)>,
    latencies: Reader,
}

// === impl Reading ===

impl Reading {
    /// Reads a page. A page without any known name gives nothing: an engine of an unknown kind that is up.
    pub fn of(page: &[u8]) -> Self {
        Self::with_latencies(page).0
    }

    /// The same, and how long tokens took since the engine's process started.
    pub fn with_latencies(page: &[u8]) -> (Self, Latencies) {
        let mut page_of = Quantities::default();
        for sample in samples(page, is_known) {
            page_of.take(&sample);
        }
        let block_tokens = page_of.block_tokens.largest();
        let by_blocks = block_tokens * page_of.blocks.sum();
        let capacity_tokens = [page_of.gpu_tokens.sum(), page_of.config_tokens.sum(), by_blocks]
            .into_iter()
            .find_map(|tokens| known(count(tokens)));
        let used = page_of.used.mean().or_else(|| page_of.used_old.mean());
        let tier_tokens = count(page_of.tier_tokens.sum());
        let status = EngineStatus {
            running: count32(page_of.running.sum()),
            waiting: count32(page_of.waiting.sum()),
            kv_used_permille: count32(used.unwrap_or_default() * 1000.0).min(1000),
            capacity_tokens,
            block_tokens: Some(count32(block_tokens)).filter(|tokens| *tokens > 0),
            kv_below_gpu_tokens: tier_tokens.saturating_sub(capacity_tokens.unwrap_or_default()),
            adapter_slots: page_of.adapter_slots.map_or(0, |(_, slots)| slots),
            ..EngineStatus::default()
        };
        let started_ms = known(count(page_of.started_s.largest() * 1000.0));
        let Quantities { kind, legs, has_nixl, .. } = page_of;
        let work_done = page_of.work_done.map(count);
        let is_cache_used = used.is_some_and(|used| used > 0.0);
        let reading = Self { status, started_ms, work_done, kind, legs, is_cache_used, has_nixl };
        (reading, page_of.latencies.read())
    }
}

// === impl Quantities ===

impl Quantities {
    fn take(&mut self, sample: &Sample<'_>) {
        self.kind = self.kind.or_else(|| EngineKind::of(sample.name));
        self.has_nixl |= sample.name.starts_with(NIXL_PREFIX);
        match sample.name {
            b"vllm:num_requests_running" | b"sglang:num_running_reqs" | b"trtllm_num_requests_running" => {
                self.running.add(sample);
                self.legs = self.legs.or_else(|| legs(sample));
            }
            b"vllm:num_requests_waiting" | b"sglang:num_queue_reqs" | b"trtllm_num_requests_waiting" => {
                self.waiting.add(sample);
            }
            b"vllm:kv_cache_usage_perc" | b"sglang:token_usage" | b"trtllm_kv_cache_utilization" => {
                self.used.add(sample);
            }
            b"vllm:gpu_cache_usage_perc" => self.used_old.add(sample),
            b"vllm:lora_requests_info" => self.adapters(sample),
            b"vllm:cache_config_info" => {
                self.config(sample, "block_size", "num_gpu_blocks", "kv_cache_size_tokens");
            }
            b"sglang:cache_config_info" => self.config(sample, "page_size", "num_pages", ""),
            b"sglang:max_total_num_tokens" => self.gpu_tokens.add(sample),
            b"sglang:hicache_host_total_tokens" => self.tier_tokens.add(sample),
            b"vllm:kv_offload_config_info" => {
                if let Some(tokens) = number(sample, "cpu_kv_cache_size_tokens") {
                    self.tier_tokens.add_of(sample, tokens);
                }
            }
            b"sglang:page_size" | b"trtllm_kv_cache_tokens_per_block" => self.block_tokens.add(sample),
            b"trtllm_kv_cache_max_blocks" => self.blocks.add(sample),
            b"nv_trt_llm_request_metrics" => match sample.label("request_type") {
                Some("waiting") => self.waiting.add(sample),
                Some("scheduled") => self.running.add(sample),
                _ => {}
            },
            b"nv_trt_llm_kv_cache_block_metrics" => match sample.label("kv_cache_block_type") {
                Some("fraction") => self.used.add(sample),
                Some("tokens_per") => self.block_tokens.add(sample),
                Some("max") => self.blocks.add(sample),
                _ => {}
            },
            PROCESS_START => self.started_s.add(sample),
            name if is_work_done(name) && sample.value.is_finite() => {
                *self.work_done.get_or_insert_default() += sample.value;
            }
            _ => self.latencies.take(sample),
        }
    }

    /// Capacity given in labels; engines write `None` there until they know it.
    /// vLLM keeps a series for each set of adapters that were in use together; its value is when that was.
    fn adapters(&mut self, sample: &Sample<'_>) {
        let is_newest = self.adapter_slots.is_none_or(|(newest, _)| sample.value >= newest);
        if let Some(slots) = number(sample, "max_lora").filter(|_| is_newest) {
            self.adapter_slots = Some((sample.value, count32(slots)));
        }
    }

    fn config(&mut self, sample: &Sample<'_>, block_tokens: &str, blocks: &str, tokens: &str) {
        let block_tokens = number(sample, block_tokens);
        let product = block_tokens.zip(number(sample, blocks)).map(|(tokens, blocks)| tokens * blocks);
        if let Some(tokens) = number(sample, tokens).filter(|tokens| *tokens > 0.0).or(product) {
            self.config_tokens.add_of(sample, tokens);
            self.block_tokens.add_of(sample, block_tokens.unwrap_or_default());
        }
    }
}

// === impl EngineKind ===

impl EngineKind {
    /// The engine whose metric has this name.
    fn of(name: &[u8]) -> Option<Self> {
        let prefixes: [(&[u8], Self); 5] = [
            (b"vllm:", Self::Vllm),
            (b"sglang:", Self::Sglang),
            (b"trtllm_", Self::Trtllm),
            (b"nv_trt_llm_", Self::Triton),
            (b"nv_inference_", Self::Triton),
        ];
        prefixes.into_iter().find_map(|(prefix, kind)| name.starts_with(prefix).then_some(kind))
    }

    /// Its name in pages.
    pub fn label(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::Trtllm => "trtllm",
            Self::Triton => "triton",
        }
    }
}

/// Counters that an engine increases with every request.
fn is_work_done(name: &[u8]) -> bool {
    matches!(
        name,
        b"vllm:prompt_tokens_total"
            | b"vllm:generation_tokens_total"
            | b"vllm:request_success_total"
            | b"sglang:prompt_tokens_total"
            | b"sglang:generation_tokens_total"
            | b"sglang:num_requests_total"
            | b"trtllm_request_success_total"
            | b"nv_inference_request_success"
            | b"nv_inference_count"
    )
}

/// The legs that an engine of SGLang was started for (`--disaggregation-mode`). Others' labels of this name have other values.
fn legs(sample: &Sample<'_>) -> Option<Role> {
    match sample.label("engine_type")? {
        "unified" => Some(Role::Both),
        "prefill" => Some(Role::Prefill),
        "decode" => Some(Role::Decode),
        _ => None,
    }
}

/// A whole number in a label.
fn number(sample: &Sample<'_>, label: &str) -> Option<f64> {
    Some(float(sample.label(label)?.parse::<u64>().ok()?))
}

/// Rejects most lines by their first bytes.
fn is_known(name: &[u8]) -> bool {
    let prefixes: [&[u8]; 6] =
        [b"vllm:", b"sglang:", b"trtllm_", b"nv_trt_llm_", b"nv_inference_", PROCESS_START];
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Engines report zero for values that they do not know yet.
fn known(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}

fn count32(value: f64) -> u32 {
    u32::try_from(count(value)).unwrap_or(u32::MAX)
}
