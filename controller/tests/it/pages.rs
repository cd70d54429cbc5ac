//! Metrics pages of every engine -> its status.

use warmpath::telemetry::Reading;
use warmpath_core::wire::EngineStatus;

const VLLM: &str = include_str!("../fixtures/pages/vllm.txt");
const SGLANG: &str = include_str!("../fixtures/pages/sglang.txt");
const SGLANG_HICACHE: &str = include_str!("../fixtures/pages/sglang_hicache.txt");
const TRTLLM: &str = include_str!("../fixtures/pages/trtllm.txt");
const TRITON: &str = include_str!("../fixtures/pages/triton.txt");

fn read(page: &str) -> EngineStatus {
    Reading::of(page.as_bytes()).status
}

#[test]
fn a_captured_vllm_page() {
    let wanted = EngineStatus {
        capacity_tokens: Some(32 * 65_536),
        block_tokens: Some(32),
        ..EngineStatus::default()
    };
    let read_vllm = Reading::of(VLLM.as_bytes());
    assert_eq!(read_vllm, Reading { status: wanted, started_ms: Some(1_795_332_009_580) });
    let busy = VLLM
        .replace(
            "vllm:num_requests_running{engine=\"0\",model_name=\"tiny\"} 0.0",
            "vllm:num_requests_running{engine=\"0\",model_name=\"tiny\"} 17.0",
        )
        .replace(
            "vllm:num_requests_waiting{engine=\"0\",model_name=\"tiny\"} 0.0",
            "vllm:num_requests_waiting{engine=\"0\",model_name=\"tiny\"} 4.0",
        )
        .replace(
            "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"tiny\"} 0.0",
            "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"tiny\"} 0.4567",
        );
    assert_eq!(read(&busy), EngineStatus { running: 17, waiting: 4, kv_used_permille: 457, ..wanted });
}

#[test]
fn ranks_behind_one_address_add_up() {
    let rank = |rank: u32, running: u32, used: f64| {
        format!(
            "vllm:num_requests_running{{engine=\"{rank}\"}} {running}\n\
             vllm:kv_cache_usage_perc{{engine=\"{rank}\"}} {used}\n\
             vllm:cache_config_info{{block_size=\"16\",engine=\"{rank}\",num_gpu_blocks=\"1000\"}} 1\n"
        )
    };
    let status = read(&(rank(0, 3, 0.2) + &rank(1, 5, 0.6)));
    let wanted = EngineStatus {
        running: 8,
        kv_used_permille: 400,
        capacity_tokens: Some(2 * 16_000),
        block_tokens: Some(16),
        ..EngineStatus::default()
    };
    assert_eq!(status, wanted);
}

#[test]
fn pages_of_other_engines() {
    let status = |running, waiting, kv_used_permille, capacity_tokens, block_tokens| EngineStatus {
        running,
        waiting,
        kv_used_permille,
        capacity_tokens: Some(capacity_tokens),
        block_tokens: Some(block_tokens),
        ..EngineStatus::default()
    };
    assert_eq!(read(SGLANG), status(12, 3, 285, 435_712, 1));
    assert_eq!(read(TRTLLM), status(5, 1, 500, 32_000, 32));
    assert_eq!(read(TRITON), status(6, 4, 488, 400_384, 64));
}

/// What the GPU has is in the tier as well, so only the rest of the tier comes on top.
#[test]
fn tiers_below_the_gpu() {
    let vllm = |rank: u32, size: &str| {
        format!(
            "vllm:cache_config_info{{block_size=\"16\",engine=\"{rank}\",num_gpu_blocks=\"1000\"}} 1.0\n\
             vllm:kv_offload_config_info{{cpu_blocks_per_chunk=\"4\",cpu_kv_cache_size_bytes=\"1073741824\",\
             cpu_kv_cache_size_tokens=\"{size}\",cpu_num_chunks=\"1024\",engine=\"{rank}\",model_name=\"tiny\",\
             tier=\"cpu\"}} 1.0\n\
             vllm:kv_offload_config_info{{cpu_blocks_per_chunk=\"\",cpu_kv_cache_size_bytes=\"\",\
             cpu_kv_cache_size_tokens=\"\",cpu_num_chunks=\"\",engine=\"{rank}\",model_name=\"tiny\",\
             tier=\"0:fs\"}} 1.0\n"
        )
    };
    let tokens = |page: &str| {
        let status = read(page);
        (status.capacity_tokens.unwrap(), status.kv_below_gpu_tokens, status.block_tokens.unwrap())
    };
    assert_eq!(tokens(&vllm(0, "65536")), (16_000, 65_536 - 16_000, 16));
    assert_eq!(tokens(&(vllm(0, "65536") + &vllm(1, "65536"))), (32_000, 2 * (65_536 - 16_000), 16));
    assert_eq!(tokens(&vllm(0, "None")), (16_000, 0, 16), "a size that the engine does not know");
    assert_eq!(tokens(&vllm(0, "4096")), (16_000, 0, 16), "a tier that is smaller than the GPU");
    assert_eq!(tokens(SGLANG_HICACHE), (435_712, 871_488 - 435_712, 64));
}

#[test]
fn what_is_unknown_or_broken_counts_as_nothing() {
    assert_eq!(read(""), EngineStatus::default());
    assert_eq!(read("\u{0}\u{fffd}{{{{\nvllm:num_requests_running NaN\n"), EngineStatus::default());
    assert_eq!(
        read("vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"None\"} 1"),
        EngineStatus::default()
    );
    assert_eq!(read("vllm:num_requests_running -3\nvllm:num_requests_waiting 1e30").waiting, u32::MAX);
}
