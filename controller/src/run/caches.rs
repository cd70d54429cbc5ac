//! Whose KV events are followed: those of the engines of pools whose prompts can be written as the engines see them. The
//! tokens of others are no text.

use crate::clock::Clock;
use crate::config::Pool;
use crate::events::formats::Formats;
use crate::events::reporter::{Reporter, Target, Targets};
use crate::events::{Board, Feeds, Followed, Sources};
use crate::metrics::Metrics;
use crate::publish::Shared;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The feeds, and the task that takes their reports.
#[derive(Debug)]
pub(super) struct Caches {
    feeds: Feeds,
    targets: watch::Sender<Targets>,
}

// === impl Caches ===

impl Caches {
    /// Nothing is followed yet. The task publishes what is reported.
    pub(super) fn start(
        shared: &Shared,
        metrics: &Arc<Metrics>,
        clock: Clock,
        cell_bytes: usize,
    ) -> (Self, JoinHandle<()>) {
        let (feeds, reports) = Feeds::new(Arc::clone(metrics), clock);
        let (targets, targeted) = watch::channel(Targets::default());
        let lines = feeds.lines();
        let filled = move |endpoint, rank| lines.filled(endpoint, rank);
        let reporter = Reporter::new(shared.clone(), clock, cell_bytes, reports, targeted, filled);
        (Self { feeds, targets }, tokio::spawn(reporter.run()))
    }

    /// Takes the connections of engines that connect.
    pub(super) fn listen(&mut self, listener: TcpListener) {
        self.feeds.listen(listener);
    }

    /// What is seen of the feeds.
    pub(super) fn board(&self) -> Board {
        self.feeds.board()
    }

    /// Follows the engines of these pools from now on.
    pub(super) fn follow(&mut self, pools: &[Pool], formats: &Formats) {
        let mut targets = Targets::default();
        let mut followed = Vec::new();
        for pool in pools {
            let Some(written) = formats.of(pool) else { continue };
            let sources = Sources::of(&pool.kv_events);
            for member in &pool.endpoints {
                let (pool, written) = (pool.name.clone(), Arc::clone(written));
                // Another tokenizer makes other text of all that has come: it has to come again.
                let identity = member.identity ^ written.revision;
                targets.insert(member.address, Target { identity, pool, written });
                followed.push((member.address, Followed { identity, sources: sources.clone() }));
            }
        }
        // First those who take the reports, so that none is lost.
        self.targets.send_replace(targets);
        self.feeds.follow(followed);
    }
}
