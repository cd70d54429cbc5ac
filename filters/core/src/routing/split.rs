//! The choice between one engine for a whole request and two for its legs.
//!
//! One sum decides, in seconds: what the prompt costs at the endpoint that computes it (its queue, the uncached part, those that it
//! delays), the transfer between the two, and what the response costs at the endpoint that generates it; against what the whole
//! request costs at the best single one. No threshold of tokens: a short prompt, or one that is mostly cached, is cheaper
//! whole by itself, because the transfer costs more than the delay of a few decodes; and a pool whose prefill endpoints are
//! busy keeps the next prompts local.
//!
//! The two are chosen as a pair, because transfers take different times between different pairs, but only among the best few
//! of each side: the cost of a choice must not grow with their product.

use super::choose::rank;
use super::{Candidate, Decision, Options, Query};
use crate::cost::Term;
use crate::view::{Fitness, Leg, Match};

/// Endpoints of each side that are tried in pairs.
const PAIRED_MAX: usize = 4;

/// A request in two legs.
#[derive(Clone, Debug)]
pub struct Split {
    /// Where the prompt is computed.
    pub prefill: Decision,
    /// Where the response is generated. The transfer is a term of the chosen one.
    pub decode: Decision,
    /// Tokens whose KV goes from one to the other.
    pub transfer_tokens: u64,
    /// The cost of both.
    pub cost_s: f64,
}

/// Why a request that could be split stays whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsplit {
    /// It is cheaper whole.
    WholeIsCheaper,
    /// No endpoint that takes prefill legs is fit.
    NoPrefill,
    /// No endpoint that takes decode legs is fit.
    NoDecode,
}

// === impl Split ===

impl Split {
    /// Whether it costs less than the request at one endpoint.
    pub(super) fn is_cheaper_than(&self, whole: &Decision) -> bool {
        whole.chosen.fitness != Fitness::Fit || self.cost_s < whole.chosen.cost_s
    }
}

// === impl Unsplit ===

impl Unsplit {
    /// Its stable name in metrics and explanations.
    pub fn label(self) -> &'static str {
        match self {
            Self::WholeIsCheaper => "cheaper",
            Self::NoPrefill => "no_prefill_endpoint",
            Self::NoDecode => "no_decode_endpoint",
        }
    }
}

/// The best pair of endpoints for a request that costs `whole` at the best single one, if that is more; `None`: no endpoint takes it
/// whole.
pub fn split(query: &Query<'_>, options: &Options, whole: Option<&Decision>) -> Result<Split, Unsplit> {
    let split = pair(query, options, whole.is_some())?;
    if whole.is_some_and(|whole| !split.is_cheaper_than(whole)) {
        return Err(Unsplit::WholeIsCheaper);
    }
    Ok(split)
}

/// The best pair of endpoints, whatever it costs. `must_be_fit`: only endpoints that may be chosen at the moment are better than none.
pub(super) fn pair(query: &Query<'_>, options: &Options, must_be_fit: bool) -> Result<Split, Unsplit> {
    let matches = query.matches();
    let prefill = leg(query, options, Leg::Prefill, &matches).ok_or(Unsplit::NoPrefill)?;
    let decode = leg(query, options, Leg::Decode, &matches).ok_or(Unsplit::NoDecode)?;
    let is_fit = |one: &&Candidate| !must_be_fit || one.fitness == Fitness::Fit;
    let mut best: Option<Pair> = None;
    for (from, p) in prefill.ranked().filter(is_fit).take(PAIRED_MAX).enumerate() {
        for (to, d) in decode.ranked().filter(is_fit).take(PAIRED_MAX).enumerate() {
            let pair = Pair::of(query, options, (from, p), (to, d));
            if p.id != d.id && best.as_ref().is_none_or(|best| pair.is_better_than(best)) {
                best = Some(pair);
            }
        }
    }
    if !prefill.ranked().any(|one| is_fit(&one)) {
        return Err(Unsplit::NoPrefill);
    }
    let pair = best.ok_or(Unsplit::NoDecode)?;
    let mut decode = decode.choosing(pair.to);
    decode.chosen.terms = decode.chosen.terms.with(Term::Transfer, pair.transfer_s);
    decode.chosen.cost_s = options.weights.total_s(&decode.chosen.terms);
    Ok(Split {
        prefill: prefill.choosing(pair.from),
        decode,
        transfer_tokens: pair.transfer_tokens,
        cost_s: pair.cost_s,
    })
}

/// The endpoints of one leg, the best first.
fn leg(query: &Query<'_>, options: &Options, leg: Leg, matches: &[Match]) -> Option<Decision> {
    let alternates = options.alternates.max(PAIRED_MAX - 1);
    rank(query, options, leg, matches).decision(query, options, alternates)
}

/// Two endpoints, by their places among the candidates.
struct Pair {
    from: usize,
    to: usize,
    /// That of the worse one.
    fitness: Fitness,
    transfer_tokens: u64,
    transfer_s: f64,
    cost_s: f64,
}

// === impl Pair ===

impl Pair {
    /// Whether it is to be taken before another: the fit before the others, then by cost.
    fn is_better_than(&self, other: &Self) -> bool {
        (self.fitness, self.cost_s) < (other.fitness, other.cost_s)
    }

    fn of(
        query: &Query<'_>,
        options: &Options,
        (from, p): (usize, &Candidate),
        (to, d): (usize, &Candidate),
    ) -> Self {
        let transfer_tokens = query.prompt_tokens.saturating_sub(d.cached_tokens);
        let transfer_s =
            query.pool().transfers().predicted_s((p.id, d.id), transfer_tokens, p.prefill_s_per_token);
        let transfer = d.terms.with(Term::Transfer, transfer_s);
        let cost_s = p.cost_s + options.weights.total_s(&transfer);
        Self { from, to, fitness: p.fitness.max(d.fitness), transfer_tokens, transfer_s, cost_s }
    }
}
