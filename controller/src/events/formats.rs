//! The formats of all pools: read when a pool names its model's files, and again when these change.
//!
//! ```text
//!   follow ─► a task for each model: look ─► read ─► Entry ─► of, fault, changes
//! ```
//!
//! Files are looked at, not watched, for the same reason as the configuration file: a mounted volume swaps a symlink above them. Only
//! their times and sizes are looked at, because a tokenizer has megabytes.
//!
//! Each model has a task of its own, and each look a thread: a network volume that is gone does not fail, it hangs, and must hold up
//! neither another model nor whoever follows the pools. Such a thread cannot be ended, so it is none that the runtime's end waits for.

use super::format::{Note, Stamp, Written, fetch};
use crate::config::Pool;
use std::error::Error;
use std::fmt::Write;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use warmpath_config::Prompt;

/// How long a volume may take for one look, or one read.
const RESPONDS_MAX: Duration = Duration::from_secs(10);
/// Models that are read at once: one takes several times its tokenizer's megabytes meanwhile.
const READS_MAX: usize = 1;
/// The fault of one that takes longer.
const HANGS: &str = "its volume does not respond: check the claim, and the server behind it";

/// See the module.
#[derive(Debug)]
pub struct Formats {
    entries: watch::Sender<Vec<Entry>>,
    /// Sees every change since the start.
    changes: watch::Receiver<Vec<Entry>>,
    readers: Vec<Reader>,
    reads: Arc<Semaphore>,
    /// Time between two looks.
    interval: Duration,
}

/// What is known of one model.
#[derive(Debug)]
pub struct Entry {
    prompt: Prompt,
    /// What was read last without a fault.
    written: Option<Arc<Written>>,
    /// Why the files as they are now are of no use.
    fault: Option<String>,
}

/// The task of one model.
#[derive(Debug)]
struct Reader {
    prompt: Prompt,
    task: AbortHandle,
}

/// What such a task works with.
#[derive(Debug)]
struct Reading {
    prompt: Prompt,
    entries: watch::Sender<Vec<Entry>>,
    reads: Arc<Semaphore>,
}

/// Two looks at the same files.
#[derive(Debug, Default)]
struct Looks {
    /// The files that were read.
    read: Option<Stamp>,
    /// As they were seen last.
    seen: Option<Stamp>,
}

// === impl Formats ===

impl Formats {
    /// Nothing is read yet. `interval` lies between two looks at a model's files.
    pub fn new(interval: Duration) -> Self {
        let (entries, changes) = watch::channel(Vec::new());
        Self { entries, changes, readers: Vec::new(), reads: Arc::new(Semaphore::new(READS_MAX)), interval }
    }

    /// Reads from now on what `pools` name, and nothing else.
    pub fn follow(&mut self, pools: &[Pool]) {
        let prompts: Vec<&Prompt> = pools.iter().filter_map(|pool| pool.prompt.as_ref()).collect();
        self.readers.retain(|reader| prompts.contains(&&reader.prompt));
        self.entries.send_if_modified(|entries| {
            entries.retain(|entry| prompts.contains(&&entry.prompt));
            for prompt in &prompts {
                if entries.iter().all(|entry| entry.prompt != **prompt) {
                    entries.push(Entry { prompt: (*prompt).clone(), written: None, fault: None });
                }
            }
            // Whoever follows the pools knows that they have changed.
            false
        });
        for prompt in prompts {
            if self.readers.iter().all(|reader| reader.prompt != *prompt) {
                let (entries, reads) = (self.entries.clone(), Arc::clone(&self.reads));
                let reading = Reading { prompt: prompt.clone(), entries, reads };
                let task = tokio::spawn(reading.run(self.interval)).abort_handle();
                self.readers.push(Reader { prompt: prompt.clone(), task });
            }
        }
    }

    /// Waits until all that is followed was read, or cannot be; for `max` at most.
    pub async fn known(&self, max: Duration) {
        let mut entries = self.entries.subscribe();
        let is_known = |entry: &Entry| entry.written.is_some() || entry.fault.is_some();
        // What is not known by then follows as a change.
        let _ = timeout(max, entries.wait_for(|entries| entries.iter().all(is_known))).await;
    }

