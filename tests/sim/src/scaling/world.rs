//! The world that a policy scales: engines that start and leave, a router, and the requests of a day.

use super::demand::Conversation;
use super::engine::{Engine, Event, Request};
use super::policies::{Policy, View, ViewEngine, Window};
use super::setting::Model;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How often a policy may look.
pub(super) const TICK_S: f64 = 5.0;
/// A pod that leaves ends at the latest after this time.
const DRAIN_S_MAX: f64 = 300.0;
/// Prefixes count as warm for so long.
const WARM_S: f64 = 300.0;

/// What a day came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Day {
    pub(super) requests: usize,
    pub(super) gpu_hours: f64,
    /// Share of requests whose first token met the objective.
    pub(super) ttft_met: f64,
    /// Share of responses whose time between tokens did.
    pub(super) inter_token_met: f64,
    /// Share of requests that met both.
    pub(super) met: f64,
    pub(super) ttft_s_p99: f64,
    /// Changes of direction in the hour that had most.
    pub(super) reversals_per_hour: usize,
    pub(super) engines_max: u32,
    pub(super) cached: f64,
    /// Replicas at each look.
    pub(super) replicas: Vec<u32>,
}

struct Pod {
    engine: Engine,
    made_s: f64,
    ready_s: f64,
    leaves_s: Option<f64>,
    number: u64,
}

struct Asked {
    conversation: usize,
    turn: usize,
    at_s: f64,
    first_s: Option<f64>,
    prompt_tokens: f64,
    output_tokens: f64,
}

/// A day in play.
pub(super) struct World<'a> {
    model: &'a Model,
    conversations: &'a [Conversation],
    random: StdRng,
    pods: Vec<Pod>,
    pods_made: u64,
    asked: Vec<Asked>,
    /// Tokens of each conversation so far.
    so_far: Vec<f64>,
    /// Turns that are to come, by time in nanoseconds.
    due: BinaryHeap<Reverse<(u64, usize, usize)>>,
    held: Vec<usize>,
    window: Window,
    events: Vec<Event>,
    gpu_s: f64,
    prompt_tokens: f64,
    cached_tokens: f64,
    ttfts: Vec<f64>,
    counts: [usize; 4],
    output_sum: (f64, f64),
}

/// Plays a day.
pub(super) fn play(
    model: &Model,
    conversations: &[Conversation],
    policy: &mut dyn Policy,
    until_s: f64,
    seed: u64,
) -> Day {
    let mut world = World {
        model,
        conversations,
        random: StdRng::seed_from_u64(seed),
        pods: Vec::new(),
        pods_made: 0,
        asked: Vec::new(),
        so_far: vec![0.0; conversations.len()],
        due: BinaryHeap::new(),
        held: Vec::new(),
        window: Window::default(),
        events: Vec::new(),
        gpu_s: 0.0,
        prompt_tokens: 0.0,
        cached_tokens: 0.0,
        ttfts: Vec::new(),
        counts: [0; 4],
        output_sum: (0.0, 0.0),
    };
    let begins = conversations.iter().enumerate();
    world.due = begins.map(|(at, one)| Reverse((nanos(one.begin_s), at, 0))).collect();
    world.run(policy, until_s)
}

/// A time of which maps can be made.
pub(super) fn nanos(at_s: f64) -> u64 {
    (at_s * 1e9) as u64
}

// === impl World ===

