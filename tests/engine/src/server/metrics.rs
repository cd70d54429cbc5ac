//! `/metrics`: the families of vLLM 0.32 that a router or a scaler reads, in its names, labels and number form.
//!
//! Seconds are those of the wall: an engine with a time scale looks like a faster engine.

use super::{config::ServerConfig, histogram::Histogram, hub::Readings, legs::TransferProtocol};
use crate::model::{EventKind, Params};
use std::fmt::{Display, Write};

const FIRST_TOKEN_BOUNDS_S: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
];
const INTER_TOKEN_BOUNDS_S: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
];
const REQUEST_BOUNDS_S: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
];

const TRANSFER_BOUNDS_S: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 5.0];
const TRANSFER_BOUNDS_BYTES: &[f64] = &[
    2048.0,
    8192.0,
    32768.0,
    131_072.0,
    524_288.0,
    2_097_152.0,
    8_388_608.0,
    33_554_432.0,
    134_217_728.0,
    536_870_912.0,
    2_147_483_648.0,
    8_589_934_592.0,
];

/// What clients waited for, and what came from other engines meanwhile.
#[derive(Debug)]
pub(super) struct Latencies {
    first_token: Histogram,
    inter_token: Histogram,
    response: Histogram,
    request: Histogram,
    transfer: Histogram,
    transfer_bytes: Histogram,
}

// === impl Latencies ===

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new;
        Self {
            first_token: histogram(
                "vllm:time_to_first_token_seconds",
                "Histogram of time to first token in seconds.",
                FIRST_TOKEN_BOUNDS_S,
            ),
            inter_token: histogram(
                "vllm:inter_token_latency_seconds",
                "Histogram of inter-token latency in seconds.",
                INTER_TOKEN_BOUNDS_S,
            ),
            response: histogram(
                "vllm:request_time_per_output_token_seconds",
                "Histogram of time_per_output_token_seconds per request.",
                INTER_TOKEN_BOUNDS_S,
            ),
            request: histogram(
                "vllm:e2e_request_latency_seconds",
                "Histogram of e2e request latency in seconds.",
                REQUEST_BOUNDS_S,
            ),
            transfer: histogram(
                "vllm:nixl_xfer_time_seconds",
                "Histogram of transfer duration for NIXL KV Cache transfers.",
                TRANSFER_BOUNDS_S,
            ),
            transfer_bytes: histogram(
                "vllm:nixl_bytes_transferred",
                "Histogram of bytes transferred per NIXL KV Cache transfers.",
                TRANSFER_BOUNDS_BYTES,
            ),
        }
    }
}

impl Latencies {
    /// A token arrived `waited_s` after the one before, or after the request if it is the first.
    pub(super) fn token(&mut self, kind: EventKind, waited_s: f64) {
        let histogram =
            if kind == EventKind::FirstToken { &mut self.first_token } else { &mut self.inter_token };
        histogram.observe(waited_s);
    }

    /// So many bytes came from another engine in `took_s`.
    pub(super) fn transfer(&mut self, took_s: f64, bytes: f64) {
        self.transfer.observe(took_s);
        self.transfer_bytes.observe(bytes);
    }

    /// A response of so many tokens took `generated_s` after its first. One of a single token counts with a time of 0, as in vLLM.
    pub(super) fn response(&mut self, generated_s: f64, tokens: usize) {
        self.response.observe(generated_s / tokens.saturating_sub(1).max(1) as f64);
    }

    /// A request finished `waited_s` after it arrived.
    pub(super) fn request(&mut self, waited_s: f64) {
        self.request.observe(waited_s);
    }
}

struct Page {
    text: String,
    /// `engine="0",model_name="..."`.
    labels: String,
}

// === impl Page ===

impl Page {
    fn family(&mut self, kind: &str, name: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP vllm:{name} {help}\n# TYPE vllm:{name} {kind}");
    }

