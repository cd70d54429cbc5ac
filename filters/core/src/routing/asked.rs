//! What a request asks of its pool's gate.
//!
//! It stands beside the choice, not in the view: the view knows conversations and what endpoints hold, but only the query knows how
//! long a prompt is in tokens.

use super::Query;
use crate::admission::Asked;
use crate::ids::TenantId;
use crate::num::count;

// === impl Query ===

impl Query<'_> {
    /// What the request asks of its pool's gate; `None`: nothing, because no gate follows conversations, it has no prompt to follow,
    /// or only one endpoint can serve it.
    pub fn asked(&self, tenant: TenantId) -> Option<Asked> {
        let (view, pool) = (self.view(), self.pool());
        let tokens = self.prompt_tokens.saturating_add(self.output_tokens());
        let gate = view.admission(pool.name()).filter(|gate| gate.follows(tokens))?;
        // An engine that is passed KV keeps it for a response only.
        if self.chain.is_empty() || self.pinned.is_some() || pool.transfer().is_some() {
            return None;
        }
        let conversation = gate.conversation(&self.chain);
        let shared_tokens = match conversation {
            // What its first prompt shared. Later ones meet branches of their own conversation.
            Some(known) => gate.shared_tokens(known),
            None => self.tokens_in(view.prefixes().shared(&self.chain)),
        };
        let (priority, is_learned) = (self.priority, self.is_learned);
        Some(Asked { conversation, tokens, shared_tokens, tenant, priority, is_learned })
    }

    /// Tokens of the response that is expected. Clients set bounds far above what they expect.
    pub fn output_tokens(&self) -> u64 {
        self.output_tokens_max.unwrap_or(u64::MAX).min(count(self.pool().output_tokens()))
    }
}
