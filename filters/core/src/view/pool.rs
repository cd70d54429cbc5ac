//! A pool: the endpoints that serve the same models, and the ratio of text to tokens.

use super::transfers::Transfers;
use super::wake::Wake;
use crate::ids::{AdapterId, EndpointId, Slot};
use crate::limits::BYTES_PER_TOKEN_DEFAULT;
use crate::num::{count, float};
use crate::prompt::{Format, Media, MediaKind, Size};
use crate::wire::{self, Hold, Objective, PromptFormat, Rewrite, Role, Transfer, TransferProtocol};
use std::sync::Arc;

/// The model name that matches any model.
pub const ANY_MODEL: &str = "*";
/// Weight of the newest observation in the learned ratio.
const RATIO_WEIGHT: f64 = 0.05;
/// The same in the ratio that converts capacities to cells: what is held is the text of hundreds of requests, and one
/// client's odd text must not evict everybody's.
const SIZED_WEIGHT: f64 = 0.005;
/// Observations that count as they are, each as much as any before: the ratio that was assumed may be far off.
const RATIO_FIRST: f64 = 20.0;
/// Factor by which a later observation may differ from what was learned before it counts as no more than that.
const RATIO_FACTOR_MAX: f64 = 2.0;
/// Prompt bytes that an observation must span: templates and special tokens distort short ones.
const RATIO_BYTES_MIN: u64 = 512;
/// Bounds of a believable ratio, bytes per token.
const BYTES_PER_TOKEN_MIN: f64 = 0.5;
const BYTES_PER_TOKEN_MAX: f64 = 16.0;
/// Tokens of one part that is not text, before any usage is observed, in the order of [`MediaKind`]: an image of a
/// megapixel in Qwen2.5-VL (one token for 28 x 28 pixels), half a minute of audio in Whisper's and Qwen's encoders (25 a
/// second), half a minute of video at two frames of 256 tokens a second, three pages of text.
const MEDIA_TOKENS_DEFAULT: [f64; MediaKind::COUNT] = [1_300.0, 750.0, 15_000.0, 2_000.0];
/// Weight of the newest observation in those.
const MEDIA_WEIGHT: f64 = 0.1;
/// Bounds of a believable part, in tokens.
const MEDIA_TOKENS_MIN: f64 = 1.0;
const MEDIA_TOKENS_MAX: f64 = 200_000.0;
/// Share of cached prompt tokens before any usage is observed: that of the Mooncake conversation trace.
const REUSE_SHARE_DEFAULT: f64 = 0.37;
/// Tokens of a prompt that says something about the share: shorter ones fill hardly a block.
const REUSE_TOKENS_MIN: u64 = 128;
/// Weight of the newest response in the learned share.
const REUSE_WEIGHT: f64 = 0.02;
/// Tokens of a response before any usage is observed: the mean of the Azure conversation trace of 2023 is 211, that of
/// Mooncake's conversations 343.
const OUTPUT_TOKENS_DEFAULT: f64 = 256.0;
/// The longest plausible response, in tokens: the largest contexts of today's models are several times as long.
const OUTPUT_TOKENS_MAX: u64 = 131_072;
/// Weight of the newest response in the learned length.
const OUTPUT_WEIGHT: f64 = 0.02;
/// Relative change of the ratio after which the endpoints' capacities are converted to cells again.
const RATIO_DRIFT_MAX: f64 = 0.05;

/// One pool of a view.
#[derive(Clone, Debug)]
pub struct Pool {
    name: String,
    models: Vec<String>,
    adapters: Vec<String>,
    /// Its models as `/v1/models` of its engines lists them, one JSON object each.
    listed: Vec<String>,
    rewrites: Vec<Rewrite>,
    objectives: Vec<Objective>,
    weight: u32,
    members: Members,
    /// Those of them that take each leg, in the order of [`Leg`].
    taking: [Members; 3],
    transfer: Option<Transfer>,
    hold: Option<Hold>,
    prompt_format: Option<Box<PromptFormat>>,
    /// The same, ready for use.
    format: Option<Arc<Format>>,
    transfers: Transfers,
    /// How it wakes, if the controller has said so.
    wake: Option<Wake>,
    text: TextRatio,
    /// The ratio at which the endpoints' capacities were last converted to cells.
    sized_bytes_per_token: f64,
    media_tokens: [f64; MediaKind::COUNT],
    reuse_share: f64,
    output_tokens: f64,
}

