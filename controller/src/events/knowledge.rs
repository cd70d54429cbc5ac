//! What is known of engines' caches and how, for people: `/state`, metrics and `warmpath check`.

use super::board::{Board, Seen as Feed};
use super::reporter::{Caches, Seen};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// See the module. Its copies share one state.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    board: Board,
    caches: Caches,
    prompts: Arc<Mutex<BTreeMap<String, PromptSeen>>>,
}

/// How a pool's prompts are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromptSeen {
    /// The files that it names.
    pub tokenizer: String,
    /// Whether proxies write prompts as the engines do.
    pub is_written: bool,
    /// Why its files are of no use.
    pub fault: Option<String>,
    /// Why it is not used: what shows that the engines' prompts are other ones. And when it is tried again.
    pub mismatch: Option<(String, Instant)>,
    /// What does not work with it.
    pub notes: Vec<&'static str>,
}

// === impl Knowledge ===

impl Knowledge {
    /// Of these feeds, and of what became of their reports.
    pub fn new(board: Board, caches: Caches) -> Self {
        Self { board, caches, prompts: Arc::default() }
    }

    /// What became of the reports of an engine.
    pub fn cache(&self, address: SocketAddr) -> Option<Seen> {
        self.caches.seen(address)
    }

    /// The feeds of an engine, by rank.
    pub fn feeds(&self, address: SocketAddr) -> Vec<(u32, Feed)> {
        self.board.seen(address)
    }

    /// What became of all blocks.
    pub fn caches(&self) -> &Caches {
        &self.caches
    }

    /// How the prompts of a pool are written; none if it does not say.
    pub fn prompt(&self, pool: &str) -> Option<PromptSeen> {
        self.lock().get(pool).cloned()
    }

    /// Of all pools that say it.
    pub fn prompts(&self) -> BTreeMap<String, PromptSeen> {
        self.lock().clone()
    }

    /// Replaces what is known of pools' prompts.
    pub fn set_prompts(&self, prompts: BTreeMap<String, PromptSeen>) {
        *self.lock() = prompts;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, PromptSeen>> {
        // No update leaves it half done.
        self.prompts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