impl World<'_> {
    fn run(mut self, policy: &mut dyn Policy, until_s: f64) -> Day {
        let mut replicas = Vec::new();
        let mut now_s = 0.0;
        // The day begins with one engine that is ready.
        self.make(-1e6);
        while now_s < until_s {
            let next_s = now_s + TICK_S;
            while let Some(Reverse((at, conversation, turn))) = self.due.peek().copied() {
                if at > nanos(next_s) {
                    break;
                }
                self.due.pop();
                self.ask(conversation, turn, at as f64 / 1e9);
            }
            now_s = next_s;
            self.advance(now_s);
            let view = self.view(now_s);
            let wanted = policy.look(&view);
            self.scale(wanted.replicas.min(self.model.engines_max), &wanted.leaving_first, now_s);
            self.window = Window::default();
            replicas.push(wanted.replicas.min(self.model.engines_max));
        }
        let end_s = now_s;
        let model = self.model;
        let cost = |pod: &Pod| (pod.leaves_s.unwrap_or(end_s).min(end_s) - pod.made_s.max(0.0)) * model.gpus;
        self.gpu_s += self.pods.iter().map(cost).sum::<f64>();
        self.day(replicas)
    }

    fn day(mut self, replicas: Vec<u32>) -> Day {
        let [met_first, met_token, met, ended] = self.counts;
        // Whoever has no first token at the end of the day has missed the objective.
        let all = self.asked.len().max(1) as f64;
        self.ttfts.sort_by(f64::total_cmp);
        let p99 = self.ttfts.get(self.ttfts.len() * 99 / 100).copied().unwrap_or_default();
        Day {
            requests: self.asked.len(),
            gpu_hours: self.gpu_s / 3_600.0,
            ttft_met: met_first as f64 / all,
            inter_token_met: met_token as f64 / ended.max(1) as f64,
            met: met as f64 / all,
            ttft_s_p99: p99,
            reversals_per_hour: reversals_per_hour(&replicas),
            engines_max: replicas.iter().copied().max().unwrap_or_default(),
            cached: self.cached_tokens / self.prompt_tokens.max(1.0),
            replicas,
        }
    }

    fn make(&mut self, now_s: f64) {
        let (least, most) = self.model.start_s;
        let ready_s = now_s + self.random.random_range(least..most);
        self.pods_made += 1;
        self.pods.push(Pod {
            engine: Engine::new(self.model, ready_s.max(0.0)),
            made_s: now_s,
            ready_s,
            leaves_s: None,
            number: self.pods_made,
        });
    }

    /// A turn comes.
    fn ask(&mut self, conversation: usize, turn: usize, at_s: f64) {
        self.advance(at_s);
        let of = self.conversations[conversation].turns[turn];
        let prompt_tokens = self.so_far[conversation] + of.new_tokens;
        let number = self.asked.len();
        let output_tokens = of.output_tokens;
        self.asked.push(Asked { conversation, turn, at_s, first_s: None, prompt_tokens, output_tokens });
        self.window.requests += 1.0;
        self.window.prompt_tokens += prompt_tokens;
        self.route(number, at_s);
    }

    fn route(&mut self, number: usize, now_s: f64) {
        let asked = &self.asked[number];
        let (conversation, prompt_tokens) = (asked.conversation, asked.prompt_tokens);
        let cost = |pod: &Pod| {
            let uncached = prompt_tokens - pod.engine.cached(conversation, prompt_tokens);
            // As every request that decodes there is delayed by this prompt, and delays it by a step.
            pod.engine.waiting_tokens() * 2.0 + uncached + 32.0 * pod.engine.in_flight() as f64
        };
        let ready = self.pods.iter_mut().filter(|pod| pod.ready_s <= now_s && pod.leaves_s.is_none());
        let best = ready.min_by(|one, other| cost(one).total_cmp(&cost(other)));
        let Some(pod) = best else {
            self.held.push(number);
            return;
        };
        let cached = pod.engine.cached(conversation, prompt_tokens);
        let output_tokens = asked.output_tokens;
        pod.engine.submit(Request { number, conversation, prompt_tokens, output_tokens }, now_s);
        self.prompt_tokens += prompt_tokens;
        self.cached_tokens += cached;
        let work = warmpath_core::work::PrefillWork::of(prompt_tokens as u64, cached as u64).tokens();
        self.window.work_tokens += work;
        self.window.work_tokens_squared += work * work;
    }

    fn advance(&mut self, until_s: f64) {
        if !self.held.is_empty()
            && self.pods.iter().any(|pod| pod.ready_s <= until_s && pod.leaves_s.is_none())
        {
            for number in std::mem::take(&mut self.held) {
                self.route(number, until_s);
            }
        }
        let mut events = std::mem::take(&mut self.events);
        for pod in &mut self.pods {
            pod.engine.advance(until_s, &mut events);
        }
        for event in events.drain(..) {
            self.note(event);
        }
        self.events = events;
        let gpus = self.model.gpus;
        let mut gpu_s = 0.0;
        self.pods.retain(|pod| {
            let is_gone = pod.leaves_s.is_some_and(|at_s| {
                until_s >= at_s && pod.engine.in_flight() == 0 || until_s >= at_s + DRAIN_S_MAX
            });
            if is_gone {
                gpu_s += (until_s - pod.made_s.max(0.0)) * gpus;
            }
            !is_gone
        });
        self.gpu_s += gpu_s;
    }

    fn note(&mut self, event: Event) {
        let objectives = self.model.objectives;
        match event {
            Event::First { number, at_s } => {
                let asked = &mut self.asked[number];
                asked.first_s = Some(at_s);
                let ttft_s = at_s - asked.at_s;
                let is_met = ttft_s <= objectives.ttft_s;
                self.counts[0] += usize::from(is_met);
                self.ttfts.push(ttft_s);
                self.window.firsts += 1.0;
                self.window.firsts_late += f64::from(u8::from(!is_met));
                self.window.ttft_s += ttft_s;
            }
            Event::End { number, at_s } => {
                let asked = &self.asked[number];
                let first_s = asked.first_s.unwrap_or(at_s);
                let inter_token_s = (at_s - first_s) / (asked.output_tokens - 1.0).max(1.0);
                let is_met = inter_token_s <= objectives.inter_token_s;
                self.counts[1] += usize::from(is_met);
                self.counts[2] += usize::from(is_met && first_s - asked.at_s <= objectives.ttft_s);
                self.counts[3] += 1;
                self.window.ends += 1.0;
                self.window.ends_late += f64::from(u8::from(!is_met));
                self.window.inter_token_s += inter_token_s;
                self.output_sum = (self.output_sum.0 + asked.output_tokens, self.output_sum.1 + 1.0);
                let (conversation, turn) = (asked.conversation, asked.turn + 1);
                self.so_far[conversation] = asked.prompt_tokens + asked.output_tokens;
                if let Some(next) = self.conversations[conversation].turns.get(turn) {
                    self.due.push(Reverse((nanos(at_s + next.think_s), conversation, turn)));
                }
            }
        }
    }

    fn view(&self, now_s: f64) -> View {
        let engine = |pod: &Pod| ViewEngine {
            number: pod.number,
            is_leaving: pod.leaves_s.is_some(),
            is_ready: pod.ready_s <= now_s,
            age_s: now_s - pod.made_s,
            queue: pod.engine.queue(),
            in_flight: pod.engine.in_flight(),
            waiting_tokens: pod.engine.waiting_tokens(),
            kv_used: pod.engine.kv_used(),
            warm_tokens: pod.engine.warm_tokens(now_s - WARM_S),
        };
        let held_tokens = self.held.iter().map(|number| self.asked[*number].prompt_tokens).sum();
        let outputs = self.output_sum;
        View {
            now_s,
            window: self.window,
            output_tokens_mean: if outputs.1 > 0.0 { outputs.0 / outputs.1 } else { 250.0 },
            held: self.held.len(),
            held_tokens,
            engines: self.pods.iter().map(engine).collect(),
        }
    }

    fn scale(&mut self, replicas: u32, leaving_first: &[u64], now_s: f64) {
        let staying = |pods: &[Pod]| pods.iter().filter(|pod| pod.leaves_s.is_none()).count();
        while staying(&self.pods) < replicas as usize {
            self.make(now_s);
        }
        let excess = staying(&self.pods) - replicas as usize;
        let mut order: Vec<u64> = leaving_first.to_vec();
        if order.is_empty() {
            // As a Deployment: those that are not ready, then the youngest.
            let mut staying: Vec<&Pod> = self.pods.iter().filter(|pod| pod.leaves_s.is_none()).collect();
            staying.sort_by(|one, other| {
                let key = |pod: &Pod| (pod.ready_s <= now_s, Reverse(pod.number));
                key(one).cmp(&key(other))
            });
            order = staying.into_iter().map(|pod| pod.number).collect();
        }
        for number in order.into_iter().take(excess) {
            if let Some(pod) = self.pods.iter_mut().find(|pod| pod.number == number) {
                pod.leaves_s = Some(now_s);
            }
        }
    }
}

