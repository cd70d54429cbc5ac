//! The demand of the day: nothing at night, a wave in between, in an open loop.

use super::MODEL;
use crate::args::DemoArgs;
use crate::client::{Client, Lost};
use crate::workload::words;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use warmpath_engine::api::Protocol;

/// Requests a second at the peak.
const PEAK_PER_S: f64 = 10.0;
/// When demand begins and ends, as shares of the day.
const DAYLIGHT: (f64, f64) = (0.08, 0.80);
/// System prompts, and their tokens.
const GROUPS: u64 = 40;
const SYSTEM_TOKENS: usize = 1_500;
/// The user's tokens, and those of the response: at least and at most.
const USER_TOKENS: (usize, usize) = (1_000, 6_000);
const OUTPUT_TOKENS: (usize, usize) = (100, 500);

/// A request of the day.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Planned {
    at_s: f64,
    group: u64,
    user_tokens: usize,
    output_tokens: usize,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub(super) struct Called {
    /// When it was sent, in seconds of the day.
    pub(super) at_s: f64,
    pub(super) outcome: Result<Heard, Lost>,
}

/// What its client noticed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) ttft_ms: f64,
    /// The mean time between tokens.
    pub(super) inter_token_ms: f64,
}

/// Sends the day's requests, each at its time, and waits until the day is over and all responses are there.
pub(super) async fn play(gateway: SocketAddr, args: &DemoArgs, begun: Instant) -> Vec<Called> {
    let client = Client::new(gateway);
    let mut under_way = JoinSet::new();
    for (number, planned) in plan(args.seed, args.seconds).into_iter().enumerate() {
        let body = body(args.seed, number as u64, planned);
        tokio::time::sleep_until((begun + Duration::from_secs_f64(planned.at_s)).into()).await;
        let client = client.clone();
        under_way.spawn(async move {
            let heard = client.ask(Protocol::Chat, body.into()).await;
            let outcome = heard.map(|heard| {
                let (ttft_ms, e2e_ms) = (heard.ttft.as_secs_f64() * 1e3, heard.e2e.as_secs_f64() * 1e3);
                let tokens = heard.usage.output_tokens.saturating_sub(1).max(1) as f64;
                Heard { ttft_ms, inter_token_ms: (e2e_ms - ttft_ms) / tokens }
            });
            Called { at_s: planned.at_s, outcome }
        });
    }
    let mut calls: Vec<Called> = under_way.join_all().await;
    calls.sort_by(|one, other| one.at_s.total_cmp(&other.at_s));
    tokio::time::sleep_until((begun + Duration::from_secs_f64(args.seconds)).into()).await;
    calls
}

/// Share of the peak at a share of the day.
fn share(of_day: f64) -> f64 {
    let (from, to) = DAYLIGHT;
    let through = (of_day - from) / (to - from);
    if (0.0..=1.0).contains(&through) { (through * std::f64::consts::PI).sin().powi(2) } else { 0.0 }
}

/// The requests of a day of so many seconds.
fn plan(seed: u64, seconds: f64) -> Vec<Planned> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut found = Vec::new();
    let mut at_s = 0.0;
    loop {
        at_s -= (1.0 - random.random::<f64>()).ln() / PEAK_PER_S;
        if at_s >= seconds {
            return found;
        }
        if random.random::<f64>() < share(at_s / seconds) {
            let mut between = |(least, most): (usize, usize)| random.random_range(least..=most);
            let (user_tokens, output_tokens) = (between(USER_TOKENS), between(OUTPUT_TOKENS));
            found.push(Planned { at_s, group: random.random_range(0..GROUPS), user_tokens, output_tokens });
        }
    }
}

fn body(seed: u64, number: u64, planned: Planned) -> String {
    let text = |kind: u64, tokens: usize| words(seed.wrapping_mul(1 << 40).wrapping_add(kind), tokens);
    json!({
        "model": MODEL,
        "messages": [
            {"role": "system", "content": text(planned.group, SYSTEM_TOKENS)},
            {"role": "user", "content": text(GROUPS + number, planned.user_tokens)},
        ],
        "max_tokens": planned.output_tokens,
        "stream": true,
        "stream_options": {"include_usage": true},
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::{DAYLIGHT, PEAK_PER_S, plan, share};

    #[test]
    fn the_night_has_no_requests_and_noon_has_the_peak() {
        let (day_s, requests) = (1_000.0, plan(1, 1_000.0));
        assert_eq!(requests, plan(1, day_s));
        let (from, to) = (DAYLIGHT.0 * day_s, DAYLIGHT.1 * day_s);
        assert!(requests.iter().all(|one| (from..=to).contains(&one.at_s)));
        let noon = f64::midpoint(from, to);
        let at_noon = requests.iter().filter(|one| (one.at_s - noon).abs() < 50.0).count() as f64 / 100.0;
        assert!((at_noon / PEAK_PER_S - 1.0).abs() < 0.15, "{at_noon} a second");
        assert!((share(f64::midpoint(DAYLIGHT.0, DAYLIGHT.1)) - 1.0).abs() < 1e-9);
    }
}
