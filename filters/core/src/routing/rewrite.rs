//! The model that an engine is asked for in place of the one that a request names: aliases, and shares of the traffic for a
//! new version.
//!
//! Not at random by request, as gateways usually do it: the turns of a conversation would change models, and each model
//! would compute each conversation. What every turn repeats decides, so that all proxies agree without a word.

use crate::ids::SessionKey;
use crate::prompt::Request;
use crate::view::View;
use crate::wire::{Rewrite, RewriteTarget};

/// The model to ask for; `None`: the one that the request names. `session` names the conversation, if a header does.
pub fn target(view: &View, request: &Request<'_>, session: Option<SessionKey>) -> Option<String> {
    let rule = rule(view, &request.model)?;
    let number = session.map_or_else(|| request.opening(), |SessionKey(key)| key);
    Some(pick(&rule.targets, number)?.model.clone())
}

/// The rule for a model that a request names.
fn rule<'a>(view: &'a View, model: &'a str) -> Option<&'a Rewrite> {
    // Nearly all views have none.
    if model.is_empty() || view.pools().iter().all(|pool| pool.rewrites().is_empty()) {
        return None;
    }
    view.pool_for(model)?.pool.rewrite_of(model)
}

/// The target in whose share of the weights `number` is, of all 64-bit numbers. When weights change, only as many
/// conversations change targets as have to.
fn pick(targets: &[RewriteTarget], number: u64) -> Option<&RewriteTarget> {
    let are_equal = targets.iter().all(|target| target.weight == 0);
    let weight = |target: &RewriteTarget| if are_equal { 1 } else { u128::from(target.weight) };
    let total: u128 = targets.iter().map(weight).sum();
    let mut at = (u128::from(number) * total) >> 64;
    targets.iter().find(|target| {
        let is_here = at < weight(target);
        at = at.saturating_sub(weight(target));
        is_here
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::sample::next_random;
    use proptest::prelude::*;

    fn targets(weights: &[u32]) -> Vec<RewriteTarget> {
        let target = |(at, weight): (usize, &u32)| RewriteTarget { model: at.to_string(), weight: *weight };
        weights.iter().enumerate().map(target).collect()
    }

    /// How many of 10,000 conversations each target gets.
    fn shares(weights: &[u32]) -> Vec<usize> {
        let targets = targets(weights);
        let picked: Vec<_> =
            (0..10_000).map(|number| pick(&targets, next_random(number)).unwrap().model.as_str()).collect();
        targets.iter().map(|target| picked.iter().filter(|model| **model == target.model).count()).collect()
    }

    #[test]
    fn shares_follow_the_weights() {
        for (weights, expected) in [
            (&[1, 1][..], &[5_000, 5_000][..]),
            (&[9, 1], &[9_000, 1_000]),
            (&[0, 7], &[0, 10_000]),
            (&[0, 0], &[5_000, 5_000]),
            (&[u32::MAX, 0, u32::MAX], &[5_000, 0, 5_000]),
        ] {
            let shares = shares(weights);
            let is_near = |(share, expected): (&usize, &usize)| share.abs_diff(*expected) <= 200;
            assert!(shares.iter().zip(expected).all(is_near), "{weights:?}: {shares:?}");
        }
        assert_eq!(pick(&[], 7), None);
    }

    #[test]
    fn a_canary_that_grows_takes_conversations_and_returns_none() {
        let models = |weights: &[u32]| -> Vec<String> {
            let targets = targets(weights);
            (0..1_000).map(|number| pick(&targets, next_random(number)).unwrap().model.clone()).collect()
        };
        let moved = models(&[90, 10])
            .iter()
            .zip(&models(&[80, 20]))
            .filter(|(before, after)| *before == "1" && *after == "0")
            .count();
        assert_eq!(moved, 0);
    }

    proptest! {
        #[test]
        fn there_is_a_target_wherever_the_number_falls(weights in prop::collection::vec(any::<u32>(), 1..6), number in prop_oneof![Just(0), Just(u64::MAX), any::<u64>()]) {
            let targets = targets(&weights);
            let picked = pick(&targets, number).expect("one is picked");
            prop_assert!(picked.weight > 0 || weights.iter().all(|weight| *weight == 0));
        }
    }
}