/// What of a request an endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// All of it.
    Whole,
    /// The prompt, to pass its KV on.
    Prefill,
    /// The response, with the KV of another endpoint.
    Decode,
}

/// A model name found in a pool.
#[derive(Clone, Copy, Debug)]
pub struct ModelMatch<'a> {
    /// The pool that serves it.
    pub pool: &'a Pool,
    /// What sets the model's prompts apart from others of the pool: the adapter's name; empty for the base model. Under
    /// `*` the model's name: two names may or may not refer to the same weights.
    pub variant: &'a str,
}

/// The learned ratio of prompt text to tokens, in bytes per token.
#[derive(Clone, Copy, Debug)]
struct TextRatio {
    /// As of the newest prompts: what the next one's will be.
    now: f64,
    /// Over many prompts: what endpoints hold.
    held: f64,
    /// Observations, up to [`RATIO_FIRST`].
    seen: f64,
}

/// Endpoints of a pool.
#[derive(Clone, Debug)]
struct Members {
    slots: Vec<Slot>,
    /// Whether each slot is in `slots`; slots beyond the end are not.
    is_in: Vec<bool>,
}

// === impl Members ===

impl Members {
    fn new(mut slots: Vec<Slot>) -> Self {
        let mut is_in = vec![false; slots.iter().max().map_or(0, |slot| slot.index() + 1)];
        slots.retain(|slot| is_in.get_mut(slot.index()).is_some_and(|is_in| !std::mem::replace(is_in, true)));
        Self { slots, is_in }
    }

    fn has(&self, slot: Slot) -> bool {
        self.is_in.get(slot.index()).copied().unwrap_or(false)
    }
}

// === impl Pool ===

impl Pool {
    /// A pool over `listed` endpoints, which may contain duplicates; it keeps the learned values of `old`.
    pub(super) fn new(pool: &wire::Pool, listed: &[(Slot, Role)], old: Option<&Self>) -> Self {
        let of = |takes: &dyn Fn(Role) -> bool| {
            Members::new(listed.iter().filter(|(_, role)| takes(*role)).map(|(slot, _)| *slot).collect())
        };
        let members = of(&|_| true);
        let is_apart = pool.transfer.is_some();
        let is_bootstrap =
            pool.transfer.as_ref().is_some_and(|it| it.protocol() == TransferProtocol::Bootstrap);
        let mut serving = of(&|role| match role {
            Role::Both => true,
            // SGLang's decode engines cannot compute a prompt.
            Role::Decode => !is_bootstrap,
            Role::Prefill => false,
        });
        if serving.slots.is_empty() && !is_bootstrap {
            // Better a prefill endpoint than none: it can serve, too.
            serving = members.clone();
        }
        let prefilling = of(&|role| is_apart && role != Role::Decode);
        let decoding = of(&|role| is_apart && role != Role::Prefill);
        let taking = [serving, prefilling, decoding];
        Self {
            name: pool.name.clone(),
            models: pool.models.clone(),
            adapters: pool.adapters.clone(),
            listed: pool.listed.clone(),
            rewrites: pool.rewrites.clone(),
            objectives: pool.objectives.clone(),
            weight: pool.weight,
            members,
            taking,
            transfer: pool.transfer.clone(),
            hold: pool.hold.clone(),
            format: old.filter(|old| old.prompt_format == pool.prompt_format).map_or_else(
                || pool.prompt_format.as_deref().map(|format| Arc::new(Format::of(format))),
                |old| old.format.clone(),
            ),
            prompt_format: pool.prompt_format.clone(),
            transfers: old.map(|old| old.transfers.clone()).unwrap_or_default(),
            wake: old.and_then(|old| old.wake),
            text: old.map_or_else(TextRatio::default, |old| old.text),
            sized_bytes_per_token: old.map_or(BYTES_PER_TOKEN_DEFAULT, |old| old.sized_bytes_per_token),
            media_tokens: old.map_or(MEDIA_TOKENS_DEFAULT, |old| old.media_tokens),
            reuse_share: old.map_or(REUSE_SHARE_DEFAULT, |old| old.reuse_share),
            output_tokens: old.map_or(OUTPUT_TOKENS_DEFAULT, |old| old.output_tokens),
        }
    }

