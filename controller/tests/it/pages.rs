//! Metrics pages of every engine -> figures.

use warmpath::telemetry::Figures;

const VLLM: &str = include_str!("../fixtures/pages/vllm.txt");
const SGLANG: &str = include_str!("../fixtures/pages/sglang.txt");
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
        started_ms: 0,
    };
    assert_eq!(read(SGLANG), figures(12, 3, 285, 435_712, 1));
    assert_eq!(read(TRTLLM), figures(5, 1, 500, 32_000, 32));
    assert_eq!(read(TRITON), figures(6, 4, 488, 400_384, 64));
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
