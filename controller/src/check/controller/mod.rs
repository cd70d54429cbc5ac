//! Checks of a controller, by its HTTP API: itself, its pools and engines, and the proxies that are connected.

mod caches;
mod engines;
mod holds;
mod itself;
mod legs;
mod pools;
mod proxies;

use super::envoy::Wanted;
use super::finding::{Check, Findings};
use crate::api::StatePage;
use crate::get;
use crate::telemetry::samples;
use crate::web::{self, Bounds, Reply, WebError};
use http::{Method, StatusCode, header};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// The most bytes of a page that are read: the metrics of 8192 engines are some ten megabytes.
const PAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How the controller's metrics begin.
const METRICS_PREFIX: &[u8] = b"warmpath_controller_";

/// All checks of a controller.
pub(super) static CHECKS: [&[&Check]; 7] = [
    &itself::CHECKS,
    &pools::CHECKS,
    &engines::CHECKS,
    &caches::CHECKS,
    &legs::CHECKS,
    &holds::CHECKS,
    &proxies::CHECKS,
];

/// The pages of a controller.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    /// `/state`.
    pub state: StatePage,
    /// The message of `/readyz`, unless it is ready.
    pub unready: Option<String>,
    /// Sums of the controller's counters, by name without labels and by `name{label value}`.
    pub counters: BTreeMap<String, f64>,
    /// The checksum of the filter that it serves.
    pub sha256: Option<String>,
    /// How far its clock is ahead of this one.
    pub clock: Option<ClockDifference>,
}

/// The difference of two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockDifference {
    /// How large it is.
    pub by: Duration,
    /// Whether the controller's is ahead.
    pub is_ahead: bool,
}

/// The page of `/wasm`.
#[derive(Debug, Deserialize)]
struct Wasm {
    sha256: String,
}

// === impl Pages ===

impl Pages {
    /// Requests all of them.
    pub async fn of(controller: &str) -> Result<Self, WebError> {
        let get =
            async |path| web::request(Method::GET, controller, path, Bounds::bytes(PAGE_BYTES_MAX)).await;
        let ready = get("/readyz").await?;
        let clock = ClockDifference::of(&ready, SystemTime::now());
        let is_ready = ready.status == StatusCode::OK;
        let unready = (!is_ready).then(|| String::from_utf8_lossy(&ready.body).trim().to_owned());
        let state = get::state(controller).await?;
        let metrics = get("/metrics").await?;
        let wasm = get("/wasm").await?;
        let wasm = (wasm.status == StatusCode::OK).then(|| serde_json::from_slice::<Wasm>(&wasm.body).ok());
        Ok(Self {
            state,
            unready,
            counters: counters(&metrics.body),
            sha256: wasm.flatten().map(|wasm| wasm.sha256),
            clock,
        })
    }

    /// The facts that an Envoy is compared with.
    pub fn wanted(&self) -> Wanted {
        let endpoints = self.state.pools.iter().flat_map(|pool| &pool.endpoints);
        let holds = self.state.pools.iter().filter_map(|pool| pool.hold.as_ref());
        Wanted {
            endpoints: endpoints.map(|endpoint| endpoint.address.clone()).collect(),
            pools: self.state.pools.len(),
            sha256: self.sha256.clone(),
            leg_clusters: self
                .state
                .pools
                .iter()
                .filter_map(|pool| Some(pool.transfer.as_ref()?.cluster.clone()))
                .collect(),
            holds_for_endpoint: holds.clone().any(|hold| hold.endpoint_s > 0),
            hold_s_max: holds.map(|hold| hold.room_s.max(hold.endpoint_s)).max().unwrap_or_default(),
        }
    }
}

/// Checks a controller.
pub fn check(pages: &Pages, to: &mut Findings) {
    itself::check(pages, to);
    check_pools(&pages.state, to);
    proxies::check(&pages.state, to);
}

/// Checks the pools of a state alone: the subject of each finding is one.
pub(crate) fn check_pools(state: &StatePage, to: &mut Findings) {
    pools::check(state, to);
    engines::check(state, to);
    caches::check(state, to);
    legs::check(state, to);
    holds::check(state, to);
}

fn counters(page: &[u8]) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for sample in samples(page, |name| name.starts_with(METRICS_PREFIX)) {
        let name =
            String::from_utf8_lossy(sample.name.get(METRICS_PREFIX.len()..).unwrap_or_default()).into_owned();
        for (_, value) in sample.labels() {
            *sums.entry(format!("{name}{{{}}}", String::from_utf8_lossy(value))).or_insert(0.0) +=
                sample.value;
        }
        *sums.entry(name).or_insert(0.0) += sample.value;
    }
    sums
}

// === impl ClockDifference ===

impl ClockDifference {
    fn of(reply: &Reply, now: SystemTime) -> Option<Self> {
        let date = reply.headers.get(header::DATE)?.to_str().ok()?;
        let theirs = httpdate::parse_http_date(date).ok()?;
        Some(match theirs.duration_since(now) {
            Ok(by) => Self { by, is_ahead: true },
            Err(error) => Self { by: error.duration(), is_ahead: false },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::counters;

    #[test]
    fn counters_are_summed_by_name_and_by_the_values_of_their_labels() {
        let page = b"warmpath_controller_streams_refused_total{reason=\"cell_bytes\"} 2\n\
                     warmpath_controller_streams_refused_total{reason=\"too_many\"} 1\nother 5\n# EOF\n";
        let counters = counters(page);
        let count = |name: &str| counters.get(name).map(|value| value.round());
        assert_eq!(count("streams_refused_total"), Some(3.0));
        assert_eq!(count("streams_refused_total{cell_bytes}"), Some(2.0));
        assert_eq!(count("other"), None);
    }
}
