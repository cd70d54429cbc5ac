//! The engines behind one way: two that compute prompts and two that generate, or four that do both.

use super::way::Mode;
use crate::cluster::{MODEL, engine_name};
use anyhow::Context;
use std::net::{Ipv4Addr, SocketAddr};
use warmpath_engine::{EngineServer, Fault, Role, Scrape, ServerConfig, Transfer, TransferProtocol};

/// Engines that take whole requests.
const WHOLE: usize = 4;
/// Engines of each leg.
const EACH: usize = 2;

/// Requests that a decode engine reports, so that our rule has a reason to split at engines that respond at once.
const CROWD: u32 = 100_000;

/// Engines in this process.
#[derive(Debug)]
pub(super) struct Engines {
    /// Those that compute prompts; those that take whole requests.
    pub(super) prefill: Vec<EngineServer>,
    /// Those that generate; none where requests stay whole.
    pub(super) decode: Vec<EngineServer>,
}

// === impl Engines ===

impl Engines {
    /// Starts the engines of a mode.
    pub(super) async fn start(mode: Mode) -> anyhow::Result<Self> {
        let Some(protocol) = mode.protocol() else {
            let mut whole = Vec::new();
            for number in 0..WHOLE {
                whole.push(start(number, None).await?);
            }
            return Ok(Self { prefill: whole, decode: Vec::new() });
        };
        // With NIXL, all engines have the same flags.
        let role = |role| if protocol == TransferProtocol::Nixl { Role::Both } else { role };
        let transfer = |role, side_port| Transfer { side_port, role, ..Transfer::new(protocol) };
        let mut prefill: Vec<EngineServer> = Vec::new();
        for number in 0..EACH {
            // A pool has one port of bootstrap servers, so that they need an address each.
            let side_port = prefill.first().map_or(0, |first| first.side_addr().port());
            prefill.push(start(number, Some(transfer(role(Role::Prefill), side_port))).await?);
        }
        let mut decode = Vec::new();
        for number in EACH..2 * EACH {
            let engine = start(number, Some(transfer(role(Role::Decode), 0))).await?;
            engine.fault(Fault::Scrape(Scrape::Busy { running: CROWD })).await;
            decode.push(engine);
        }
        Ok(Self { prefill, decode })
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &EngineServer> {
        self.prefill.iter().chain(&self.decode)
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.all().map(EngineServer::addr).collect()
    }

    /// The port of the bootstrap servers.
    pub(super) fn side_port(&self) -> u16 {
        self.prefill.first().map_or(0, |engine| engine.side_addr().port())
    }

    /// Prefill legs until now.
    pub(super) fn prefill_legs(&self) -> u64 {
        self.all().map(|engine| engine.state().legs.prefills).sum()
    }

    /// Prompts that were fetched when they were kept no more: their output is wrong.
    pub(super) fn stale(&self) -> u64 {
        self.all().map(|engine| engine.state().legs.prompts_stale).sum()
    }
}

async fn start(number: usize, transfer: Option<Transfer>) -> anyhow::Result<EngineServer> {
    let host = u8::try_from(number).context("too many engines")? + 2;
    let config = ServerConfig {
        name: engine_name(number),
        listen: SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0)),
        model: MODEL.to_owned(),
        transfer,
        ..ServerConfig::instant()
    };
    EngineServer::start(config).await.context("cannot start an engine")
}
