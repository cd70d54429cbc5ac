//! Whose KV events are followed: those of the engines of pools whose prompts can be written as the engines see them. The
//! tokens of others are no text.
//!
//! Engines of a pool whose text has turned out to be wrong are followed all the same, so that people see what else there is to mend;
//! proxies are sent nothing of it.

use crate::clock::Clock;
use crate::config::Pool;
use crate::events::format::Written;
use crate::events::formats::Formats;
use crate::events::knowledge::{Knowledge, PromptSeen};
use crate::events::reporter::{Reporter, Seen, Target, Targets};
use crate::events::{Board, Feeds, Followed, Sources};
use crate::metrics::Metrics;
use crate::publish::{Cached, Shared};
use crate::run::verdicts::{Verdict, Verdicts};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use warmpath_config::KvEvents;
use warmpath_core::ids::EndpointId;
use warmpath_core::wire::Trust;

/// The feeds, and the task that takes their reports.
#[derive(Debug)]
pub(super) struct Caches {
    feeds: Feeds,
    targets: watch::Sender<Targets>,
    knowledge: Knowledge,
    /// Pools whose prompts turned out to be other ones than their engines'.
    verdicts: Verdicts,
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
        let knowledge = Knowledge::new(feeds.board(), reporter.caches());
        let caches = Self { feeds, targets, knowledge, verdicts: Verdicts::default() };
        (caches, tokio::spawn(reporter.run()))
    }

    /// Takes the connections of engines that connect.
    pub(super) fn listen(&mut self, listener: TcpListener) {
        self.feeds.listen(listener);
    }

    /// What is seen of the feeds.
    pub(super) fn board(&self) -> Board {
        self.feeds.board()
    }

    /// What is known, for people.
    pub(super) fn knowledge(&self) -> Knowledge {
        self.knowledge.clone()
    }

    /// How a pool's prompts are written, unless that has turned out to be wrong.
    pub(super) fn written<'a>(&self, pool: &Pool, formats: &'a Formats) -> Option<&'a Arc<Written>> {
        let written = formats.of(pool)?;
        self.verdict(pool, written).is_none().then_some(written)
    }

    fn verdict(&self, pool: &Pool, written: &Written) -> Option<&Verdict> {
        self.verdicts.of(&pool.name, written.revision)
    }

    /// Compares what engines found in their caches with what was expected there, in pools whose engines report all that they hold.
    /// Returns whether a pool goes back to what is learned, or is tried again. Of engines that have reported nothing yet it is not
    /// the text that is in doubt.
    pub(super) fn judge(&mut self, shared: &Shared, pools: &[Pool], formats: &Formats, now: Instant) -> bool {
        self.verdicts.retain(|name| pools.iter().any(|pool| pool.name == name));
        let mut is_changed = self.verdicts.expire(now);
        for pool in pools {
            let Some(revision) = self.written(pool, formats).map(|written| written.revision) else {
                continue;
            };
            let whole = |address: &&SocketAddr| {
                let is_known = |seen: Seen| seen.trust == Trust::Whole && seen.counts.stored > 0;
                self.knowledge.cache(**address).is_some_and(is_known)
            };
            let addresses: Vec<SocketAddr> = pool.endpoints.iter().map(|member| member.address).collect();
            let usage = shared.with(|hub, now| {
                let of = |address: &SocketAddr| hub.cached_at(EndpointId::of(&address.to_string()), now);
                addresses.iter().filter(whole).map(of).fold(Cached::default(), Cached::and)
            });
            if usage.is_unexpected() {
                let pool = &pool.name;
                let (cached, expected) = (usage.cached_tokens.round(), usage.expected_tokens.round());
                tracing::error!(
                    pool,
                    cached,
                    expected,
                    "engines find prompts in their caches that their reports do not show: prompts are routed by what is \
                     learned for a while. Check prompt.tokenizer and the chat template against what the engines load"
                );
                let seen = format!("they found {cached} tokens, of which their reports showed {expected}");
                self.verdicts.add(pool, revision, seen, now);
                is_changed = true;
            }
        }
        is_changed
    }

    /// Shows people how the pools' prompts are written.
    fn show(&self, pools: &[Pool], formats: &Formats) {
        let named = pools.iter().filter_map(|pool| Some((pool, pool.prompt.as_ref()?)));
        let seen = named.map(|(pool, prompt)| {
            let known = formats.of(pool);
            let mismatch = known.and_then(|written| self.verdict(pool, written));
            let seen = PromptSeen {
                tokenizer: prompt.tokenizer.clone(),
                is_written: known.is_some() && mismatch.is_none(),
                fault: formats.fault(pool).map(str::to_owned),
                mismatch: mismatch.map(Verdict::seen),
                notes: known.iter().flat_map(|written| &written.notes).map(|note| note.text()).collect(),
            };
            (pool.name.clone(), seen)
        });
        self.knowledge.set_prompts(seen.collect());
    }

    /// Follows the engines of these pools from now on.
    pub(super) fn follow(&mut self, pools: &[Pool], formats: &Formats) {
        let mut targets = Targets::default();
        let mut followed = Vec::new();
        for pool in pools.iter().filter(|pool| pool.kv_events != KvEvents::Off) {
            let Some(written) = formats.of(pool) else { continue };
            let is_withheld = self.verdict(pool, written).is_some();
            let sources = Sources::of(&pool.kv_events);
            for member in &pool.endpoints {
                let (pool, written) = (pool.name.clone(), Arc::clone(written));
                // Another tokenizer makes other text of all that has come: it has to come again. So has what was withheld.
                let identity = member.identity ^ written.revision ^ u64::from(is_withheld);
                targets.insert(member.address, Target { identity, pool, written, is_withheld });
                followed.push((member.address, Followed { identity, sources: sources.clone() }));
            }
        }
        // First those who take the reports, so that none is lost.
        self.targets.send_replace(targets);
        self.feeds.follow(followed);
        self.show(pools, formats);
    }
}
