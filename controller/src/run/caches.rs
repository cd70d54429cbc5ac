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
use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use warmpath_config::KvEvents;
use warmpath_core::ids::EndpointId;
use warmpath_core::wire::Trust;
use xxhash_rust::xxh3::xxh3_64;

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
    pub(super) fn written(&self, pool: &Pool, formats: &Formats) -> Option<Arc<Written>> {
        let written = formats.of(pool)?;
        self.verdict(pool, &written).is_none().then_some(written)
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
            let mismatch = known.as_ref().and_then(|written| self.verdict(pool, written));
            let seen = PromptSeen {
                tokenizer: prompt.tokenizer.clone(),
                is_written: known.is_some() && mismatch.is_none(),
                fault: formats.fault(pool).or_else(|| shared_ip(pool).map(is_shared)),
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
        let is_followed = |pool: &&Pool| pool.kv_events != KvEvents::Off && shared_ip(pool).is_none();
        for pool in pools.iter().filter(is_followed) {
            let Some(written) = formats.of(pool) else { continue };
            let is_withheld = self.verdict(pool, &written).is_some();
            let sources = Sources::of(&pool.kv_events);
            for member in &pool.endpoints {
                // Of an engine in several pools, the first one's: there is one feed of it.
                let Entry::Vacant(vacant) = targets.entry(member.address) else { continue };
                let (pool, written) = (pool.name.clone(), Arc::clone(&written));
                let identity = identity(member.identity, &pool, written.revision, is_withheld);
                vacant.insert(Target { identity, pool, written, is_withheld });
                followed.push((member.address, Followed { identity, sources: sources.clone() }));
            }
        }
        // First those who take the reports, so that none is lost.
        self.targets.send_replace(targets);
        self.feeds.follow(followed);
        self.show(pools, formats);
    }
}

/// The IP address that several endpoints of a pool have whose engines publish at configured ports: each would be followed at the same one,
/// and requests sent to engines for what another one holds.
fn shared_ip(pool: &Pool) -> Option<IpAddr> {
    let KvEvents::Ports(_) = pool.kv_events else { return None };
    let mut seen = BTreeSet::new();
    pool.endpoints.iter().map(|member| member.address.ip()).find(|ip| !seen.insert(*ip))
}

fn is_shared(ip: IpAddr) -> String {
    format!(
        "several endpoints have the address {ip}, and one port for events: leave kv_events out if the engines list their sockets, and \
         set `source: none` otherwise"
    )
}

/// What both a feed and those who take its reports begin anew with: one alone would miss what the other believes to have said. Another
/// tokenizer makes other text of all that has come, another name of the pool other cells: it has to come again. So has what was
/// withheld.
fn identity(engine: u64, pool: &str, revision: u64, is_withheld: bool) -> u64 {
    engine ^ xxh3_64(pool.as_bytes()) ^ revision ^ u64::from(is_withheld)
}

#[cfg(test)]
mod tests {
    use super::{identity, shared_ip};
    use crate::config::Pool;
    use std::net::SocketAddr;
    use warmpath_config::KvEvents;
    use warmpath_config::kv_events::Ports;

    #[test]
    fn a_feed_begins_anew_in_a_pool_of_another_name() {
        let of = |pool| identity(7, pool, 3, false);
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a"), of("b"), "its cells have other roots");
    }

    #[test]
    fn engines_that_would_be_followed_at_one_port_are_not_followed() {
        let ports = Ports { port: 5557, replay_port: None, ranks: 1, topic: String::new() };
        let of = |kv_events: KvEvents, addresses: [&str; 2]| {
            let endpoints = addresses.map(|address| address.parse::<SocketAddr>().unwrap().into()).to_vec();
            shared_ip(&Pool { endpoints, kv_events, ..Pool::default() })
        };
        let ranks = ["10.0.0.1:8000", "10.0.0.1:8001"];
        assert_eq!(of(KvEvents::Ports(ports.clone()), ranks), "10.0.0.1".parse().ok());
        assert_eq!(of(KvEvents::Ports(ports), ["10.0.0.1:8000", "10.0.0.2:8000"]), None);
        assert_eq!(of(KvEvents::Discovered, ranks), None, "each lists its own");
    }
}