    /// Its unique name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its endpoints.
    pub fn slots(&self) -> &[Slot] {
        &self.members.slots
    }

    /// Those that take a leg. Where none takes whole requests but could, all do; none takes part of one where KV is not passed on.
    pub fn taking(&self, leg: Leg) -> &[Slot] {
        &self.members_taking(leg).slots
    }

    /// Whether a request could be sent to it, whole or in legs.
    pub fn has_takers(&self) -> bool {
        let has = |leg| !self.taking(leg).is_empty();
        has(Leg::Whole) || self.transfer.is_some() && has(Leg::Prefill) && has(Leg::Decode)
    }

    /// Whether an endpoint takes a leg.
    pub fn takes(&self, leg: Leg, slot: Slot) -> bool {
        self.members_taking(leg).has(slot)
    }

    fn members_taking(&self, leg: Leg) -> &Members {
        let [whole, prefill, decode] = &self.taking;
        match leg {
            Leg::Whole => whole,
            Leg::Prefill => prefill,
            Leg::Decode => decode,
        }
    }

    /// How its engines pass KV on; `None`: they do not.
    pub fn transfer(&self) -> Option<&Transfer> {
        self.transfer.as_ref()
    }

    /// How long its requests are held; `None`: not at all.
    pub fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// How its engines write prompts; `None`: not known.
    pub fn prompt_format(&self) -> Option<&PromptFormat> {
        self.prompt_format.as_deref()
    }

    /// The same, ready for use.
    pub fn format(&self) -> Option<&Format> {
        self.format.as_deref()
    }

    /// How long that takes.
    pub fn transfers(&self) -> &Transfers {
        &self.transfers
    }

    pub(super) fn learn_transfer(&mut self, pair: (EndpointId, EndpointId), tokens: u64, us: u64) {
        self.transfers.observe(pair, tokens, us);
    }

    /// How it wakes; `None`: not known.
    pub fn wake(&self) -> Option<Wake> {
        self.wake
    }

    pub(super) fn set_wake(&mut self, wake: Option<Wake>) {
        self.wake = wake;
    }

    /// Whether the pool contains an endpoint.
    pub fn has(&self, slot: Slot) -> bool {
        self.members.has(slot)
    }

    /// The base models' names; `*` takes any.
    pub fn models(&self) -> &[String] {
        &self.models
    }

    /// The adapter that a variant of its model is, if it is one.
    pub fn adapter(&self, variant: &str) -> AdapterId {
        let is_adapter = self.adapters.iter().any(|adapter| adapter == variant);
        if is_adapter { AdapterId::of(variant) } else { AdapterId::BASE }
    }

    /// The adapters' names.
    pub fn adapters(&self) -> &[String] {
        &self.adapters
    }

    /// Its models as `/v1/models` of its engines lists them, one JSON object each; empty when the controller does not know.
    pub fn listed(&self) -> &[String] {
        &self.listed
    }

    /// What is requested instead of models that requests name, in order of precedence.
    pub fn rewrites(&self) -> &[Rewrite] {
        &self.rewrites
    }

