//! `GET /state`: the view, what the scrapes show, and who is connected, as a page of JSON.

use super::held::{self, Waiting};
use super::page::{
    EndpointState, HeldState, HoldState, KvState, PoolState, ProblemPage, PromptState, StatePage,
    TransferState, WatchPage,
};
use super::{Api, proxies};
use crate::clock::Clock;
use crate::events::knowledge::{Knowledge, PromptSeen};
use crate::publish::{Cached, FirstTokens, Hub};
use crate::telemetry::{EngineKind, Fleet, Seen};
use crate::watch::{Followed, Problem, SourceState, WatchState};
use axum::Json;
use axum::extract::State;
use std::net::SocketAddr;
use std::time::Instant;
use warmpath_config::transfer::protocol_name;
use warmpath_core::admission::Admission;
use warmpath_core::ids::Slot;
use warmpath_core::time::Timestamp;
use warmpath_core::view::{Endpoint, Pool};
use warmpath_core::wire::{Health, HeldFor, Role, Transfer};

const MS_PER_S: u32 = 1_000;

/// What the page is built from, except who is connected.
#[derive(Clone, Copy, Debug)]
struct Facts<'a> {
    hub: &'a Hub,
    fleet: &'a Fleet,
    cluster: &'a Followed,
    knowledge: &'a Knowledge,
    now: Timestamp,
}

/// Responds with the state.
pub(super) async fn show(State(api): State<Api>) -> Json<StatePage> {
    let cluster = api.followed();
    let mut connected = api.shared.with(|hub, now| proxies::own(hub, now));
    let replicas = proxies::add_others(&proxies::addresses(&cluster, api.port), &mut connected).await;
    let page = api.page(&cluster);
    Json(StatePage { replicas, proxies: connected.proxies, refused: connected.refused, ..page })
}

// === impl Api ===

impl Api {
    /// The state as this replica knows it by itself, without the proxies of any.
    pub(crate) fn state(&self) -> StatePage {
        self.page(&self.followed())
    }

    /// A copy, so that an update does not wait for the page.
    fn followed(&self) -> Followed {
        self.cluster.as_ref().and_then(|cluster| cluster.borrow().clone()).unwrap_or_default()
    }

    fn page(&self, cluster: &Followed) -> StatePage {
        let (fleet, knowledge) = (&self.fleet, &self.knowledge);
        self.shared.with(|hub, now| Facts { hub, fleet, cluster, knowledge, now }.page())
    }
}

// === impl Facts ===

impl Facts<'_> {
    fn page(self) -> StatePage {
        let index = self.hub.index();
        let view = index.view();
        StatePage {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: index.instance().to_string(),
            uptime_ms: Clock::uptime_ms(self.now),
            generation: index.generation().0,
            cell_bytes: view.cell_bytes(),
            cells: view.prefixes().cells(),
            pools: view.pools().iter().map(|pool| self.pool(pool)).collect(),
            watches: self.cluster.watches.iter().map(watch).collect(),
            problems: self.cluster.problems.iter().map(problem).collect(),
            ..StatePage::default()
        }
    }

    fn pool(self, pool: &Pool) -> PoolState {
        let view = self.hub.index().view();
        let endpoints: Vec<(Slot, &Endpoint)> =
            pool.slots().iter().filter_map(|slot| Some((*slot, view.endpoint(*slot)?))).collect();
        let cached = endpoints.iter().map(|(_, endpoint)| self.hub.cached_at(endpoint.id, self.now));
        let first_tokens =
            endpoints.iter().map(|(_, endpoint)| self.hub.first_tokens_at(endpoint.id, self.now));
        let first_tokens = first_tokens.fold(FirstTokens::default(), |sum, of_one| sum.and(&of_one));
        PoolState {
            name: pool.name().to_owned(),
            models: pool.models().to_vec(),
            adapters: pool.adapters().to_vec(),
            bytes_per_token: pool.bytes_per_token(),
            cached_share: cached.fold(Cached::default(), Cached::and).share(),
            ttft_p90_ms: first_tokens.percentile_ms(0.9),
            transfer: pool.transfer().map(transfer),
            hold: view.admission(pool.name()).map(hold),
            held_for_room: self.held(pool, HeldFor::Room),
            held_for_endpoint: self.held(pool, HeldFor::Endpoint),
            prompt: self.knowledge.prompt(pool.name()).map(prompt),
            endpoints: endpoints.into_iter().map(|(slot, endpoint)| self.endpoint(slot, endpoint)).collect(),
        }
    }

    fn held(self, pool: &Pool, reason: HeldFor) -> HeldState {
        let Waiting { requests, oldest_ms, body_bytes } =
            held::waiting(self.hub.index().view(), pool.name(), reason, self.now);
        HeldState { requests, oldest_ms, body_bytes }
    }

    fn endpoint(self, slot: Slot, endpoint: &Endpoint) -> EndpointState {
        let (status, in_flight) = (endpoint.status(), endpoint.in_flight());
        let (held_cells, capacity_cells) = self.hub.index().view().prefixes().held(slot);
        let seen = seen(self.fleet, endpoint);
        let cached = self.hub.cached_at(endpoint.id, self.now);
        EndpointState {
            address: endpoint.address.clone(),
            pod: self.pod(endpoint),
            role: role(endpoint.role).to_owned(),
            health: label(scraped(self.fleet, endpoint)).to_owned(),
            fitness: endpoint.fitness(self.now).label().to_owned(),
            scrape: seen.map(|seen| seen.last.to_owned()),
            scraped_ms: seen.and_then(|seen| seen.good).map(ms_since),
            engine: seen.and_then(|seen| seen.kind).map(EngineKind::label).map(str::to_owned),
            engine_role: seen.and_then(|seen| seen.legs).map(role).map(str::to_owned),
            nixl: seen.filter(|seen| seen.kind == Some(EngineKind::Vllm)).map(|seen| seen.has_nixl),
            bootstrap: seen.and_then(|seen| seen.has_bootstrap),
            running: status.running,
            waiting: status.waiting,
            kv_used_permille: status.kv_used_permille,
            capacity_tokens: endpoint.capacity_tokens,
            capacity_is_known: Some(status.capacity_tokens.is_some()),
            kv_below_gpu_tokens: status.kv_below_gpu_tokens,
            block_tokens: status.block_tokens,
            requests: in_flight.requests,
            prefills: in_flight.prefills,
            prefill_work: in_flight.prefill_work.0,
            context_tokens: in_flight.context_tokens,
            held_cells,
            capacity_cells,
            prefill_s_per_token: endpoint.measured_speed().learned_s_per_token(),
            cached_share: cached.share(),
            says_cached: cached.is_said(),
            kv: endpoint.address.parse().ok().and_then(|address| kv(self.knowledge, address)),
        }
    }

    fn pod(self, endpoint: &Endpoint) -> Option<String> {
        let address = endpoint.address.parse().ok()?;
        self.cluster.pods.get(&address).map(ToString::to_string)
    }
}