    /// `extra` is `a="b",` or empty.
    fn sample(&mut self, name: &str, extra: &str, value: impl Display) {
        let Self { text, labels } = self;
        let _ = writeln!(text, "vllm:{name}{{{extra}{labels}}} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family("gauge", name, help);
        self.sample(name, "", format_args!("{value:?}"));
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family("counter", name, help);
        self.sample(name, "", format_args!("{value}.0"));
    }

    fn counter_by(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        self.family("counter", name, help);
        for (value, count) in values {
            self.sample(name, &format!("{label}=\"{value}\","), format_args!("{count}.0"));
        }
    }
}

/// The whole page.
pub(super) fn render(readings: &Readings<'_>, params: &Params, config: &ServerConfig) -> String {
    let model = config.model.replace('\\', "\\\\").replace('"', "\\\"");
    let mut page = Page { text: String::new(), labels: format!("engine=\"0\",model_name=\"{model}\"") };
    gauges(&mut page, readings);
    counters(&mut page, readings);
    let protocol = config.transfer.as_ref().map(|transfer| transfer.protocol);
    sources(&mut page, readings, protocol.is_some());
    if protocol == Some(TransferProtocol::Nixl) {
        nixl(&mut page, readings);
    }
    let Latencies { first_token, inter_token, response, request, .. } = readings.latencies;
    for histogram in [first_token, inter_token, response, request] {
        histogram.render(&page.labels, &mut page.text);
    }
    page.family("gauge", "cache_config_info", "Information of the LLMEngine CacheConfig");
    let (block, blocks) = (params.block_tokens, params.blocks());
    let _ = writeln!(
        page.text,
        "vllm:cache_config_info{{block_size=\"{block}\",cache_dtype=\"auto\",enable_prefix_caching=\"{}\",\
         engine=\"0\",gpu_memory_utilization=\"0.92\",kv_cache_size_tokens=\"{}\",num_cpu_blocks=\"None\",\
         num_gpu_blocks=\"{blocks}\",num_gpu_blocks_override=\"None\",prefix_caching_hash_algo=\"xxh3\",\
         sliding_window=\"None\"}} 1.0",
        if config.prefix_caching { "True" } else { "False" },
        block * blocks
    );
    let _ = writeln!(
        page.text,
        "# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.\n\
         # TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {:?}",
        readings.started_unix_s
    );
    page.text
}

fn gauges(page: &mut Page, readings: &Readings<'_>) {
    let stats = &readings.stats;
    let (running, waiting) = (stats.running as f64, stats.waiting as f64);
    page.gauge("num_requests_running", "Number of requests in model execution batches.", running);
    page.gauge("num_requests_waiting", "Number of requests waiting to be processed.", waiting);
    let by_reason = "num_requests_waiting_by_reason";
    page.family("gauge", by_reason, "Number of waiting requests by reason.");
    page.sample(by_reason, "reason=\"capacity\",", format_args!("{waiting:?}"));
    page.sample(by_reason, "reason=\"deferred\",", "0.0");
    page.gauge("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", stats.kv_usage());
}

fn counters(page: &mut Page, readings: &Readings<'_>) {
    let (stats, rejected) = readings.of_process();
    page.counter(
        "prefix_cache_queries_total",
        "Prefix cache queries, in terms of number of queried tokens.",
        stats.prefix_cache_queries,
    );
    page.counter(
        "prefix_cache_hits_total",
        "Prefix cache hits, in terms of number of cached tokens.",
        stats.prefix_cache_hits,
    );
    page.counter(
        "num_preemptions_total",
        "Cumulative number of preemption from the engine.",
        stats.preemptions,
    );
    page.counter("prompt_tokens_total", "Number of prefill tokens processed.", stats.prompt_tokens);
    page.counter(
        "generation_tokens_total",
        "Number of generation tokens processed.",
        stats.generation_tokens,
    );
    page.counter_by(
        "request_success_total",
        "Count of successfully processed requests.",
        "finished_reason",
        &[("stop", 0), ("length", stats.finished), ("abort", stats.aborted), ("error", 0)],
    );
    page.counter_by(
        "admission_rejections_total",
        "Number of admission attempts rejected by a queue limit, by reason.",
        "reason",
        &[("max_num_queued_reqs", rejected)],
    );
}

/// Where the prompts came from. Tokens of another engine count at the connector, if there is one.
fn sources(page: &mut Page, readings: &Readings<'_>, has_connector: bool) {
    let sources = &readings.sources;
    let asked = if has_connector { sources.computed + sources.transferred } else { 0 };
    page.counter(
        "external_prefix_cache_queries_total",
        "External prefix cache queries from KV connector cross-instance cache sharing, in terms of number of queried \
         tokens.",
        asked,
    );
    page.counter(
        "external_prefix_cache_hits_total",
        "External prefix cache hits from KV connector cross-instance cache sharing, in terms of number of cached \
         tokens.",
        sources.transferred,
    );
    page.counter_by(
        "prompt_tokens_by_source_total",
        "Number of prompt tokens by source.",
        "source",
        &[
            ("local_compute", sources.computed),
            ("local_cache_hit", sources.found),
            ("external_kv_transfer", sources.transferred),
        ],
    );
    page.counter(
        "prompt_tokens_cached_total",
        "Number of cached prompt tokens (local + external).",
        sources.found + sources.transferred,
    );
    page.counter_by(
        "prompt_tokens_cached_by_source_total",
        "Prefix-cache hit tokens by the cache tier that supplied them.",
        "source",
        &[
            ("device", sources.found),
            ("host", 0),
            ("p2p", sources.transferred),
            ("disk", 0),
            ("external_unspecified", 0),
        ],
    );
}

/// The families of NIXL's connector.
fn nixl(page: &mut Page, readings: &Readings<'_>) {
    let legs = readings.legs_of_process();
    page.counter(
        "nixl_num_failed_transfers_total",
        "Number of failed NIXL KV Cache transfers, including handshake and notification failures.",
        legs.fetches_failed,
    );
    page.counter(
        "nixl_num_kv_expired_reqs_total",
        "Number of requests that had their KV expire.",
        legs.prompts_expired,
    );
    page.counter(
        "nixl_num_notifications_after_expiry_total",
        "Number of completion notifications for requests that were no longer tracked, usually because their KV lease \
         expired.",
        legs.fetches_unexpected,
    );
    for histogram in [&readings.latencies.transfer, &readings.latencies.transfer_bytes] {
        histogram.render(&page.labels, &mut page.text);
    }
}
