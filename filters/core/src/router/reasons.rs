//! Why requests are treated as they are: what metrics count, and responses say, with their names.

use crate::prompt::{PromptError, Unwritten};
use crate::routing::Unsplit;
use crate::split::{HandoverError, Whole};

/// Why a request's prompt was not read; the request was routed by load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The body could not be read as the format that its path names.
    Prompt(PromptError),
    /// The body is compressed.
    Encoded,
    /// The body is neither JSON nor a form.
    NotJson,
    /// The body is a malformed form.
    Form,
    /// There is no body, or none that could hold a prompt.
    NoBody,
    /// The proxy withholds the body.
    Withheld,
}

/// Why a request whose pool passes KV on was not split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaysWhole {
    /// What it would cost.
    Cost(Unsplit),
    /// What its body says.
    Body(Whole),
    /// Its body was not read as JSON.
    Unread,
    /// A field could not be added to its body, or its pool's protocol is none that is known here.
    NotEditable,
    /// The prefill engines of its pool hand nothing over, or its decode engines fail with what they do.
    NoHandover,
    /// No cluster is known through which its prefill leg would reach the pool's endpoints.
    NoCluster,
}

/// Why a prefill leg has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegFailure {
    /// The request itself is wrong.
    Refused,
    /// The endpoint does not serve such requests.
    Rejected,
    /// It is full.
    Full,
    /// It has failed.
    Faulty,
    /// It could not be reached.
    Unreachable,
    /// It took too long.
    Silent,
    /// Its response hands nothing over.
    Handover(HandoverError),
}

/// How the hold of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    /// It goes on.
    Resumed,
    /// The router responds to it.
    Refused,
    /// Its client has left, or the proxy has responded.
    Left,
}

/// Why a request is not held, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHeld {
    /// It would have to wait for much longer than its pool allows.
    Crowded,
    /// The proxy holds as much as it may.
    Full,
    /// The same, and a more important one takes its place.
    Shed,
    /// It has waited for as long as its pool allows.
    Expired,
}

// === impl StaysWhole ===

impl StaysWhole {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cost(Unsplit::WholeIsCheaper) => "warmpath.whole.cheaper",
            Self::Cost(Unsplit::NoPrefill) => "warmpath.whole.no_prefill_endpoint",
            Self::Cost(Unsplit::NoDecode) => "warmpath.whole.no_decode_endpoint",
            Self::Body(Whole::Format) => "warmpath.whole.format",
            Self::Body(Whole::Unreadable) => "warmpath.whole.unreadable",
            Self::Body(Whole::OneToken) => "warmpath.whole.one_token",
            Self::Body(Whole::Choices) => "warmpath.whole.choices",
            Self::Body(Whole::Prompts) => "warmpath.whole.prompts",
            Self::Body(Whole::PromptLogprobs) => "warmpath.whole.prompt_logprobs",
            Self::Body(Whole::Stored) => "warmpath.whole.stored",
            Self::Unread => "warmpath.whole.unread",
            Self::NotEditable => "warmpath.whole.not_editable",
            Self::NoCluster => "warmpath.whole.no_cluster",
            Self::NoHandover => "warmpath.whole.no_handover",
        }
    }
}

// === impl LegFailure ===

impl LegFailure {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Refused => "warmpath.prefill_leg.refused",
            Self::Rejected => "warmpath.prefill_leg.rejected",
            Self::Full => "warmpath.prefill_leg.full",
            Self::Faulty => "warmpath.prefill_leg.faulty",
            Self::Unreachable => "warmpath.prefill_leg.unreachable",
            Self::Silent => "warmpath.prefill_leg.silent",
            Self::Handover(HandoverError::Unreadable) => "warmpath.prefill_leg.handover_unreadable",
            Self::Handover(HandoverError::Absent) => "warmpath.prefill_leg.handover_absent",
            Self::Handover(HandoverError::TooLarge) => "warmpath.prefill_leg.handover_too_large",
        }
    }
}

// === impl Unread ===

impl Unread {
    /// Whether the body may nevertheless hold a prompt.
    pub(super) fn hides_prompt(self) -> bool {
        matches!(self, Self::Encoded | Self::Prompt(PromptError::TooLarge) | Self::Withheld)
    }

    /// Its stable name in responses.
    pub(super) fn label(self) -> &'static str {
        let name = self.name();
        name.rsplit_once('.').map_or(name, |(_, label)| label)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Prompt(PromptError::Empty) => "warmpath.unread.empty",
            Self::Prompt(PromptError::TooLarge) => "warmpath.unread.too_large",
            Self::Prompt(PromptError::Truncated) => "warmpath.unread.truncated",
            Self::Prompt(PromptError::NotUtf8) => "warmpath.unread.not_utf8",
            Self::Prompt(PromptError::NotJson) => "warmpath.unread.not_json",
            Self::Prompt(PromptError::WrongShape) => "warmpath.unread.wrong_shape",
            Self::Prompt(PromptError::TooDeep) => "warmpath.unread.too_deep",
            Self::Encoded => "warmpath.unread.encoded",
            Self::NotJson => "warmpath.unread.content_type",
            Self::Form => "warmpath.unread.form",
            Self::NoBody => "warmpath.unread.no_body",
            Self::Withheld => "warmpath.unread.withheld",
        }
    }
}

// === impl Unwritten ===

impl Unwritten {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Api => "warmpath.unwritten.api",
            Self::Stored => "warmpath.unwritten.stored",
            Self::Tokens => "warmpath.unwritten.tokens",
            Self::NoTemplate => "warmpath.unwritten.no_template",
            Self::Media => "warmpath.unwritten.media",
            Self::Malformed => "warmpath.unwritten.malformed",
            Self::Arguments => "warmpath.unwritten.arguments",
            Self::Role => "warmpath.unwritten.role",
            Self::Uncovered => "warmpath.unwritten.uncovered",
            Self::Guarded => "warmpath.unwritten.guarded",
            Self::NoClock => "warmpath.unwritten.no_clock",
        }
    }
}
