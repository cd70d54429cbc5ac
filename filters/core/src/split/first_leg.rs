//! The copy of a request that only computes its prompt: one token, in one piece.
//!
//! Nothing that shapes the prompt may change, or the KV would be another prompt's: `tools` and `tool_choice` stay, because chat
//! templates print them.

use super::NotEditable;
use crate::json::{Change, Edits};
use crate::prompt::Api;

/// What is changed whatever the format: no stream, and no token more than the first.
const COMMON: [(&str, Change<'static>); 3] =
    [("stream", Change::Set("false")), ("stream_options", Change::Remove), ("min_tokens", Change::Remove)];

/// A limit of one token.
const ONE: Change<'static> = Change::Set("1");

/// The copy, with `added` changes, and with changes of `sampling` where the format keeps its settings apart.
pub(super) fn first_leg(
    api: Api,
    body: &[u8],
    added: &[(&str, Change<'_>)],
    sampling: &[(&str, Change<'_>)],
) -> Result<Vec<u8>, NotEditable> {
    let sampling: Vec<_> = [("max_tokens", ONE), ("min_tokens", Change::Remove)]
        .into_iter()
        .chain(sampling.iter().copied())
        .collect();
    let mut changes: Vec<(&str, Change<'_>)> = COMMON.to_vec();
    match api {
        // A client that sets only one of them means both, and engines take the second before the first.
        Api::Chat => changes.extend([("max_tokens", ONE), ("max_completion_tokens", ONE)]),
        Api::Completions | Api::Messages => changes.push(("max_tokens", ONE)),
        // Its one token is nobody's response.
        Api::Responses => changes.extend([("max_output_tokens", ONE), ("store", Change::Set("false"))]),
        Api::Generate => {
            changes.push(("sampling_params", Change::Within(&sampling)));
        }
        Api::CountTokens | Api::Inputs | Api::Pairs | Api::ModelOnly => return Err(NotEditable),
    }
    changes.extend(added);
    Ok(Edits::of(body, &changes)?.apply(body))
}

/// A body with `added` fields and nothing else changed.
pub(super) fn with_fields(body: &[u8], added: &[(&str, &str)]) -> Result<Vec<u8>, NotEditable> {
    let changes: Vec<(&str, Change<'_>)> =
        added.iter().map(|(name, value)| (*name, Change::Set(value))).collect();
    Ok(Edits::of(body, &changes)?.apply(body))
}
