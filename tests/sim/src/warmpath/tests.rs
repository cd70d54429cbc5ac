//! Proxies that hear each other late, in disorder, or not at all.

use super::{NetworkSpec, Proxies, ProxiesSpec, time};
use crate::rules::Rule;
use crate::run::{Spec, play};
use crate::workload::{LadderShape, LadderStage, Texts, ladder_stage};
use warmpath_core::view::InFlight;
use warmpath_engine::Preset;
use warmpath_engine::model::{Params, Tier, TierParams};

const SHAPE: LadderShape = LadderShape {
    groups: 4,
    prompts_per_group: 2,
    system_tokens: 640,
    question_tokens: 64,
    output_tokens: 16,
};
const BLOCK_TOKENS: usize = 64;
/// Seconds after which whatever nobody repeats must be forgotten.
const FORGOTTEN_S: u32 = 120;

#[test]
fn all_bookings_are_released_though_messages_are_lost_and_overtake_each_other() {
    let seed = 3;
    println!("seed {seed}");
    let prompts = SHAPE.prompts(seed, &mut Texts::new(BLOCK_TOKENS));
    let workload =
        ladder_stage(&prompts, LadderStage { rate: 20.0, length_s: 3.0, requests_before: 0 }, seed);
    let engine = Params { block_tokens: BLOCK_TOKENS, ..Params::new(Preset::Qwen3On2) };
    let spec = Spec::new(vec![engine; 3]);
    let network = NetworkSpec { delay_s: 0.01, jitter_s: 0.3, loss_share: 0.3 };
    let mut proxies = Proxies::new(ProxiesSpec { proxies: 3, network, ..ProxiesSpec::exact(seed) }, &spec);
    let played = play(&spec, &workload, &mut proxies);
    assert_eq!((played.lost, played.records.len()), (0, 60));
    assert!(proxies.flights.is_empty(), "every request ended at the proxy that sent it");
    let end_s = played.records.iter().filter_map(|record| record.end_s).fold(0.0, f64::max);
    for second in 1..=FORGOTTEN_S {
        proxies.wake(end_s + f64::from(second));
    }
    for (number, proxy) in proxies.proxies.iter_mut().enumerate() {
        assert_eq!(proxy.ledger.requests(), 0, "proxy {number}");
        proxy.view.expire(time(end_s + f64::from(FORGOTTEN_S)));
        for (_, endpoint) in proxy.view.endpoints() {
            assert_eq!(endpoint.in_flight(), InFlight::default(), "in the view of proxy {number}");
        }
    }
}

#[test]
fn proxies_count_on_the_tiers_below_the_gpu() {
    let seed = 5;
    println!("seed {seed}");
    let prompts = SHAPE.prompts(seed, &mut Texts::new(BLOCK_TOKENS));
    let stage = LadderStage { rate: 20.0, length_s: 1.0, requests_before: 0 };
    let workload = ladder_stage(&prompts, stage, seed);
    let tier = |tier, tokens| TierParams::new(Preset::Qwen3On2, tier, tokens);
    let tiers = vec![tier(Tier::Cpu, 2_000), tier(Tier::Disk, 5_000)];
    let engine =
        Params { block_tokens: BLOCK_TOKENS, kv_tokens: 64_000, tiers, ..Params::new(Preset::Qwen3On2) };
    let spec = Spec::new(vec![engine; 2]);
    let mut proxies = Proxies::new(ProxiesSpec::exact(seed), &spec);
    play(&spec, &workload, &mut proxies);
    let sizes = proxies.proxies[0].view.endpoints().map(|(_, endpoint)| endpoint.cache_tokens());
    assert_eq!(sizes.collect::<Vec<_>>(), [71_000; 2]);
}

#[test]
fn every_proxy_hears_of_engines_that_join_though_messages_are_lost() {
    let seed = 4;
    println!("seed {seed}");
    let all_new = LadderShape { groups: 400, prompts_per_group: 1, ..SHAPE };
    let prompts = all_new.prompts(seed, &mut Texts::new(BLOCK_TOKENS));
    let stage = LadderStage { rate: 60.0, length_s: 6.0, requests_before: 0 };
    let workload = ladder_stage(&prompts, stage, seed);
    let engine = Params { block_tokens: BLOCK_TOKENS, startup_s: 1.5, ..Params::new(Preset::Qwen3On2) };
    let spec = Spec { starts_s: vec![1.5], ..Spec::new(vec![engine; 2]) };
    let network = NetworkSpec { delay_s: 0.01, jitter_s: 0.0, loss_share: 1.0 };
    let mut proxies = Proxies::new(ProxiesSpec { proxies: 3, network, ..ProxiesSpec::exact(seed) }, &spec);
    let played = play(&spec, &workload, &mut proxies);
    let joined: Vec<_> = played.records.iter().filter(|record| record.engine == 1).collect();
    assert!(joined.iter().all(|record| record.sent_s >= 3.0), "nobody is sent where no engine is");
    assert!(!joined.is_empty() && joined.len() < played.records.len());
    for (number, proxy) in proxies.proxies.iter().enumerate() {
        assert_eq!(proxy.view.endpoints().count(), 2, "proxy {number}");
    }
}