fn prompt(seen: PromptSeen) -> PromptState {
    PromptState {
        tokenizer: seen.tokenizer,
        is_written: seen.is_written,
        fault: seen.fault,
        mismatch: seen.mismatch.map(|(seen, until)| {
            let minutes = until.saturating_duration_since(Instant::now()).as_secs().div_ceil(60);
            format!("{seen}; they are tried again in {minutes} min")
        }),
        notes: seen.notes.into_iter().map(str::to_owned).collect(),
    }
}

/// What an engine reports, if it is followed.
fn kv(knowledge: &Knowledge, address: SocketAddr) -> Option<KvState> {
    let cache = knowledge.cache(address)?;
    let feeds = knowledge.feeds(address);
    let source = |publisher: Option<SocketAddr>| publisher.map_or_else(String::new, |at| at.to_string());
    Some(KvState {
        trust: cache.trust.label().to_owned(),
        sources: feeds.iter().map(|(_, feed)| source(feed.source.publisher)).collect(),
        connected: feeds.iter().filter(|(_, feed)| feed.is_connected).count(),
        problem: feeds.iter().find_map(|(_, feed)| feed.problem).map(str::to_owned),
        topic: feeds.iter().find_map(|(_, feed)| feed.topic.clone()),
        messages: feeds.iter().map(|(_, feed)| feed.messages).sum(),
        blocks: cache.blocks,
        cells: cache.cells,
        stored: cache.counts.stored,
        unknown_tokens: cache.counts.unknown_tokens,
        lost: cache.counts.lost,
    })
}

fn watch(watch: &WatchState) -> WatchPage {
    let message = match &watch.state {
        SourceState::Forbidden(message) | SourceState::Failing(message) => message.clone(),
        SourceState::Pending | SourceState::Synced | SourceState::Missing => String::new(),
    };
    WatchPage {
        resource: watch.kind.label().to_owned(),
        namespace: watch.namespace.clone(),
        state: watch.state.label().to_owned(),
        message,
    }
}

fn problem(problem: &Problem) -> ProblemPage {
    ProblemPage { kind: problem.label().to_owned(), message: problem.to_string() }
}

fn ms_since(at: Instant) -> u64 {
    u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn seen(fleet: &Fleet, endpoint: &Endpoint) -> Option<Seen> {
    endpoint.address.parse().ok().and_then(|address| fleet.seen(address))
}

/// What the scrapes of an endpoint show, whatever is published.
pub(super) fn scraped(fleet: &Fleet, endpoint: &Endpoint) -> Health {
    seen(fleet, endpoint).map_or(Health::Unknown, |seen| seen.health)
}

/// A health's name in metrics and pages.
pub(super) fn label(health: Health) -> &'static str {
    match health {
        Health::Unknown => "unknown",
        Health::Healthy => "healthy",
        Health::Unhealthy | Health::Absent => "unhealthy",
    }
}

fn transfer(transfer: &Transfer) -> TransferState {
    TransferState {
        protocol: protocol_name(transfer.protocol()).to_owned(),
        bootstrap_port: Some(transfer.bootstrap_port).filter(|port| *port > 0),
        cluster: Some(transfer.cluster.clone()).filter(|cluster| !cluster.is_empty()),
    }
}

fn hold(gate: &Admission) -> HoldState {
    let hold = gate.hold();
    HoldState {
        room_s: hold.room_ms_max / MS_PER_S,
        endpoint_s: hold.endpoint_ms_max / MS_PER_S,
        tenants: hold.tenants.iter().map(|tenant| (tenant.name.clone(), tenant.weight)).collect(),
        gate_is_on: gate.is_on(),
        lost_share: gate.lost_share(),
    }
}

/// A role's name in pages.
fn role(role: Role) -> &'static str {
    match role {
        Role::Both => "both",
        Role::Prefill => "prefill",
        Role::Decode => "decode",
    }
}
