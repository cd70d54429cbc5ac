//! Why requests are treated as they are: what metrics count, and responses say. Their names are in [`super::metrics`].

use crate::prompt::PromptError;
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
    /// The prefill engines of its pool hand nothing over.
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
