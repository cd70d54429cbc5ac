//! The formats of all pools: read when a pool names its model's files, and again when these change.
//!
//! Files are looked at, not watched, for the same reason as the configuration file: a mounted volume swaps a symlink above them. Only
//! their times and sizes are looked at, because a tokenizer has megabytes.

use super::format::{Note, Stamp, Written};
use crate::config::Pool;
use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;
use warmpath_config::Prompt;

/// See the module.
#[derive(Debug, Default)]
pub struct Formats {
    read: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    prompt: Prompt,
    /// Of the files that were read.
    stamp: Stamp,
    /// As they were seen last: a change counts once two looks agree, so that no file is read half written.
    seen: Stamp,
    /// What was read last without a fault.
    written: Option<Arc<Written>>,
    /// Why the files as they are now are of no use.
    fault: Option<String>,
}

// === impl Formats ===

impl Formats {
    /// Reads what `pools` name and is not known, or has changed. Returns whether anything is different now.
    pub async fn refresh(&mut self, pools: &[Pool]) -> bool {
        let prompts: Vec<&Prompt> = pools.iter().filter_map(|pool| pool.prompt.as_ref()).collect();
        let before = self.read.len();
        self.read.retain(|entry| prompts.contains(&&entry.prompt));
        let mut is_changed = self.read.len() != before;
        for prompt in prompts {
            let known = self.read.iter_mut().find(|entry| entry.prompt == *prompt);
            let of = prompt.clone();
            // A network volume may take its time.
            let Ok(stamp) = tokio::task::spawn_blocking(move || Stamp::of(&of)).await else { continue };
            if let Some(entry) = known {
                let is_settled = entry.seen == stamp;
                entry.seen = stamp.clone();
                if entry.stamp == stamp || !is_settled {
                    continue;
                }
                entry.stamp = stamp;
                entry.take(read(prompt.clone()).await);
            } else {
                let mut entry =
                    Entry { prompt: prompt.clone(), seen: stamp.clone(), stamp, written: None, fault: None };
                entry.take(read(prompt.clone()).await);
                self.read.push(entry);
            }
            is_changed = true;
        }
        is_changed
    }

    /// How a pool's prompts are written, if that is known.
    pub fn of(&self, pool: &Pool) -> Option<&Arc<Written>> {
        self.entry(pool)?.written.as_ref()
    }

    /// Why a pool's files are of no use. Those from before count for as long as that is so.
    pub fn fault(&self, pool: &Pool) -> Option<&str> {
        self.entry(pool)?.fault.as_deref()
    }

    fn entry(&self, pool: &Pool) -> Option<&Entry> {
        let prompt = pool.prompt.as_ref()?;
        self.read.iter().find(|entry| entry.prompt == *prompt)
    }
}

// === impl Entry ===

impl Entry {
    fn take(&mut self, read: Result<Written, String>) {
        let tokenizer = &self.prompt.tokenizer;
        match read {
            Ok(written) => {
                let notes: Vec<&str> = written.notes.iter().copied().map(Note::text).collect();
                tracing::info!(
                    tokenizer,
                    tokens = written.tokens.len(),
                    notes = notes.join("; "),
                    "read a tokenizer"
                );
                self.written = Some(Arc::new(written));
                self.fault = None;
            }
            Err(fault) => {
                tracing::error!(tokenizer, fault, "no prompt format: what engines report cannot be used");
                self.fault = Some(fault);
            }
        }
    }
}

/// Reads the files where waiting for them holds up nobody. The fault comes with its causes.
async fn read(prompt: Prompt) -> Result<Written, String> {
    let read = tokio::task::spawn_blocking(move || Written::read(&prompt)).await;
    read.map_err(|error| error.to_string())?.map_err(|error| {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            // Writing into a String cannot fail.
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        text
    })
}
