//! `warmpath-sim`
use std::time::Instant;
use warmpath_sim::{
    measure::Summary,
    rules::{Endless, RuleName},
    run::play,
    scenario::{Scenario, Source},
    warmpath::{NetworkSpec, Proxies, ProxiesSpec},
};
fn main() {
    let without = std::env::var("EXP")
        .ok()
        .filter(|v| !v.is_empty())
        .map(|v| warmpath_core::cost::Term::ALL.into_iter().find(|t| t.label() == v).unwrap());
    let args: Vec<String> = std::env::args().collect();
    let source = Source {
        folder: "tests/sim/data/traces".into(),
        requests_max: args.get(3).and_then(|a| a.parse().ok()).unwrap_or(usize::MAX),
        seed: std::env::var("SEED").ok().and_then(|v| v.parse().ok()).unwrap_or(1),
    };
    let names: Vec<&str> = args[1].split(',').collect();
    let rules: Vec<RuleName> = if args.len() > 2 && args[2] != "all" {
        args[2].split(',').map(|r| r.parse().unwrap()).collect()
    } else {
        RuleName::ALL.to_vec()
    };
    for name in names {
        let sc: Scenario = name.parse().unwrap();
        let t = Instant::now();
        let w = sc.workload(&source).unwrap();
        println!("{name}: {} requests, made in {:?}", w.jobs().count(), t.elapsed());
        let spec = sc.spec();
        let next = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let next = &next;
            let rules = &rules;
            let spec = &spec;
            let w = &w;
            for _ in 0..2 {
                scope.spawn(move || loop {
                let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some(r) = rules.get(at) else { break };
                let t = Instant::now();
                let proxies: usize = std::env::var("PROXIES").ok().and_then(|v| v.parse().ok()).unwrap_or(1);
                let net = if proxies > 1 { NetworkSpec { delay_s: 0.01, jitter_s: 0.005, loss_share: 0.0 } } else { NetworkSpec::default() };
                let mut rule = r.published().unwrap_or_else(|| Box::new(Proxies::new(ProxiesSpec { proxies, network: net, seed: 1, without }, &spec.engines)));
                let s = Summary::of(&play(spec, w, rule.as_mut()));
                println!("{:18} hit {:.3}/{:.3}={:.3} ttft {:7.0} p50 {:6.0} p90 {:7.0} p99 {:7.0}  e2e {:7.0} p99 {:7.0} tok/s {:6.0} pre {:4} imb {:.2} lost {} [{:.1}s]", r.name(), s.cached_share, s.bound_cached_share, s.part_of_bound(), s.ttft_ms.mean, s.ttft_ms.p50, s.ttft_ms.p90, s.ttft_ms.p99, s.e2e_ms.mean, s.e2e_ms.p99, s.output_tokens_per_s, s.preemptions, s.imbalance, s.lost, t.elapsed().as_secs_f64());
            });
            }
        });
    }
    let _ = Endless::default();
}