    /// Every name that requests may use; [`ANY_MODEL`] for any.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let aliases = self.rewrites.iter().map(|rule| rule.model.as_str());
        let aliases = aliases.map(|model| if model.is_empty() { ANY_MODEL } else { model });
        self.models.iter().chain(&self.adapters).map(String::as_str).chain(aliases)
    }

    /// The rule for a model that a request names: one that names it, else one for any.
    pub fn rewrite_of(&self, model: &str) -> Option<&Rewrite> {
        let rule = |name: &str| self.rewrites.iter().find(|rule| rule.model == name);
        rule(model).or_else(|| rule(""))
    }

    /// What keeps the prefixes of a model of its engines apart from those of its others.
    pub fn variant<'a>(&'a self, model: &'a str) -> &'a str {
        if self.models.iter().any(|name| name == model) { "" } else { model }
    }

    /// The priority of requests that name this objective; zero where there is none of that name.
    pub fn priority_of(&self, objective: &str) -> i32 {
        let objective = self.objectives.iter().find(|known| known.name == objective);
        objective.map_or(0, |objective| objective.priority)
    }

    /// The objectives that requests may name.
    pub fn objectives(&self) -> &[Objective] {
        &self.objectives
    }

    /// Its share of the conversations of a model that other pools serve, too.
    pub fn weight(&self) -> u32 {
        self.weight.max(1)
    }

    /// Learned ratio of prompt text to tokens.
    pub fn bytes_per_token(&self) -> f64 {
        self.text.now
    }

    /// The same, averaged over many more prompts: for what an endpoint holds.
    pub(super) fn held_bytes_per_token(&self) -> f64 {
        self.text.held
    }

    /// Learned share of prompt tokens that were in a cache, 0 to 1.
    pub fn reuse_share(&self) -> f64 {
        self.reuse_share
    }

    /// Learned mean length of responses, in tokens.
    pub fn output_tokens(&self) -> f64 {
        self.output_tokens
    }

    /// The number of tokens in `bytes` of prompt text.
    pub fn tokens(&self, bytes: u64) -> u64 {
        count(float(bytes) / self.text.now)
    }

    /// The number of tokens in a prompt of this size.
    pub fn tokens_of(&self, size: Size) -> u64 {
        self.tokens(size.text_bytes).saturating_add(self.media_tokens(size.media))
    }

    /// The number of tokens in parts that are not text.
    pub fn media_tokens(&self, media: Media) -> u64 {
        let parts = media.0.iter().zip(&self.media_tokens);
        count(parts.map(|(parts, tokens)| f64::from(*parts) * tokens).sum())
    }

    /// Records that capacities are converted at the current ratio, and returns it.
    pub(super) fn note_sized(&mut self) -> f64 {
        self.sized_bytes_per_token = self.text.held;
        self.text.held
    }

    /// Whether the converted capacities are outdated.
    pub(super) fn has_drifted(&self) -> bool {
        let drift = (self.text.held - self.sized_bytes_per_token).abs();
        drift > RATIO_DRIFT_MAX * self.sized_bytes_per_token
    }

    pub(super) fn observe(&mut self, usage: &wire::UsageSeen) {
        let tokens = usage.prompt_tokens;
        if let Some(output) = usage.output_tokens.filter(|output| *output > 0) {
            self.output_tokens += OUTPUT_WEIGHT * (float(output.min(OUTPUT_TOKENS_MAX)) - self.output_tokens);
        }
        if tokens >= REUSE_TOKENS_MIN
            && let Some(cached) = usage.cached_tokens
        {
            let share = (float(cached) / float(tokens)).min(1.0);
            self.reuse_share += REUSE_WEIGHT * (share - self.reuse_share);
        }
        let media = Media::from_counts(&usage.media);
        if media.is_empty() {
            if usage.prompt_bytes >= RATIO_BYTES_MIN && tokens > 0 {
                self.text.observe(float(usage.prompt_bytes) / float(tokens));
            }
        } else if let Some((kind, parts)) = media.only_kind()
            && let Some(learned) = self.media_tokens.get_mut(kind)
        {
            let text_tokens = float(usage.prompt_bytes) / self.text.now;
            let seen = (float(tokens) - text_tokens) / f64::from(parts);
            *learned += MEDIA_WEIGHT * (seen.clamp(MEDIA_TOKENS_MIN, MEDIA_TOKENS_MAX) - *learned);
        }
    }

    pub(super) fn matches<'a>(&'a self, model: &str) -> Option<ModelMatch<'a>> {
        if self.models.iter().any(|name| name == model) {
            return Some(ModelMatch { pool: self, variant: "" });
        }
        if let Some(adapter) = self.adapters.iter().find(|name| *name == model) {
            return Some(ModelMatch { pool: self, variant: adapter });
        }
        let is_alias = self.rewrites.iter().any(|rule| !rule.model.is_empty() && rule.model == model);
        is_alias.then_some(ModelMatch { pool: self, variant: "" })
    }

    pub(super) fn takes_any<'a>(&'a self, model: &'a str) -> Option<ModelMatch<'a>> {
        let takes = self.models.iter().any(|name| name == ANY_MODEL)
            || self.rewrites.iter().any(|rule| rule.model.is_empty());
        takes.then_some(ModelMatch { pool: self, variant: model })
    }
}