    /// Shows when something else is known than when it was last looked at. The first look sees all since the start.
    pub fn changes(&self) -> watch::Receiver<Vec<Entry>> {
        self.changes.clone()
    }

    /// How a pool's prompts are written, if that is known.
    pub fn of(&self, pool: &Pool) -> Option<Arc<Written>> {
        self.entry(pool, |entry| entry.written.clone())
    }

    /// Why a pool's files are of no use. Those from before count for as long as that is so.
    pub fn fault(&self, pool: &Pool) -> Option<String> {
        self.entry(pool, |entry| entry.fault.clone())
    }

    fn entry<T>(&self, pool: &Pool, read: impl FnOnce(&Entry) -> Option<T>) -> Option<T> {
        let prompt = pool.prompt.as_ref()?;
        self.entries.borrow().iter().find(|entry| entry.prompt == *prompt).and_then(read)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Reading ===

impl Reading {
    /// Looks at the files until it is dropped, and reads them when they have changed.
    async fn run(self, interval: Duration) {
        let mut looks = Looks::default();
        loop {
            let prompt = self.prompt.clone();
            let (stamp, has_hung) = self.wait(None, aside(move || Stamp::of(&prompt))).await;
            if has_hung {
                looks = Looks::default();
            }
            if stamp.is_some_and(|stamp| looks.is_due(stamp)) {
                self.read().await;
            }
            sleep(interval).await;
        }
    }

    async fn read(&self) {
        // What the volume has to bring comes first, so that one that hangs takes nobody's turn.
        let prompt = self.prompt.clone();
        self.wait(None, aside(move || fetch(&prompt))).await;
        let turn = self.reads.acquire().await.ok();
        let prompt = self.prompt.clone();
        let (read, _) = self.wait(turn, aside(move || read(&prompt))).await;
        self.take(read.unwrap_or_else(|| Err("it cannot be read".to_owned())));
    }

    /// Waits for what a volume brings. One that does not respond is a fault for as long, and keeps no turn. Returns whether that was so.
    async fn wait<T>(&self, turn: Option<SemaphorePermit<'_>>, brings: impl Future<Output = T>) -> (T, bool) {
        let mut brings = pin!(brings);
        if let Ok(brought) = timeout(RESPONDS_MAX, &mut brings).await {
            return (brought, false);
        }
        drop(turn);
        self.take(Err(HANGS.to_owned()));
        (brings.await, true)
    }

    fn take(&self, read: Result<Written, String>) {
        self.entries.send_if_modified(|entries| {
            let entry = entries.iter_mut().find(|entry| entry.prompt == self.prompt);
            entry.map(|entry| entry.take(read)).is_some()
        });
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

// === impl Looks ===

impl Looks {
    /// Takes how the files are seen. Returns whether they are to be read: a change counts once two looks agree, so that no file is read
    /// half written.
    fn is_due(&mut self, stamp: Stamp) -> bool {
        let is_settled = self.read.is_none() || self.seen.as_ref() == Some(&stamp);
        let is_due = is_settled && self.read.as_ref() != Some(&stamp);
        if is_due {
            self.read = Some(stamp.clone());
        }
        self.seen = Some(stamp);
        is_due
    }
}

/// Runs in a thread of its own; nothing comes of one that cannot be started, or panics.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    let work = move || {
        // Nobody may wait for it any more.
        let _ = sender.send(work());
    };
    thread::Builder::new().name("formats".to_owned()).spawn(work).ok()?;
    receiver.await.ok()
}

/// Reads the files. The fault comes with its causes.
fn read(prompt: &Prompt) -> Result<Written, String> {
    Written::read(prompt).map_err(|error| {
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

#[cfg(test)]
mod tests {
    use super::{Looks, Stamp};
    use std::path::Path;
    use warmpath_config::Prompt;

    #[test]
    fn a_file_that_may_be_half_written_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(directory.path().join("tokenizer.json"), text).unwrap();
        let stamp = |path: &Path| {
            Stamp::of(&Prompt { tokenizer: path.to_string_lossy().into_owned(), ..Prompt::default() })
        };
        let mut looks = Looks::default();
        let mut is_due = || looks.is_due(stamp(directory.path()));
        write("a");
        assert!(is_due() && !is_due());
        write("ab");
        assert!(!is_due(), "it may grow");
        assert!(is_due() && !is_due());
    }
}
