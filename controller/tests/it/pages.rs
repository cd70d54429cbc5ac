//! Metrics pages of every engine -> its status.

use warmpath::telemetry::{EngineKind, Latencies, Reading};
use warmpath_core::wire::{EngineStatus, Role};

const VLLM: &str = include_str!("../fixtures/pages/vllm.txt");
const SGLANG: &str = include_str!("../fixtures/pages/sglang.txt");
const SGLANG_HICACHE: &str = include_str!("../fixtures/pages/sglang_hicache.txt");
const SGLANG_PRIORITY: &str = include_str!("../fixtures/pages/sglang_priority.txt");
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
    let (read_vllm, latencies) = Reading::with_latencies(VLLM.as_bytes());
    let Latencies { tokens, responses } = latencies;
    assert_eq!((tokens.count, tokens.sum_s), (17.0, 0.056_467_734_000_079_87));
    assert_eq!((responses.count, responses.sum_s), (3.0, 0.009_466_038_571_439_466));
    assert_eq!((tokens.above(0.01), tokens.above(0.005)), (0.0, 8.5), "all are in the first bucket");
    assert_eq!(
        read_vllm,
        Reading {
            status: wanted,
            started_ms: Some(1_795_332_009_580),
            work_done: Some(44 + 20 + 3),
            kind: Some(EngineKind::Vllm),
            legs: None,
            is_cache_used: false,
            has_nixl: false,
        }
    );
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
fn a_total_is_not_added_to_its_parts_nor_to_ranks_that_show_the_same() {
    let wanted = EngineStatus {
        running: 3 + 4,
        waiting: 7,
        kv_used_permille: 500,
        capacity_tokens: Some(2 * 500_000),
        ..EngineStatus::default()
    };
    assert_eq!(read(SGLANG_PRIORITY), wanted);
    let parts_only = "sglang:num_queue_reqs{priority=\"0\"} 6\nsglang:num_queue_reqs{priority=\"10\"} 1\n";
    assert_eq!(read(parts_only).waiting, 7, "parts without a total make one");
}

#[test]
fn ranks_in_any_order_of_labels_with_breakdowns_times_and_unknown_values() {
    let page = "\
vllm:num_requests_running{model_name=\"m\",engine=\"1\"} 3.0
vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 2
vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 4.0e+00
vllm:num_requests_waiting{engine=\"1\",model_name=\"m, \\\"x\\\" {y}\"} 5.0 1700000000000
vllm:num_requests_waiting_by_reason{engine=\"0\",model_name=\"m\",reason=\"capacity\"} 4.0
vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"m\"} 0.4
vllm:kv_cache_usage_perc{engine=\"1\",model_name=\"m\"} 0.8
vllm:kv_cache_usage_perc{engine=\"2\",model_name=\"m\"} NaN
";
    for page in [page.to_owned(), page.replace('\n', "\r\n")] {
        let status = read(&page);
        assert_eq!((status.running, status.waiting, status.kv_used_permille), (5, 9, 600));
    }
}

#[test]
fn adapters_add_to_the_base_model_and_times_are_no_requests() {
    let mut page = "vllm:num_requests_running{model_name=\"sql-lora\"} 1.0\n\
                    vllm:num_requests_running{model_name=\"base\"} 3.0\n"
        .to_owned();
    page.extend((0..3000).map(|n| {
        format!("vllm:lora_requests_info{{running_lora_adapters=\"a{n}\"}} 1.7395575657589855e+09\n")
    }));
    assert_eq!(read(&page), EngineStatus { running: 4, ..EngineStatus::default() });
}

#[test]
fn the_kv_use_under_either_name_or_both_of_them() {
    let old = "vllm:gpu_cache_usage_perc{engine=\"0\",model_name=\"m\"} 0.9\n";
    let new = "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"m\"} 9.0e-01\n";
    for page in [old.to_owned(), new.to_owned(), format!("{old}{new}")] {
        assert_eq!(read(&page).kv_used_permille, 900, "{page}");
    }
}

/// With several kinds of KV cache, the blocks are counted in the smallest size of them, or include states of fixed size.
#[test]
fn the_capacity_of_hybrid_caches_is_in_tokens_and_not_in_blocks() {
    let page = |size: &str, engine: u32| {
        format!(
            "vllm:cache_config_info{{block_size=\"4\",cache_dtype=\"fp8_ds_mla\",engine=\"{engine}\",\
             kv_cache_size_tokens=\"{size}\",num_gpu_blocks=\"9000\"}} 1.0\n"
        )
    };
    let capacity = |page: &str| read(page).capacity_tokens;
    assert_eq!(capacity(&page("1200000", 0)), Some(1_200_000));
    assert_eq!(capacity(&page("5000", 0)), Some(5_000), "smaller than the product");
    assert_eq!(capacity(&(page("1200000", 0) + &page("1200000", 1))), Some(2_400_000), "two ranks");
    assert_eq!(capacity(&page("None", 0)), Some(36_000), "an engine that does not know it");
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

#[test]
fn each_page_names_its_engine() {
    let kind = |page: &str| Reading::of(page.as_bytes()).kind;
    assert_eq!(kind(SGLANG), Some(EngineKind::Sglang));
    assert_eq!(kind(TRTLLM), Some(EngineKind::Trtllm));
    assert_eq!(kind(TRITON), Some(EngineKind::Triton));
    assert_eq!(kind("process_start_time_seconds 1.0\nllamacpp:requests_processing 1\n"), None);
}

#[test]
fn pages_show_what_engines_pass_kv_on_with_and_which_legs_they_take() {
    let nixl = "vllm:nixl_num_failed_transfers_total{engine=\"0\",model_name=\"tiny\"} 0.0\n";
    assert!(Reading::of(format!("{VLLM}{nixl}").as_bytes()).has_nixl);
    assert_eq!(Reading::of(SGLANG.as_bytes()).legs, Some(Role::Both));
    for (label, legs) in [("prefill", Some(Role::Prefill)), ("decode", Some(Role::Decode)), ("x", None)] {
        let page = SGLANG.replace("engine_type=\"unified\"", &format!("engine_type=\"{label}\""));
        assert_eq!(Reading::of(page.as_bytes()).legs, legs, "{label}");
    }
    assert_eq!(Reading::of(TRTLLM.as_bytes()).legs, None, "its label of this name says something else");
}

/// A series stays for each set of adapters that were in use together, as after a restart with another number of places.
#[test]
fn of_several_series_of_adapters_the_newest_one_counts() {
    let series = |adapters: &str, slots: u32, at: f64| {
        format!(
            "vllm:lora_requests_info{{max_lora=\"{slots}\",running_lora_adapters=\"{adapters}\",waiting_lora_adapters=\"{adapters}\"}} {at:e}\n"
        )
    };
    let page = [series("a", 2, 1.7953e9), series("a,b", 4, 1.7955e9), series("", 2, 1.7954e9)].concat();
    assert_eq!(read(&page).adapter_slots, 4);
    assert_eq!(read("vllm:num_requests_running 1\n").adapter_slots, 0, "not known");
}
