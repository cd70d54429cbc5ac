//! Whether a request goes on, and as what: its pool's gate is asked before the choice.

use super::super::planned::{Planned, Traits};
use super::{Admitted, Wait};
use crate::admission::{Asked, Verdict};
use crate::ids::TenantId;
use crate::routing::{NoEndpoint, Options, Query};
use crate::wire::HeldFor;

/// Why a request does not go on.
#[derive(Debug)]
pub(in crate::router) enum Stop {
    /// Nobody serves it.
    Refused(NoEndpoint),
    /// It has to wait.
    Held(Wait),
}

/// What is to become of a request. `admitted`: it was held, and may go on.
pub(in crate::router) fn plan(
    query: Result<Query<'_>, NoEndpoint>,
    (traits, tenant): (Traits, TenantId),
    options: &Options,
    admitted: Option<&Admitted>,
) -> Result<Planned, Stop> {
    let mut query = query.map_err(Stop::Refused)?;
    match admitted.map(Admitted::verdict) {
        Some(Verdict::Placed(place)) => query = query.at(&[*place]),
        Some(Verdict::Room(places)) => query = query.at(places),
        Some(Verdict::Open | Verdict::Full) | None => {}
    }
    // Only requests for work are worth their clients' time.
    let hold = query.pool().hold().filter(|_| traits.is_judged && admitted.is_none_or(Admitted::may_wait));
    let Some(hold) = hold else {
        return Planned::of_query(query, traits, options).map_err(Stop::Refused);
    };
    let (tokens, priority) = (query.prompt_tokens.saturating_add(query.output_tokens()), query.priority);
    let asked = query.asked(tenant).unwrap_or(Asked { tokens, tenant, priority, ..Asked::default() });
    let pool = query.pool().name().to_owned();
    Planned::of_query(query, traits, options).map_err(|reason| match reason {
        NoEndpoint::NoneKnown if hold.endpoint_ms_max > 0 => {
            Stop::Held(Wait { pool, held_for: HeldFor::Endpoint, asked })
        }
        NoEndpoint::NoneKnown | NoEndpoint::UnknownModel => Stop::Refused(reason),
    })
}
