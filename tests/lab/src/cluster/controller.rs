//! The controller of an arm, in this process.

use super::legs;
use crate::arm::Arm;
use anyhow::Context;
use std::net::SocketAddr;
use std::time::Duration;
use warmpath::config::{Listen, Member, Pool, Scrape, Settings};
use warmpath::run::{self, Running};
use warmpath_core::wire;
use warmpath_engine::Role;

/// The pool of all engines.
pub const POOL: &str = "demo";

/// Scraping eight engines more often than this would take a noticeable part of a small machine.
const SCRAPE_INTERVAL_MIN: Duration = Duration::from_millis(40);

/// Starts a controller for engines that run `time_scale` times faster than real.
pub async fn start_controller(
    grpc: SocketAddr,
    http: SocketAddr,
    time_scale: f64,
    pool: Pool,
) -> anyhow::Result<Running> {
    let mut settings = Settings::new(Listen { grpc, http });
    settings.scrape = scrape(time_scale);
    settings.pools = vec![pool];
    run::start(settings).await.context("cannot start the controller")
}

/// The pool of these engines.
pub fn pool(engines: &[SocketAddr]) -> Pool {
    Pool {
        name: POOL.to_owned(),
        models: vec!["*".to_owned()],
        endpoints: engines.iter().copied().map(Into::into).collect(),
        ..Pool::default()
    }
}

/// The same where engines pass KV on, as an arm has it.
pub(super) fn pool_of(arm: Arm, engines: &[SocketAddr]) -> Pool {
    let member = |(number, address): (usize, &SocketAddr)| match legs::role(arm, number, engines.len()) {
        Some(Role::Prefill) => Member { role: wire::Role::Prefill, ..Member::from(*address) },
        Some(Role::Decode) => Member { role: wire::Role::Decode, ..Member::from(*address) },
        Some(Role::Both) | None => Member::from(*address),
    };
    let nixl = wire::Transfer { protocol: wire::TransferProtocol::Pull.into(), ..wire::Transfer::default() };
    let transfer = legs::role(arm, 0, engines.len()).map(|_| nixl);
    Pool { endpoints: engines.iter().enumerate().map(member).collect(), transfer, ..pool(engines) }
}

/// Engines that run faster change faster: scraped at the usual interval, in model time.
pub fn scrape(time_scale: f64) -> Scrape {
    let usual = Scrape::default();
    let interval = if time_scale > 1.0 { usual.interval.div_f64(time_scale) } else { usual.interval };
    Scrape { interval: interval.max(SCRAPE_INTERVAL_MIN), ..usual }
}
