//! Metrics pages of every engine -> figures.

use warmpath::telemetry::Figures;

const VLLM: &str = include_str!("../fixtures/pages/vllm.txt");
const SGLANG: &str = include_str!("../fixtures/pages/sglang.txt");
const SGLANG_HICACHE: &str = include_str!("../fixtures/pages/sglang_hicache.txt");
const TRTLLM: &str = include_str!("../fixtures/pages/trtllm.txt");
const TRITON: &str = include_str!("../fixtures/pages/triton.txt");

fn read(page: &str) -> Figures {
    Figures::read(page.as_bytes())
}

#[test]
fn a_captured_vllm_page() {
    let wanted = Figures {
        capacity_tokens: 32 * 65_536,
        block_tokens: 32,
        started_ms: 1_795_332_009_580,
        ..Figures::default()
    };
    assert_eq!(read(VLLM), wanted);
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
    assert_eq!(read(&busy), Figures { running: 17, waiting: 4, kv_used_permille: 457, ..wanted });
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
    let figures = read(&(rank(0, 3, 0.2) + &rank(1, 5, 0.6)));
    let wanted = Figures {
        running: 8,
        kv_used_permille: 400,
        capacity_tokens: 2 * 16_000,
        block_tokens: 16,
        ..Figures::default()
    };
    assert_eq!(figures, wanted);
}

#[test]
fn pages_of_other_engines() {
    let figures = |running, waiting, kv_used_permille, capacity_tokens, block_tokens| Figures {
        running,
        waiting,
        kv_used_permille,
        capacity_tokens,
        block_tokens,
        ..Figures::default()
    };
    assert_eq!(read(SGLANG), figures(12, 3, 285, 435_712, 1));
    assert_eq!(read(TRTLLM), figures(5, 1, 500, 32_000, 32));
    assert_eq!(read(TRITON), figures(6, 4, 488, 400_384, 64));
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
    let told = |page: &str| {
        let Figures { capacity_tokens, kv_below_gpu_tokens, block_tokens, .. } = read(page);
        (capacity_tokens, kv_below_gpu_tokens, block_tokens)
    };
    assert_eq!(told(&vllm(0, "65536")), (16_000, 65_536 - 16_000, 16));
    assert_eq!(told(&(vllm(0, "65536") + &vllm(1, "65536"))), (32_000, 2 * (65_536 - 16_000), 16));
    assert_eq!(told(&vllm(0, "None")), (16_000, 0, 16), "a size that the engine does not know");
    assert_eq!(told(&vllm(0, "4096")), (16_000, 0, 16), "a tier that is smaller than the GPU");
    assert_eq!(told(SGLANG_HICACHE), (435_712, 871_488 - 435_712, 64));
}

#[test]
fn what_is_unknown_or_broken_counts_as_nothing() {
    assert_eq!(read(""), Figures::default());
    assert_eq!(read("\u{0}\u{fffd}{{{{\nvllm:num_requests_running NaN\n"), Figures::default());
    assert_eq!(
        read("vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"None\"} 1"),
        Figures::default()
    );
    assert_eq!(read("vllm:num_requests_running -3\nvllm:num_requests_waiting 1e30").waiting, u32::MAX);
}
