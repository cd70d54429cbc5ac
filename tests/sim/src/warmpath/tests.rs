//! Proxies whose streams are late and break, whose controller restarts, and whose VMs are built again.

use super::{Deployment, NetworkSpec, Proxies, ProxiesSpec, ReportsSpec};
use crate::rules::Rule;
use crate::run::{Played, Spec, play};
use crate::workload::{LadderShape, LadderStage, Texts, Workload, ladder_stage};
use warmpath_core::ids::EndpointId;
use warmpath_core::wire::{self, Trust};
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
const NETWORK: NetworkSpec = NetworkSpec { delay_s: 0.01, jitter_s: 0.05, break_share: 0.0 };
const DEPLOYMENT: Deployment = Deployment { proxies: 3, workers: 2, network: NETWORK, ..Deployment::EXACT };

fn engine() -> Params {
    Params { block_tokens: BLOCK_TOKENS, ..Params::new(Preset::Qwen3On2) }
}

fn workload(shape: LadderShape, rate: f64, length_s: f64, seed: u64) -> Workload {
    println!("seed {seed}");
    let prompts = shape.prompts(seed, &mut Texts::new(BLOCK_TOKENS));
    ladder_stage(&prompts, LadderStage { rate, length_s, requests_before: 0 }, seed)
}

fn proxies(deployment: Deployment, spec: &Spec, seed: u64) -> Proxies {
    Proxies::new(ProxiesSpec { deployment, ..ProxiesSpec::exact(seed) }, spec)
}

/// Plays 20 requests a second for so many seconds on three engines: none may be lost.
fn play_all(deployment: Deployment, length_s: f64, seed: u64) -> (Proxies, Played) {
    let workload = workload(SHAPE, 20.0, length_s, seed);
    let spec = Spec::new(vec![engine(); 3]);
    let mut proxies = proxies(deployment, &spec, seed);
    let played = play(&spec, &workload, &mut proxies);
    assert_eq!((played.lost, played.records.len()), (0, workload.jobs().count()));
    (proxies, played)
}

/// Lets time pass without requests and accidents: nothing may be in flight afterwards, in any view.
fn assert_released(mut proxies: Proxies, played: &Played) {
    // A VM that is built reads in the log what the dead had in flight, and believes it for five seconds.
    proxies.world.deployment = Deployment { vm_rebuilds_s: None, ..proxies.world.deployment };
    assert!(proxies.flights.is_empty(), "every request ended at the router that sent it");
    let end_s = played.records.iter().filter_map(|record| record.end_s).fold(0.0, f64::max);
    for second in 1..=FORGOTTEN_S {
        proxies.wake(end_s + f64::from(second));
    }
    let vms = proxies.world.processes.iter().flat_map(|process| &process.vms);
    for (number, vm) in vms.enumerate() {
        assert_eq!(vm.router.ledger().requests(), 0, "router {number}");
        for (_, endpoint) in vm.router.view().endpoints() {
            assert_eq!(endpoint.in_flight().requests, 0, "in the view of router {number}");
        }
    }
}

#[test]
fn all_bookings_are_released_though_streams_are_late_and_break() {
    let network = NetworkSpec { delay_s: 0.01, jitter_s: 0.3, break_share: 0.3 };
    let (proxies, played) = play_all(Deployment { network, ..DEPLOYMENT }, 3.0, 3);
    assert_released(proxies, &played);
}

#[test]
fn what_a_vm_had_in_flight_when_it_was_rebuilt_is_forgotten_and_no_request_is_lost() {
    let deployment = Deployment { vm_rebuilds_s: Some(0.5), ..DEPLOYMENT };
    let (proxies, played) = play_all(deployment, 6.0, 6);
    let (_, undisturbed) = play_all(DEPLOYMENT, 6.0, 6);
    assert_ne!(played.records, undisturbed.records, "whoever is rebuilt has to begin anew");
    assert_released(proxies, &played);
}

#[test]
fn a_restart_of_the_controller_loses_no_request_and_the_new_one_is_taught() {
    let deployment = Deployment { controller_restarts_s: Some(4.0), ..DEPLOYMENT };
    let (proxies, played) = play_all(deployment, 9.0, 7);
    let hub = proxies.world.controller.hub().expect("the restart is over");
    assert_eq!(hub.index().instance().0, 2);
    assert!(hub.index().view().prefixes().cells() > 0);
    assert_released(proxies, &played);
}

#[test]
fn routers_count_on_the_tiers_below_the_gpu() {
    let seed = 5;
    let workload = workload(SHAPE, 20.0, 1.0, seed);
    let tier = |tier, tokens| TierParams::new(Preset::Qwen3On2, tier, tokens);
    let tiers = vec![tier(Tier::Cpu, 2_000), tier(Tier::Disk, 5_000)];
    let spec = Spec::new(vec![Params { kv_tokens: 64_000, tiers, ..engine() }; 2]);
    let mut proxies = Proxies::new(ProxiesSpec::exact(seed), &spec);
    play(&spec, &workload, &mut proxies);
    let view = proxies.world.processes[0].vms[0].router.view();
    let sizes = view.endpoints().map(|(_, endpoint)| endpoint.cache_tokens());
    assert_eq!(sizes.collect::<Vec<_>>(), [71_000; 2]);
}

