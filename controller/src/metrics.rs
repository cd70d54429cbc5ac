//! The controller's metrics and their page.
//!
//! One struct holds every family, so that all names are in one place. Gauges of the present state (endpoints, cells,
//! generation) are set when the page is requested.

use crate::config::Reload;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use warmpath_scale::{Need, RolePlan};

/// Prefix of every name.
const PREFIX: &str = "warmpath_controller";
/// What a role may lack.
const DEMANDS: [&str; 4] = ["prefill", "decode", "kv_room", "backlog"];
/// Those of them whose computed need is corrected by what late requests show.
const CORRECTED: [&str; 2] = ["prefill", "decode"];
/// Upper bounds of a scrape's duration, in seconds: an idle engine responds in 2 ms, the default timeout
/// is 1 s.
const SCRAPE_SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// A counter for each value of one label.
pub type Counters = Family<[(&'static str, &'static str); 1], Counter>;

/// The labels of what is shown for each engine.
pub type EndpointLabels = [(&'static str, String); 2];

/// What is shown for each engine.
#[derive(Debug, Default)]
pub struct Engines {
    /// Whether its scrapes succeed.
    pub healthy: Family<EndpointLabels, Gauge>,
    /// Requests in its batch.
    pub running: Family<EndpointLabels, Gauge>,
    /// Requests in its queue.
    pub waiting: Family<EndpointLabels, Gauge>,
    /// Share of its KV cache that requests use.
    pub kv_used: Family<EndpointLabels, Gauge<f64, AtomicU64>>,
    /// What it can hold.
    pub capacity_tokens: Family<EndpointLabels, Gauge>,
    /// Requests that proxies have there.
    pub in_flight: Family<EndpointLabels, Gauge>,
    /// Cells that it is believed to hold.
    pub held_cells: Family<EndpointLabels, Gauge>,
    /// What its requests came to.
    pub outcomes: Family<[(&'static str, String); 3], Counter>,
}

/// The requests that proxies hold, by pool and reason.
#[derive(Debug, Default)]
pub struct HeldRequests {
    /// How many.
    pub requests: Family<[(&'static str, String); 2], Gauge>,
    /// How long the oldest has waited.
    pub oldest_seconds: Family<[(&'static str, String); 2], Gauge<f64, AtomicU64>>,
    /// Bytes of their bodies.
    pub body_bytes: Family<[(&'static str, String); 2], Gauge>,
    /// By pool: whether its gate lets requests wait for room.
    pub gate_on: Family<[(&'static str, String); 1], Gauge>,
    /// By pool: the share of what earlier turns computed that is lost.
    pub gate_lost: Family<[(&'static str, String); 1], Gauge<f64, AtomicU64>>,
}

/// What the scaler asks for, by pool and role.
#[derive(Debug, Default)]
pub struct Scale {
    /// Replicas.
    pub wanted: Family<[(&'static str, String); 2], Gauge>,
    /// What each demand needs, before bounds and steps.
    pub needed: Family<[(&'static str, String); 3], Gauge>,
    /// What the computed need of prompts and of responses is multiplied by.
    pub factor: Family<[(&'static str, String); 3], Gauge<f64, AtomicU64>>,
    /// 1 for the reason of the number.
    pub reason: Family<[(&'static str, String); 3], Gauge>,
    /// What is shown, with the reason.
    shown: Mutex<BTreeMap<(String, &'static str), &'static str>>,
}

/// What comes of engines' KV events.
#[derive(Debug, Default)]
pub struct KvEvents {
    /// Messages, by where they came from.
    pub messages: Counters,
    /// Events, by kind.
    pub events: Counters,
    /// Events and fields that were skipped, by reason.
    pub skipped: Counters,
    /// Messages that could not be understood, by reason.
    pub undecodable: Counters,
    /// What was missing, late or begun anew, by kind.
    pub faults: Counters,
    /// Connections that ended or were not made, by reason.
    pub connections_failed: Counters,
    /// Feeds, by how far they are relied on.
    pub feeds: Family<[(&'static str, &'static str); 1], Gauge>,
    /// What became of the blocks of the engines that are followed.
    pub blocks: Family<[(&'static str, &'static str); 1], Gauge>,
    /// By pool: whether proxies write its prompts as its engines do.
    pub formats: Family<[(&'static str, String); 1], Gauge>,
}

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Held while a page is filled and written.
    pages: Mutex<()>,
    /// What comes of engines' KV events.
    pub kv: KvEvents,
    /// Endpoints, by pool and health.
    pub endpoints: Family<[(&'static str, String); 2], Gauge>,
    /// What is shown for each engine.
    pub engines: Engines,
    /// The requests that proxies hold.
    pub held: HeldRequests,
    /// What the scaler asks for.
    pub scale: Scale,
    /// Scrapes, by outcome.
    pub scrapes: Counters,
    /// Duration of scrapes, in seconds.
    pub scrape_seconds: Histogram,
    /// Whether no endpoint of a pool can be scraped.
    pub unscrapable: Family<[(&'static str, String); 1], Gauge>,
    /// Proxy streams that are open.
    pub proxies: Gauge,
    /// Streams that were not served, by reason.
    pub refused: Counters,
    /// RPCs without a valid token, by reason.
    pub unauthenticated: Counters,
    /// Connections that were not encrypted, by reason.
    pub handshakes_failed: Counters,
    /// Changes of certificate and token, by result.
    pub secret_reloads: Family<[(&'static str, &'static str); 2], Counter>,
    /// Streams over which Envoys are sent endpoints.
    pub eds_streams: Gauge,
    /// Responses on them, and what Envoys replied, by result.
    pub eds_responses: Counters,
    /// Events from proxies, by kind.
    pub events_in: Counters,
    /// Events from proxies that changed nothing, by reason.
    pub events_dropped: Counters,
    /// Events sent to proxies, by kind; one sent to two proxies counts twice.
    pub events_out: Counters,
    /// Snapshots sent.
    pub snapshots: Counter,
    /// Streams resumed without a snapshot.
    pub resumes: Counter,
    /// Events that replaced an older unsent one.
    pub coalesced: Counter,
    /// Times that a proxy fell so far behind that it needs a snapshot.
    pub overflowed: Counter,
    /// Changes of the configuration file, by result.
    pub reloads: Counters,
    /// Failures of watches, by resource and reason.
    pub watch_failures: Family<[(&'static str, &'static str); 2], Counter>,
    /// Writes for ModelServices, by resource and result.
    pub deploy_writes: Family<[(&'static str, &'static str); 2], Counter>,
    /// What is wrong with what is in the cluster, by kind.
    pub cluster_problems: Family<[(&'static str, &'static str); 1], Gauge>,
    /// Distinct cells in the view.
    pub view_cells: Gauge,
    /// The generation.
    pub generation: Gauge,
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let scrape_seconds = Histogram::new(SCRAPE_SECONDS);
        registry.register("scrape_duration_seconds", "Duration of scrapes", scrape_seconds.clone());
        let mut metrics = Self {
            registry: Registry::default(),
            pages: Mutex::default(),
            kv: KvEvents::default(),
            endpoints: Family::default(),
            engines: Engines::default(),
            held: HeldRequests::default(),
            scale: Scale::default(),
            scrapes: Family::default(),
            scrape_seconds,
            unscrapable: Family::default(),
            proxies: Gauge::default(),
            refused: Family::default(),
            unauthenticated: Family::default(),
            handshakes_failed: Family::default(),
            secret_reloads: Family::default(),
            eds_streams: Gauge::default(),
            eds_responses: Family::default(),
            events_in: Family::default(),
            events_dropped: Family::default(),
            events_out: Family::default(),
            snapshots: Counter::default(),
            resumes: Counter::default(),
            coalesced: Counter::default(),
            overflowed: Counter::default(),
            reloads: Family::default(),
            watch_failures: Family::default(),
            deploy_writes: Family::default(),
            cluster_problems: Family::default(),
            view_cells: Gauge::default(),
            generation: Gauge::default(),
        };
        metrics.register(&mut registry);
        metrics.registry = registry;
        metrics
    }
}

impl Metrics {
    fn register(&self, to: &mut Registry) {
        to.register("endpoints", "Endpoints by pool and health", self.endpoints.clone());
        self.engines.register(to);
        self.held.register(to);
        self.scale.register(to);
        self.kv.register(to);
        to.register("scrapes", "Scrapes by outcome", self.scrapes.clone());
        to.register(
            "pool_unscrapable",
            "1 while no engine of the pool can be scraped",
            self.unscrapable.clone(),
        );
        to.register("proxies", "Proxy streams that are open", self.proxies.clone());
        to.register("streams_refused", "Proxy streams that were not served", self.refused.clone());
        to.register("unauthenticated", "RPCs without a valid token", self.unauthenticated.clone());
        to.register("handshakes_failed", "Connections without TLS", self.handshakes_failed.clone());
        to.register("secret_reloads", "Changes of certificate and token", self.secret_reloads.clone());
        to.register("eds_streams", "Streams of endpoints that are open", self.eds_streams.clone());
        to.register("eds_responses", "Responses on them, and the replies", self.eds_responses.clone());
        to.register("events_in", "Events from proxies by kind", self.events_in.clone());
        to.register(
            "events_dropped",
            "Events from proxies that changed nothing",
            self.events_dropped.clone(),
        );
        to.register("events_out", "Events sent to proxies by kind", self.events_out.clone());
        to.register("snapshots", "Snapshots sent", self.snapshots.clone());
        to.register("resumes", "Streams resumed without a snapshot", self.resumes.clone());
        to.register("coalesced", "Events that replaced an older one not sent yet", self.coalesced.clone());
        to.register("overflowed", "Times a proxy fell too far behind", self.overflowed.clone());
        to.register("config_reloads", "Changes of the configuration file", self.reloads.clone());
        to.register("watch_failures", "Failures of watches of the API server", self.watch_failures.clone());
        to.register(
            "deploy_writes",
            "Writes for ModelServices to the API server",
            self.deploy_writes.clone(),
        );
        to.register(
            "cluster_problems",
            "What is wrong with pools and pods in the cluster",
            self.cluster_problems.clone(),
        );
        to.register("view_cells", "Distinct cells in the view", self.view_cells.clone());
        to.register("generation", "Changes since the start", self.generation.clone());
    }

    /// Counts one change of the configuration file.
    pub fn count_reload(&self, reload: Reload) {
        self.reloads.get_or_create(&[("result", reload.label())]).inc();
    }

    /// Shows whether no endpoint of a pool can be scraped.
    pub fn show_unscrapable(&self, pool: &str, is_unscrapable: bool) {
        self.unscrapable.get_or_create(&[("pool", pool.to_owned())]).set(i64::from(is_unscrapable));
    }

    /// The page after `fill` has set what it shows of the present. One after the other: a page that is written while another one is
    /// filled would lack engines, and show counters that fall.
    pub fn page_after(&self, fill: impl FnOnce(&Self)) -> String {
        let _alone = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        fill(self);
        self.page()
    }

    /// The page, in the OpenMetrics text format.
    pub fn page(&self) -> String {
        let mut page = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut page, &self.registry);
        page
    }
}

// === impl Engines ===

impl Engines {
    fn register(&self, to: &mut Registry) {
        to.register("engine_healthy", "1 while the engine's scrapes succeed", self.healthy.clone());
        to.register("engine_running", "Requests in the engine's batch", self.running.clone());
        to.register("engine_waiting", "Requests in the engine's queue", self.waiting.clone());
        to.register("engine_kv_used_ratio", "Share of the KV cache that requests use", self.kv_used.clone());
        to.register(
            "engine_capacity_tokens",
            "Tokens that the engine can hold, on its GPU and below",
            self.capacity_tokens.clone(),
        );
        to.register("engine_in_flight", "Requests that proxies have at the engine", self.in_flight.clone());
        to.register(
            "engine_held_cells",
            "Cells that the engine is believed to hold",
            self.held_cells.clone(),
        );
        to.register("engine_outcomes", "What the engine's requests came to", self.outcomes.clone());
    }

    /// Drops all series: engines that are gone must not stay on the page.
    pub fn clear(&self) {
        for family in [&self.healthy, &self.running, &self.waiting, &self.capacity_tokens] {
            family.clear();
        }
        self.kv_used.clear();
        self.in_flight.clear();
        self.held_cells.clear();
        self.outcomes.clear();
    }
}

// === impl Scale ===

impl Scale {
    fn register(&self, to: &mut Registry) {
        to.register("scale_replicas_wanted", "Replicas that the scaler asks for", self.wanted.clone());
        to.register(
            "scale_replicas_needed",
            "Replicas that each demand needs, before bounds and steps",
            self.needed.clone(),
        );
        to.register(
            "scale_factor",
            "What the computed need of prompts and of responses is multiplied by, as late requests show",
            self.factor.clone(),
        );
        to.register("scale_reason", "1 for the reason of the replicas that are wanted", self.reason.clone());
    }

    /// Shows these plans, each of a pool's role, and no others. A series that stays is never absent between: a scaler that reads it
    /// would take that for none.
    pub fn show(&self, plans: impl Iterator<Item = (String, &'static str, RolePlan)>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *shown);
        for (pool, role, plan) in plans {
            let labels = || [("pool", pool.clone()), ("role", role.to_owned())];
            self.wanted.get_or_create(&labels()).set(i64::from(plan.replicas));
            let Need { prefill, decode, kv_room, backlog } = plan.need;
            for (demand, count) in DEMANDS.into_iter().zip([prefill, decode, kv_room, backlog]) {
                self.needed.get_or_create(&needed(&pool, role, demand)).set(i64::from(count));
            }
            for (demand, factor) in CORRECTED.into_iter().zip(plan.factors) {
                self.factor.get_or_create(&needed(&pool, role, demand)).set(factor);
            }
            let label = plan.reason.label();
            self.reason.get_or_create(&reason(&pool, role, label)).set(1);
            if let Some(old) = before.remove(&(pool.clone(), role)).filter(|old| *old != label) {
                self.reason.remove(&reason(&pool, role, old));
            }
            shown.insert((pool, role), label);
        }
        for ((pool, role), label) in before {
            self.wanted.remove(&[("pool", pool.clone()), ("role", role.to_owned())]);
            for demand in DEMANDS {
                self.needed.remove(&needed(&pool, role, demand));
            }
            for demand in CORRECTED {
                self.factor.remove(&needed(&pool, role, demand));
            }
            self.reason.remove(&reason(&pool, role, label));
        }
    }
}

fn needed(pool: &str, role: &str, demand: &str) -> [(&'static str, String); 3] {
    [("pool", pool.to_owned()), ("role", role.to_owned()), ("demand", demand.to_owned())]
}

fn reason(pool: &str, role: &str, reason: &str) -> [(&'static str, String); 3] {
    [("pool", pool.to_owned()), ("role", role.to_owned()), ("reason", reason.to_owned())]
}

// === impl KvEvents ===

impl KvEvents {
    fn register(&self, to: &mut Registry) {
        to.register("kv_messages", "Messages with KV events", self.messages.clone());
        to.register("kv_events", "KV events by kind", self.events.clone());
        to.register("kv_events_skipped", "What was skipped of KV events", self.skipped.clone());
        to.register("kv_undecodable", "Messages that were not understood", self.undecodable.clone());
        to.register(
            "kv_faults",
            "Messages that were missing, late or of another process",
            self.faults.clone(),
        );
        to.register(
            "kv_connections_failed",
            "Connections for KV events that ended or were not made",
            self.connections_failed.clone(),
        );
        to.register("kv_feeds", "Feeds of KV events by trust", self.feeds.clone());
        to.register("kv_blocks", "Blocks that engines reported, by what became of them", self.blocks.clone());
        to.register("kv_pool_written", "1 while prompts are written as the engines do", self.formats.clone());
    }
}

// === impl HeldRequests ===

impl HeldRequests {
    fn register(&self, to: &mut Registry) {
        to.register("held_requests", "Requests that proxies hold, by pool and reason", self.requests.clone());
        to.register(
            "held_oldest_seconds",
            "How long the oldest held request has waited",
            self.oldest_seconds.clone(),
        );
        to.register("held_body_bytes", "Bytes of the bodies of held requests", self.body_bytes.clone());
        to.register("gate_on", "1 while the pool's gate lets requests wait for room", self.gate_on.clone());
        to.register(
            "gate_lost_ratio",
            "Share of what earlier turns computed that no engine has any more",
            self.gate_lost.clone(),
        );
    }

    /// Drops all series: pools that are gone, or hold nothing any more, must not stay on the page.
    pub fn clear(&self) {
        self.requests.clear();
        self.oldest_seconds.clear();
        self.body_bytes.clear();
        self.gate_on.clear();
        self.gate_lost.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::Scale;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;
    use warmpath_scale::{Reason, RolePlan};

    fn page(registry: &Registry) -> Vec<String> {
        let mut page = String::new();
        encode(&mut page, registry).unwrap();
        page.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn the_plans_of_pools_that_are_gone_go_and_others_have_one_reason() {
        let (scale, mut registry) = (Scale::default(), Registry::default());
        scale.register(&mut registry);
        let plan =
            |replicas, reason| RolePlan { replicas, reason, factors: [1.25, 0.5], ..RolePlan::default() };
        let show = |plans: &[(&str, RolePlan)]| {
            scale.show(plans.iter().map(|(pool, plan)| ((*pool).to_owned(), "decode", plan.clone())));
        };
        show(&[("llm/a", plan(3, Reason::Decode)), ("llm/b", plan(1, Reason::Least))]);
        show(&[("llm/a", plan(4, Reason::Backlog))]);
        let shown = page(&registry);
        assert!(
            shown.contains(&r#"scale_replicas_wanted{pool="llm/a",role="decode"} 4"#.to_owned()),
            "{shown:#?}"
        );
        let factor = r#"scale_factor{pool="llm/a",role="decode",demand="prefill"} 1.25"#.to_owned();
        assert!(shown.contains(&factor), "{shown:#?}");
        let reasons: Vec<&String> = shown.iter().filter(|line| line.starts_with("scale_reason")).collect();
        assert_eq!(reasons, [r#"scale_reason{pool="llm/a",role="decode",reason="backlog"} 1"#]);
        assert!(!shown.iter().any(|line| line.contains("llm/b")), "{shown:#?}");
    }
}