// === impl TextRatio ===

impl Default for TextRatio {
    fn default() -> Self {
        Self { now: BYTES_PER_TOKEN_DEFAULT, held: BYTES_PER_TOKEN_DEFAULT, seen: 0.0 }
    }
}

impl TextRatio {
    fn observe(&mut self, ratio: f64) {
        let is_first = self.seen < RATIO_FIRST;
        let step = |old: f64, weight: f64| {
            let believable = ratio.clamp(BYTES_PER_TOKEN_MIN, BYTES_PER_TOKEN_MAX);
            if is_first {
                return old + (believable - old) * weight.max(1.0 / (self.seen + 1.0));
            }
            let near = believable.clamp(old / RATIO_FACTOR_MAX, old * RATIO_FACTOR_MAX);
            old + (near - old) * weight
        };
        *self = Self {
            now: step(self.now, RATIO_WEIGHT),
            held: step(self.held, SIZED_WEIGHT),
            seen: (self.seen + 1.0).min(RATIO_FIRST),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> Pool {
        Pool::new(&wire::Pool::default(), &[], None)
    }

    fn seen(prompt_bytes: u64, prompt_tokens: u64, media: &[u32]) -> wire::UsageSeen {
        wire::UsageSeen { prompt_bytes, prompt_tokens, media: media.to_vec(), ..wire::UsageSeen::default() }
    }

    fn teach(pool: &mut Pool, usage: &wire::UsageSeen, times: usize) {
        (0..times).for_each(|_| pool.observe(usage));
    }

    #[test]
    fn images_do_not_make_text_look_dense() {
        let mut pool = pool();
        teach(&mut pool, &seen(40_000, 10_000, &[]), 30);
        teach(&mut pool, &seen(400, 1_300, &[1]), 30);
        assert!((pool.bytes_per_token() - 4.0).abs() < 1e-9);
        let tokens = pool.media_tokens(Media([2, 0, 0, 0]));
        assert!((2_390..2_410).contains(&tokens), "two images of 1,200 tokens: {tokens}");
    }

    #[test]
    fn one_clients_odd_text_does_not_shrink_what_everybody_holds() {
        let mut pool = pool();
        teach(&mut pool, &seen(40_000, 10_000, &[]), 100);
        teach(&mut pool, &seen(10_000, 10_000, &[]), 60);
        assert!(pool.held_bytes_per_token() > 3.3, "{}", pool.held_bytes_per_token());
        teach(&mut pool, &seen(10_000, 10_000, &[]), 2_000);
        assert!(pool.held_bytes_per_token() < 1.1, "in the end it is what the pool's text is");
    }

    #[test]
    fn the_first_responses_replace_what_was_assumed() {
        let mut pool = pool();
        teach(&mut pool, &seen(30_000, 20_000, &[]), 3);
        assert!((pool.held_bytes_per_token() - 1.5).abs() < 1e-9);
    }
}
