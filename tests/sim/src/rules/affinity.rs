//! llm-d's affinity filter: only engines that hold most of the prompt, unless they are far busier.

use crate::fleet::Among;
use crate::workload::Job;

/// Share of the prompt that an engine must hold (`affinityThreshold`).
const HELD_SHARE_MIN: f64 = 0.8;
/// Tokens by which the holders' queue may be longer than the shortest before the filter lets go: the published
/// peak of 15,928 tokens a second times `maxTTFTPenaltyMs` of 18 s.
const PENALTY_TOKENS_MAX: usize = 286_720;

/// Which engines pass, given what each holds. All, when none holds enough or those that do are too busy.
pub(super) fn pass(job: &Job, hits: &[usize], among: Among<'_>) -> Vec<bool> {
    let holds = |hit: &usize| *hit as f64 >= HELD_SHARE_MIN * job.prompt_tokens as f64;
    let warm: Vec<bool> = hits.iter().map(holds).collect();
    let queue = |at: usize| among.nodes()[at].load.prefill_tokens;
    let shortest = |only_warm: bool| (0..among.len()).filter(|at| warm[*at] || !only_warm).map(queue).min();
    match (shortest(true), shortest(false)) {
        (Some(held), Some(all)) if held <= all + PENALTY_TOKENS_MAX => warm,
        _ => vec![true; among.len()],
    }
}