/// Changes of direction in the hour that had most.
fn reversals_per_hour(replicas: &[u32]) -> usize {
    let mut direction = None;
    let mut found = Vec::new();
    for (at, pair) in replicas.windows(2).enumerate() {
        if pair[0] == pair[1] {
            continue;
        }
        let is_up = pair[1] > pair[0];
        if direction.replace(is_up).is_some_and(|before| before != is_up) {
            found.push(at);
        }
    }
    let hour = (3_600.0 / TICK_S) as usize;
    let within = |start: &usize| found.iter().filter(|at| (*start..start + hour).contains(*at)).count();
    found.iter().map(within).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::demand::{Shape, conversations};
    use super::super::policies::Setting;
    use super::super::setting::Model;
    use super::{Day, play, reversals_per_hour};

    const STRETCH_S: (f64, f64) = (14_400.0, 300.0);

    fn day(setting: Setting, seed: u64) -> Day {
        let model = &Model::both()[1];
        let conversations = conversations(Shape::Wave, model, seed, STRETCH_S);
        play(model, &conversations, setting.build(model).as_mut(), STRETCH_S.1, seed)
    }

    #[test]
    fn engines_cost_from_their_making_to_their_end_and_a_seed_repeats() {
        let (one, again) = (day(Setting::Fixed(2), 1), day(Setting::Fixed(2), 1));
        // Two engines of two GPUs; the second one is made at the first look.
        let hours = (300.0 + 295.0) * 2.0 / 3_600.0;
        assert!((one.gpu_hours - hours).abs() < 1e-9, "{} {hours}", one.gpu_hours);
        assert_eq!((one.requests, one.met.to_bits()), (again.requests, again.met.to_bits()));
        assert!(one.requests > 1_000, "{one:?}");
    }

    /// The two engines of the other test are far too few by day: what they compute is evicted before the next turn comes.
    #[test]
    fn by_night_three_engines_are_enough_and_later_turns_find_their_prefix() {
        let model = &Model::both()[1];
        let night = (3_600.0, 1_800.0);
        let conversations = conversations(Shape::Wave, model, 1, night);
        let first_turns = conversations.len();
        let day = play(model, &conversations, Setting::Fixed(3).build(model).as_mut(), night.1, 1);
        assert!(day.requests > 2 * first_turns, "{first_turns}: {day:?}");
        assert!(day.met > 0.9 && day.cached > 0.4, "{} {}", day.met, day.cached);
    }

    #[test]
    fn every_policy_keeps_within_bounds() {
        for setting in Setting::all() {
            let engines_max = day(setting, 2).engines_max;
            assert!((1..=24).contains(&engines_max), "{setting:?}: {engines_max}");
        }
    }

    #[test]
    fn a_turn_is_a_change_of_direction_and_the_fullest_hour_counts() {
        assert_eq!(reversals_per_hour(&[1, 2, 3, 3, 4]), 0);
        assert_eq!(reversals_per_hour(&[1, 2, 1, 1, 2]), 2);
        let far: Vec<u32> = [1, 2, 1].into_iter().chain(std::iter::repeat_n(1, 800)).chain([2, 1]).collect();
        assert_eq!(reversals_per_hour(&far), 2);
    }
}
