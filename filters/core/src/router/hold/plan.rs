//! Whether a request goes on, and as what: its pool's gate is asked before the choice.

use super::super::planned::{Planned, Traits};
use super::{Admitted, Wait};
use crate::admission::{Asked, Verdict};
use crate::ids::TenantId;
use crate::prompt::Api;
use crate::routing::{NoEndpoint, Options, Query};
use crate::wire::{HeldFor, Hold};

/// A request is refused at once if it would have to wait for longer than so many times the longest wait. Whoever is accepted goes on
/// after that wait at the latest, whatever was predicted, and a client that is refused comes back at the end of the line; so only where
/// twice as many wait as can get room in that time, to accept more would send too many without any.
const CROWDED_FACTOR: u64 = 2;

/// Why a request does not go on.
#[derive(Debug)]
pub(in crate::router) enum Stop {
    /// Nobody serves it.
    Refused(NoEndpoint),
    /// It has to wait.
    Held(Wait),
    /// It would have to wait for much longer than its pool allows: for so many milliseconds.
    Crowded(u64),
}

/// What is to become of a request. `admitted`: it was held, and may go on. `has_room`: whether the process may hold one more.
pub(in crate::router) fn plan(
    query: Result<Query<'_>, NoEndpoint>,
    (traits, tenant): (Traits, TenantId),
    options: &Options,
    (admitted, has_room): (Option<&Admitted>, impl FnOnce() -> bool),
) -> Result<Planned, Stop> {
    let query = query.map_err(Stop::Refused)?;
    // Only requests for work are worth their clients' time.
    let Some(hold) = query.pool().hold().filter(|_| traits.is_judged) else {
        return Planned::of_query(query, traits, options).map_err(Stop::Refused);
    };
    let asked = query.asked(tenant).filter(|_| traits.api.is_none_or(Api::is_computed));
    let verdict = match (admitted.and_then(Admitted::verdict), &asked) {
        (Some(verdict), _) => verdict.clone(),
        (None, Some(asked)) => query.view().verdict(query.pool(), asked, options.now),
        (None, None) => Verdict::Open,
    };
    let query = match (verdict, asked) {
        (Verdict::Full, Some(asked)) => {
            return Err(full(&query, (hold, admitted.is_none()), asked, options));
        }
        (Verdict::Open | Verdict::Full, _) => query,
        (Verdict::Placed(place), _) => query.at(&[place]),
        (Verdict::Room(places), _) => query.at(&places),
    };
    let wait = || {
        let (tokens, priority) = (query.prompt_tokens.saturating_add(query.output_tokens()), query.priority);
        let asked = asked.unwrap_or(Asked { tokens, tenant, priority, ..Asked::default() });
        Wait { pool: query.pool().name().to_owned(), held_for: HeldFor::Endpoint, asked }
    };
    let may_wait = hold.endpoint_ms_max > 0 && admitted.is_none_or(Admitted::may_wait);
    let wait = may_wait.then(wait);
    // Whoever comes while others go on as engines can take them is behind those, but not refused for it.
    let is_behind = admitted.is_none() && query.view().is_pacing(query.pool()) && has_room();
    let wait = match wait {
        Some(wait) if is_behind || query.view().is_waking(query.pool(), options.now) => {
            return Err(Stop::Held(wait));
        }
        wait => wait,
    };
    let mut planned = Planned::of_query(query, traits, options).map_err(|reason| match (reason, wait) {
        (NoEndpoint::NoneKnown, Some(wait)) => Stop::Held(wait),
        (reason, _) => Stop::Refused(reason),
    })?;
    planned.whole.asked = asked;
    planned.whole.waited = admitted.map(Admitted::waited);
    Ok(planned)
}

/// There is no room: the request waits, unless that would take too long. One that was held before stays: it was accepted.
fn full(query: &Query<'_>, (hold, is_new): (&Hold, bool), asked: Asked, options: &Options) -> Stop {
    let pool = query.pool().name().to_owned();
    let wait_ms = query.view().admission(&pool).and_then(|gate| gate.wait_ms(&asked, options.now));
    let wait_ms_max = CROWDED_FACTOR * u64::from(hold.room_ms_max);
    match wait_ms.filter(|wait_ms| is_new && *wait_ms > wait_ms_max) {
        Some(wait_ms) => Stop::Crowded(wait_ms),
        None => Stop::Held(Wait { pool, held_for: HeldFor::Room, asked }),
    }
}
