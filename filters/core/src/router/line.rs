//! Decisions in one line each: for a response header, and for the proxy's access log.

use crate::num::{count, float, u64_len};
use crate::routing::Decision;
use crate::wire::HeldFor;

/// The decision in one line, for [`super::DECISION_HEADER`] and the proxy's access log.
pub(super) fn summary(decision: &Decision, prompt_tokens: u64, waited: Option<(HeldFor, u64)>) -> String {
    let cached = decision.chosen.cached_tokens;
    let priority =
        if decision.priority == 0 { String::new() } else { format!(" priority={}", decision.priority) };
    let share = if prompt_tokens == 0 { 0.0 } else { float(cached) / float(prompt_tokens) };
    format!(
        "reason={} cached={}/{} share={} cost={} ttft={} considered={}{}{} endpoints={}",
        decision.reason.label(),
        cached,
        prompt_tokens,
        decimal(share, 2),
        decimal(decision.chosen.cost_s, 6),
        decimal(decision.chosen.terms.ttft_s(), 6),
        u64_len(decision.considered),
        priority,
        held(waited),
        decision.destinations(),
    )
}

/// How long a request was held, in such a line.
pub(super) fn held(waited: Option<(HeldFor, u64)>) -> String {
    waited.map_or_else(String::new, |(held_for, ms)| format!(" held_for={} held_ms={ms}", held_for.label()))
}

/// A number from zero up with so many decimals. The standard library's own way weighs 14 KB, which every VM compiles.
pub(super) fn decimal(value: f64, decimals: u32) -> String {
    let unit = 10_u64.pow(decimals);
    let scaled = count(value * float(unit));
    let width = usize::try_from(decimals).unwrap_or(0);
    format!("{}.{:0width$}", scaled / unit, scaled % unit)
}
