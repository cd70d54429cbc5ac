//! Where the keys and values of prompts came from, as vLLM's `prompt_tokens_by_source` counts them.
//!
//! Counted with the first token of a request, and not with its admission: the sum is `prompt_tokens`, at any moment.

/// Tokens of prompts by source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PromptSources {
    /// Computed here.
    pub(super) computed: u64,
    /// Found in the cache on the GPU.
    pub(super) found: u64,
    /// Fetched from the engine that computed them.
    pub(super) transferred: u64,
}

// === impl PromptSources ===

impl PromptSources {
    /// A prompt that is computed, unless more becomes known of it.
    pub(super) fn of_prompt(tokens: usize) -> Self {
        Self { computed: tokens as u64, ..Self::default() }
    }

    /// The cache had so many of a prompt's tokens.
    pub(super) fn found(&mut self, tokens: usize) {
        self.found = tokens as u64;
        self.computed = self.computed.saturating_sub(self.found);
    }

    /// Another engine had so many of a prompt's tokens.
    pub(super) fn transferred(&mut self, tokens: usize) {
        self.transferred = tokens as u64;
        self.computed = self.computed.saturating_sub(self.transferred);
    }

    /// Adds a prompt to a sum.
    pub(super) fn add(&mut self, prompt: Self) {
        self.computed += prompt.computed;
        self.found += prompt.found;
        self.transferred += prompt.transferred;
    }
}
