//! A request in two legs: one engine computes the prompt (prefill), another one generates (decode), with the KV that it gets from
//! the first.
//!
//! ```text
//!   body ─► whole::reason (can it be split?) ─┐
//!                                             ├─► Legs ─┬─ prefill: body ─► engine P ─► response ─► Handover
//!   Protocol (of the engines) ────────────────┘         └─ decode:  body with the Handover ─► engine D ─► client
//! ```
//!
//! Everybody else gives this to a sidecar beside each decode engine, which then is one more process to deploy, upgrade and lose.
//! Here it is text in, text out: which bytes go to which engine, in which order, and what a response means. Pure; the router
//! owns the waiting, the alternates and the time limits.
//!
//! A body is edited as text, never parsed and printed again: the decode leg is byte for byte what the client sent plus what the
//! protocol adds, and no setting that is not known here can be lost.

mod bootstrap;
mod context_first;
mod first_leg;
mod handover;
mod pull;
mod push;
#[cfg(test)]
mod tests;
mod whole;

pub use bootstrap::{BOOTSTRAP_PORT_DEFAULT, Bootstrap};
pub use handover::{Handover, HandoverError};
pub use push::Push;
pub use whole::{Whole, reason};

use crate::json::JsonError;
use crate::prompt::Api;

/// How engines pass KV on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// vLLM with a connector that reads (NIXL): the decode engine pulls what the response of the prefill engine names.
    Pull,
    /// vLLM with a connector that writes (Mooncake): both legs run at once and find each other by a name.
    Push(Push),
    /// SGLang: both legs run at once and meet in a room of the prefill engine's bootstrap server.
    Bootstrap(Bootstrap),
    /// TensorRT-LLM: the context first; its response has the first token too.
    ContextFirst,
}

/// When the decode leg starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// When the prefill leg has ended, with what its response says.
    AfterPrefill,
    /// With the prefill leg.
    Together,
}

/// Why a leg's body could not be made. The request is then not split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotEditable;

// === impl Protocol ===

impl Protocol {
    /// When the decode leg starts.
    pub fn order(&self) -> Order {
        match self {
            Self::Pull | Self::ContextFirst => Order::AfterPrefill,
            Self::Push(_) | Self::Bootstrap(_) => Order::Together,
        }
    }

    /// The body of the prefill leg.
    pub fn prefill(&self, api: Api, body: &[u8]) -> Result<Vec<u8>, NotEditable> {
        match self {
            Self::Pull => pull::prefill(api, body),
            Self::Push(push) => push.prefill(api, body),
            Self::Bootstrap(room) => room.body(body),
            Self::ContextFirst => context_first::prefill(body),
        }
    }

    /// What the response of the prefill leg hands over. Not for legs that run together: they have agreed before.
    pub fn handover(&self, response: &[u8]) -> Result<Handover, HandoverError> {
        match self {
            Self::Pull => pull::handover(response),
            Self::ContextFirst => context_first::handover(response),
            Self::Push(_) | Self::Bootstrap(_) => Ok(Handover::Agreed),
        }
    }

    /// The body of the decode leg.
    pub fn decode(&self, api: Api, body: &[u8], handover: &Handover) -> Result<Vec<u8>, NotEditable> {
        match (self, handover) {
            (Self::Pull, Handover::Transfer(params)) => pull::decode(body, params),
            (Self::Push(push), _) => push.decode(body),
            (Self::Bootstrap(room), _) => room.body(body),
            (Self::ContextFirst, Handover::Context { params, prompt_token_ids }) => {
                context_first::decode(api, body, params, prompt_token_ids.as_deref())
            }
            (Self::Pull | Self::ContextFirst, _) => Err(NotEditable),
        }
    }
}

impl From<JsonError> for NotEditable {
    fn from(_: JsonError) -> Self {
        Self
    }
}