#[test]
fn every_router_learns_of_engines_that_join_though_streams_break() {
    let seed = 4;
    let all_new = LadderShape { groups: 400, prompts_per_group: 1, ..SHAPE };
    let workload = workload(all_new, 60.0, 6.0, seed);
    let spec =
        Spec { starts_s: vec![1.5], ..Spec::new(vec![engine(), Params { startup_s: 1.5, ..engine() }]) };
    let network = NetworkSpec { break_share: 0.1, ..NETWORK };
    let mut proxies = proxies(Deployment { network, ..DEPLOYMENT }, &spec, seed);
    let played = play(&spec, &workload, &mut proxies);
    let joined: Vec<_> = played.records.iter().filter(|record| record.engine == 1).collect();
    assert!(joined.iter().all(|record| record.sent_s >= 3.0), "nobody is sent where no engine is");
    assert!(!joined.is_empty() && joined.len() < played.records.len());
    let vms = proxies.world.processes.iter().flat_map(|process| &process.vms);
    for (number, vm) in vms.enumerate() {
        assert_eq!(vm.router.view().endpoints().count(), 2, "router {number}");
    }
}

#[test]
fn workers_of_a_process_know_of_each_other_without_a_stream() {
    // Streams break before their first message arrives.
    let network = NetworkSpec { break_share: 1.0, ..NETWORK };
    let cached = |proxies, workers| {
        let (_, played) = play_all(Deployment { proxies, workers, network, ..DEPLOYMENT }, 3.0, 8);
        played.records.iter().map(|record| record.cached_tokens).sum::<usize>()
    };
    let (workers, apart) = (cached(1, 4), cached(4, 1));
    assert!(workers > apart, "{workers} tokens found by four workers, {apart} by four processes");
}

#[test]
fn every_process_has_one_stream_and_its_snapshot_at_second_zero() {
    let spec = Spec::new(vec![engine(); 3]);
    let proxies = proxies(DEPLOYMENT, &spec, 9);
    for (number, process) in proxies.world.processes.iter().enumerate() {
        let streams = process.vms.iter().filter(|vm| vm.uplink.is_some()).count();
        assert_eq!(streams, 1, "process {number}");
    }
}

#[test]
fn both_legs_are_released_and_splits_end_at_another_engine() {
    let shape = LadderShape { system_tokens: 6_400, output_tokens: 400, ..SHAPE };
    let workload = workload(LadderShape { groups: 60, ..shape }, 6.0, 15.0, 8);
    let spec = Spec { has_transfer: true, ..Spec::new(vec![engine(); 3]) };
    let mut proxies = proxies(DEPLOYMENT, &spec, 8);
    let played = play(&spec, &workload, &mut proxies);
    assert_eq!((played.lost, played.records.len()), (0, workload.jobs().count()));
    let splits = played.records.iter().filter(|record| record.is_split).count();
    assert!(splits > 0, "{splits} were split");
    assert_released(proxies, &played);
}

/// What the routers know in the end is what the engines hold, whatever was late, lost or begun anew on the way.
#[test]
fn every_router_knows_what_engines_report_though_reports_are_lost_streams_break_and_everything_restarts() {
    let seed = 11;
    let shape = LadderShape { groups: 60, system_tokens: 1_280, ..SHAPE };
    let workload = workload(shape, 30.0, 12.0, seed);
    let tiers = vec![TierParams::new(Preset::Qwen3On2, Tier::Cpu, 20_000)];
    // Little room, so that blocks are evicted to the tier and from there.
    let small = Params { kv_tokens: 20_000, tiers, ..engine() };
    let spec = Spec { starts_s: vec![3.0], ..Spec::new(vec![small; 3]) };
    let network = NetworkSpec { break_share: 0.02, ..NETWORK };
    let deployment =
        Deployment { network, controller_restarts_s: Some(5.0), vm_rebuilds_s: Some(1.0), ..DEPLOYMENT };
    let reports = Some(ReportsSpec { delay_s: 0.005, lost_share: 0.05 });
    let reporting = ProxiesSpec { deployment, reports, ..ProxiesSpec::exact(seed) };
    let mut proxies = Proxies::new(reporting, &spec);
    let played = play(&spec, &workload, &mut proxies);
    assert_eq!(played.lost, 0);
    // From now on nothing breaks, and there is time for all that was missed.
    proxies.world.calm();
    proxies.advance(played.end_s + 30.0);
    let reports = proxies.world.reports.as_ref().expect("engines report");
    let (mut held, mut lower) = (0, 0);
    for (number, vm) in proxies.world.processes.iter().flat_map(|process| &process.vms).enumerate() {
        let view = vm.router.view();
        for (engine, address) in proxies.addresses.iter().enumerate() {
            let slot = view.slot(EndpointId::of(address)).expect("all are listed");
            assert_eq!(view.reported().trust(slot), Trust::Whole, "router {number}, engine {engine}");
            for job in workload.jobs() {
                let mut found = Vec::new();
                view.find(&job.cells, &mut found);
                let found = found.iter().find(|found| found.slot == slot);
                let cells = |tier| found.map_or(0, |found| found.cells_in(tier) as usize);
                let all = found.map_or(0, |found| found.cells as usize);
                assert_eq!(
                    (all, cells(wire::Tier::Gpu)),
                    reports.held(engine, job),
                    "router {number}, engine {engine}"
                );
                held += all;
                lower += cells(wire::Tier::Cpu);
            }
        }
    }
    assert!(held > lower && lower > 0, "{held} cells, {lower} of them below the GPU");
}
