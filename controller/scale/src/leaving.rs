//! Which engines of a role go first.
//!
//! Those that start, the youngest first, because they hold nothing; then the coldest. Kubernetes by itself removes the youngest pod
//! of a Deployment, and with it whatever prefixes happen to be there.

use crate::seen::{Engine, EngineId, EngineState};
use std::cmp::Ordering;

/// All engines that do not leave already, whoever is to go first at the head.
pub(crate) fn order(engines: &[Engine]) -> Vec<EngineId> {
    let stays = engines.iter().filter(|engine| engine.state != EngineState::Draining);
    let mut staying: Vec<&Engine> = stays.collect();
    staying.sort_by(|one, other| before(one, other));
    staying.into_iter().map(|engine| engine.id).collect()
}

/// Tokens that are lost if the first one goes.
pub(crate) fn coldest_tokens(engines: &[Engine]) -> f64 {
    let first = order(engines).first().copied();
    let first = engines.iter().find(|engine| Some(engine.id) == first);
    first.map_or(0.0, |engine| if engine.state == EngineState::Ready { engine.warm_tokens } else { 0.0 })
}

fn before(one: &Engine, other: &Engine) -> Ordering {
    let age = |engine: &Engine| match engine.state {
        EngineState::Starting { for_s } => Some(for_s),
        _ => None,
    };
    match (age(one), age(other)) {
        (Some(one_s), Some(other_s)) => one_s.total_cmp(&other_s).then(one.id.cmp(&other.id)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => one
            .warm_tokens
            .total_cmp(&other.warm_tokens)
            .then(one.requests.cmp(&other.requests))
            .then(one.id.cmp(&other.id)),
    }
}

#[cfg(test)]
mod tests {
    use super::{coldest_tokens, order};
    use crate::seen::{Engine, EngineId, EngineState};

    #[test]
    fn what_starts_goes_before_the_coldest_and_the_warmest_stays_to_the_end() {
        let engine =
            |id, state, warm_tokens, requests| Engine { id: EngineId(id), state, warm_tokens, requests };
        let engines = [
            engine(1, EngineState::Ready, 200_000.0, 0),
            engine(2, EngineState::Ready, 10_000.0, 9),
            engine(3, EngineState::Starting { for_s: 40.0 }, 0.0, 0),
            engine(4, EngineState::Ready, 10_000.0, 3),
            engine(5, EngineState::Draining, 0.0, 1),
            engine(6, EngineState::Starting { for_s: 4.0 }, 0.0, 0),
        ];
        let ids: Vec<u64> = order(&engines).into_iter().map(|id| id.0).collect();
        assert_eq!(ids, [6, 3, 4, 2, 1]);
        assert_eq!((coldest_tokens(&engines), coldest_tokens(&engines[..2])), (0.0, 10_000.0));
    }
}
