//! Prompts whose blocks wait for another engine, and the engines that wait for prompts.
//!
//! Each protocol has another name for a transfer: NIXL the request's id at the prefill engine, Mooncake a name that the router
//! made up, SGLang a room, TensorRT-LLM the context's number. What happens under the name is the same: the decode engine
//! claims it, renews its claim while it waits for room, and at last fetches it or gives it up.

use crate::model::{RequestId, Root};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// What a prefill engine says of a prompt that it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::server) struct Slip {
    /// The prompt's fingerprint, from which its output follows: whoever fetches the keys and values of another prompt
    /// generates that prompt's output.
    pub(in crate::server) fingerprint: u64,
    /// Length of the prompt.
    pub(in crate::server) prompt_tokens: usize,
    /// Tokens of it that the prefill engine's cache held.
    pub(in crate::server) cached_tokens: usize,
    /// How long it is kept without a sign of the decode engine, in milliseconds of the wall.
    pub(in crate::server) lease_ms: u64,
    /// Whether it is not kept any more: what is read are the keys and values of whatever is there now.
    pub(in crate::server) is_stale: bool,
}

// === impl Slip ===

impl Slip {
    /// What is read where nothing is kept: a prompt that nobody has sent.
    pub(in crate::server) fn stale(name: &str) -> Self {
        let fingerprint = Root::new("stale", "", "").fingerprint(name.as_bytes());
        Self { fingerprint, prompt_tokens: usize::MAX, cached_tokens: 0, lease_ms: u64::MAX, is_stale: true }
    }
}

/// A prompt that waits.
#[derive(Debug)]
struct Kept {
    id: RequestId,
    slip: Slip,
    /// What the response handed over, if it did.
    handover: Value,
    /// Whether an engine has said that it wants it.
    is_claimed: bool,
    fetched: oneshot::Sender<()>,
}

/// Everything that one engine keeps for others, by the name of the transfer.
#[derive(Debug, Default)]
pub(in crate::server) struct KeptPrompts {
    by_name: BTreeMap<String, Kept>,
    /// How many engines wait for each name.
    awaited: BTreeMap<String, usize>,
}

// === impl KeptPrompts ===

impl KeptPrompts {
    /// Keeps a prompt. The receiver gets its value when the prompt was fetched, and an error when it will not be.
    pub(in crate::server) fn keep(
        &mut self,
        name: String,
        id: RequestId,
        slip: Slip,
        handover: Value,
    ) -> oneshot::Receiver<()> {
        let (fetched, ended) = oneshot::channel();
        self.by_name.insert(name, Kept { id, slip, handover, is_claimed: false, fetched });
        ended
    }

    /// Who holds the blocks under this name, what there is to say of them, and what the response said.
    pub(in crate::server) fn find(&self, name: &str) -> Option<(RequestId, Slip, &Value)> {
        self.by_name.get(name).map(|kept| (kept.id, kept.slip, &kept.handover))
    }

    /// An engine wants the prompt of this name.
    pub(in crate::server) fn claim(&mut self, name: &str) {
        if let Some(kept) = self.by_name.get_mut(name) {
            kept.is_claimed = true;
        }
    }

    /// Ends a transfer; returns who held the blocks.
    pub(in crate::server) fn end(&mut self, name: &str, is_fetched: bool) -> Option<RequestId> {
        let kept = self.by_name.remove(name)?;
        if is_fetched {
            // Nobody listens where the response has been sent long ago.
            let _ = kept.fetched.send(());
        }
        Some(kept.id)
    }

    /// The lease of a request's blocks is over.
    pub(in crate::server) fn expired(&mut self, id: RequestId) {
        self.by_name.retain(|_, kept| kept.id != id);
    }

    /// An engine begins to wait for a name.
    pub(in crate::server) fn join(&mut self, name: &str) {
        *self.awaited.entry(name.to_owned()).or_default() += 1;
    }

    /// An engine waits no longer.
    pub(in crate::server) fn leave(&mut self, name: &str) {
        let Some(waiting) = self.awaited.get_mut(name) else { return };
        *waiting -= 1;
        if *waiting == 0 {
            self.awaited.remove(name);
        }
    }

    /// Whether an engine waits for this name.
    pub(in crate::server) fn is_awaited(&self, name: &str) -> bool {
        self.awaited.contains_key(name)
    }

    /// How many names engines wait for.
    pub(in crate::server) fn awaited(&self) -> usize {
        self.awaited.len()
    }

    /// Whether an engine waits for this name, or has claimed it.
    pub(in crate::server) fn is_claimed(&self, name: &str) -> bool {
        self.is_awaited(name) || self.by_name.get(name).is_none_or(|kept| kept.is_claimed)
    }
}
