//! The cost of a choice, in seconds: one term a file, one sum.
//!
//! ```text
//!   queue    work promised to the endpoint and not yet prefilled
//! + prefill  this prompt's uncached part
//! + rivals   the prefill again where another proxy may send one like it, unseen
//! + later    those who come while it is busy, and would have to wait longer
//! + stall    the prefill again for each request there, which it holds up
//! + decode   the answer's steps, and the slower steps of those there by our context
//! + evict    cached prefixes that are pushed out, by the chance that they are asked for again
//! ```
//!
//! The sum is the change in everybody's waiting time, so affinity, spill-over and balance need no weights
//! against each other: a long hit wins until the queue in front of it costs more than computing the prefix again
//! elsewhere. One preference is stated, [`WAIT_WEIGHT`]. Everything is proportional to the endpoint's learned
//! prefill speed, whose ratios to the other constants vary little between models and GPUs (step-time tables of NVIDIA
//! AIConfigurator for H100), and to what the pool's answers teach: their length, their hits, the load.

mod averages;
mod decode;
mod evict;
mod later;
mod queue;
mod rivals;
mod terms;
mod work;

pub use averages::Averages;
pub use terms::{Term, Terms, WAIT_WEIGHT};
pub use work::PrefillWork;

use crate::time::Timestamp;
use crate::view::Endpoint;

/// What a request would mean for one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of those that the endpoint holds.
    pub cached_tokens: u64,
    /// Tokens that the answer will probably have.
    pub output_tokens: u64,
    /// Work that the endpoint would have to do again for what it evicts, in tokens' worth, by the chance that it is
    /// asked for.
    pub evicted_tokens: f64,
    /// Where another proxy may be sending now ([`crate::view::Turn`]): the share of the prompt that nobody holds. 0
    /// where it is our turn.
    pub rival_share: f64,
}

/// One endpoint at the moment of the decision, as the terms see it.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    endpoint: &'a Endpoint,
    averages: &'a Averages,
    /// Learned speed.
    prefill_s_per_token: f64,
    /// Prefill work in front of a new request, in tokens' worth.
    backlog_tokens: f64,
}

/// The cost of sending `work` to `endpoint`, one of a pool with these `averages`.
pub fn of(endpoint: &Endpoint, averages: &Averages, work: &Work, now: Timestamp) -> Terms {
    let prefill_s_per_token = averages.prefill_s_per_token(endpoint);
    let backlog_tokens = queue::backlog_tokens(endpoint, prefill_s_per_token, now);
    let place = Place { endpoint, averages, prefill_s_per_token, backlog_tokens };
    let queue_s = queue::seconds(&place);
    let prefill_s = PrefillWork::of(work.prompt_tokens, work.cached_tokens).tokens() * prefill_s_per_token;
    Terms {
        queue_s,
        prefill_s,
        rivals_s: rivals::seconds(work, prefill_s),
        later_s: later::seconds(&place, queue_s, prefill_s),
        stall_s: decode::stall_seconds(&place, prefill_s),
        decode_s: decode::seconds(&place, work),
        evict_s: evict::seconds(&place, work),
    }
}
