//! The formula of each term, from the state of an endpoint and the work of the request. All results are in seconds.

use super::averages::utilization;
use super::{CostInput, Term, Terms, Work};
use crate::num::float;
use crate::time::Timestamp;
use crate::view::Endpoint;
use crate::work::PrefillWork;

/// Work assumed of a waiting request that no proxy of ours has booked, in tokens: the mean prompt of the
/// Azure conversation trace of 2023.
const FOREIGN_PROMPT_TOKENS: u64 = 1_155;
/// Time of a decode step that does nothing else, in units of one token's prefill time: it reads the weights.
/// 190 for Qwen3-32B TP2, 200 for Llama-3.1-8B, 180 for 70B TP4, all on H100: the ratio of the GPU's arithmetic to its
/// memory's bandwidth. Between equal endpoints it makes no difference.
const STEP_WORK: f64 = 190.0;
/// Time that one token of context adds to each decode step, in the same units: 8.4e-4 for Qwen3-32B TP2, 1.8e-3 for
/// Llama-3.1-8B, 3.7e-4 for 70B TP4, all on H100.
const CONTEXT_WORK: f64 = 8e-4;
/// How much more an evicted prefix weighs where requests may be split. A split holds its prompt at two endpoints, and what both
/// evict for it is computed again by prefills that others wait for. Of 1 to 12, over the simulator's workloads: with less, the
/// sessions of agents lose their caches (mean end-to-end time 2 to 4 % longer); with more, long prompts stay whole.
const EVICT_WEIGHT_EITHER: f64 = 6.0;

/// All terms.
pub(super) fn terms(input: &CostInput<'_>, work: &Work) -> Terms {
    let queue_s = input.backlog_tokens * input.prefill_s_per_token;
    let prefill_work = PrefillWork::of(work.prompt_tokens, work.cached_tokens);
    let prefill_s = prefill_work.tokens() * input.prefill_s_per_token;
    Terms::of(|term| match term {
        Term::Queue => queue_s,
        Term::Prefill => prefill_s,
        // Beside the steps of others, which do not wait for it.
        Term::Load => work.loaded.work_tokens() * input.prefill_s_per_token,
        Term::Adapter => super::adapter::wait_s(input, work, response_s(input, work.output_tokens)),
        // Of a pair of endpoints, which this is not.
        Term::Transfer => 0.0,
        Term::Contention => contention(work, prefill_s),
        Term::Later => later(input, queue_s, prefill_s),
        Term::Stall => stall(input, prefill_s),
        Term::Decode => decode(input, work),
        Term::Evict => evict(input, work),
    })
}

/// Prefill work in front of a new request, in tokens' worth, at an endpoint of this speed: the in-flight work that
/// is not done, and the requests that the engine reports as waiting beyond that.
pub(super) fn backlog_tokens(endpoint: &Endpoint, prefill_s_per_token: f64, now: Timestamp) -> f64 {
    let foreign = u64::from(endpoint.status().waiting.saturating_sub(endpoint.in_flight().requests));
    endpoint.backlog_tokens(prefill_s_per_token, now) + float(foreign * FOREIGN_PROMPT_TOKENS)
}

/// A prefill ahead of ours that is not known yet: another proxy may send a similar prompt to the same endpoint at this
/// moment. Only the share of the prompt that no endpoint holds counts, because only that part may go anywhere. A prompt
/// whose beginning is cached goes to its holder, in any proxy's turn.
fn contention(work: &Work, prefill_s: f64) -> f64 {
    work.contention_share * prefill_s
}

/// The additional waiting of requests that arrive while the endpoint is busy with ours.
///
/// To a queue that serves in order, with arrivals at rate `r` that fill a share `u` of its time, `w` seconds of work
/// behind `q` add `r * w * (q + w / 2) / (1 - u)` to the waiting of all requests that arrive until it is empty: the growth of the
/// queue's value function, `r * q^2 / (2 * (1 - u))` (first policy iteration for dispatching to parallel M/G/1 queues;
/// Hyytiä, Penttinen, Aalto 2012). It is why a long prompt belongs on an idle endpoint, even past a short cached
/// part, while a short one may queue.
fn later(input: &CostInput<'_>, queue_s: f64, prefill_s: f64) -> f64 {
    let requests_per_s = input.averages.requests_per_s(input.prefill_s_per_token);
    let idle_share = 1.0 - input.averages.utilization(input.prefill_s_per_token);
    growth_s(requests_per_s / idle_share, queue_s, prefill_s)
}

/// By how much `rate * queue^2 / 2` grows when `prefill_s` is added to the queue.
fn growth_s(rate: f64, queue_s: f64, prefill_s: f64) -> f64 {
    rate * prefill_s * (queue_s + prefill_s / 2.0)
}

/// Time for which our prefill delays the requests that are there, summed over them. Those that wait to be prefilled
/// count too: they are served first, and decode by the time that ours is.
fn stall(input: &CostInput<'_>, prefill_s: f64) -> f64 {
    prefill_s * f64::from(input.endpoint.requests())
}

/// The steps of our response, slowed by the contexts there, and by which ours slows theirs.
///
/// Where requests may be split, the prefills that will come slow it, too: of an endpoint that prefills for a share `u` of its time,
/// a response gets the rest and takes `1 / (1 - u)` times as long. Together with `stall` this lets equal endpoints divide the work:
/// prompts avoid those that generate, responses avoid those that prefill. Where every endpoint has to prefill what it
/// generates from, `u` differs by chance, and to follow it would cost hits.
fn decode(input: &CostInput<'_>, work: &Work) -> f64 {
    let theirs = float(work.prompt_tokens) * f64::from(input.endpoint.decodes());
    let step_work = step_work(input) + CONTEXT_WORK * theirs;
    let share = if work.is_either { prefill_share(input) } else { 0.0 };
    float(work.output_tokens) * step_work * input.prefill_s_per_token / (1.0 - share)
}

/// Time of a decode step there, in tokens' worth.
fn step_work(input: &CostInput<'_>) -> f64 {
    STEP_WORK + CONTEXT_WORK * float(input.endpoint.used_tokens())
}

/// Time from the first token of such a response there to its last.
pub(super) fn response_s(input: &CostInput<'_>, output_tokens: u64) -> f64 {
    float(output_tokens) * step_work(input) * input.prefill_s_per_token
}

/// Share of the endpoint's time that prefills have filled of late.
fn prefill_share(input: &CostInput<'_>) -> f64 {
    let arrived = input.endpoint.arrivals().per_second(input.now);
    utilization(arrived.work_tokens, input.prefill_s_per_token)
}

/// The recomputation of evicted prefixes: a full cache takes a new prefix only by evicting old ones, some of which will
/// be requested again.
fn evict(input: &CostInput<'_>, work: &Work) -> f64 {
    let weight = if work.is_either { EVICT_WEIGHT_EITHER } else { 1.0 };
    weight * work.evicted_tokens * input.prefill_s_per_token
}

#[cfg(test)]
mod tests {
    use super::growth_s;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn growth_is_the_difference_of_the_value_function(
            rate in 0.0..5.0, queue_s in 0.0..20.0, prefill_s in 0.0..20.0,
        ) {
            let value = |queue_s: f64| rate * queue_s * queue_s / 2.0;
            let difference = value(queue_s + prefill_s) - value(queue_s);
            prop_assert!((growth_s(rate, queue_s, prefill_s) - difference).abs() < 1e-9 * (1.0 + difference));
        }
    }
}
