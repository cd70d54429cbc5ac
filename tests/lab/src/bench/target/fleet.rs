//! All targets at once, in front of the same engines: only so can their repetitions take turns.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use tempfile::TempDir;
use warmpath_envoy::process::Envoy;
use warmpath_envoy::resources::GATEWAY;

use super::peer::Peer;
use super::{EnvoySpec, Target};
use crate::bench::process::{Meter, Own, controller, engines};
use crate::bench::progress;

/// Engines and everybody in front of them. Dropping it ends all of them.
#[derive(Debug)]
pub struct Fleet {
    runners: Vec<Runner>,
    engines: Own,
    // After the processes that read it.
    _folder: TempDir,
}

/// One target that runs.
#[derive(Debug)]
pub struct Runner {
    /// Who it is.
    pub target: Target,
    /// Where clients come in.
    pub gateway: SocketAddr,
    /// Its processes on the request's path.
    pub meter: Meter,
    /// The controller beside the path; ours alone has one.
    pub controller: Option<Meter>,
    process: Process,
}

/// What has to go on living.
#[derive(Debug)]
enum Process {
    Envoy { _envoy: Box<Envoy>, _controller: Option<Own> },
    Peer(Peer),
}

impl Fleet {
    /// Starts engines that run `time_scale` times faster than real (0: answer at once), and these targets.
    pub async fn start(
        targets: &[Target],
        engines: usize,
        time_scale: f64,
        logs: &Path,
    ) -> anyhow::Result<Self> {
        let engines = engines::start(engines, time_scale)?;
        let folder = tempfile::tempdir().context("cannot make a folder for envoy's configuration")?;
        let mut runners = Vec::new();
        for target in targets {
            progress::step(format_args!("starting {target}"));
            runners.push(Runner::start(*target, engines.addresses(), folder.path(), logs).await?);
        }
        Ok(Self { runners, engines, _folder: folder })
    }

    /// The targets, in the order in which they were asked for.
    pub fn runners(&self) -> &[Runner] {
        &self.runners
    }

    /// Where the engines are, for whoever goes past all targets.
    pub fn engines(&self) -> &[SocketAddr] {
        self.engines.addresses()
    }
}

impl Runner {
    async fn start(
        target: Target,
        engines: &[SocketAddr],
        folder: &Path,
        logs: &Path,
    ) -> anyhow::Result<Self> {
        if target.is_peer() {
            let peer = Peer::start(target, engines, logs).await?;
            let (gateway, meter) = (peer.gateway(), Meter::of(peer.pid()));
            return Ok(Self { target, gateway, meter, controller: None, process: Process::Peer(peer) });
        }
        let own = if target == Target::Warmpath { Some(controller::start(engines)?) } else { None };
        let address = own.as_ref().and_then(|own| own.addresses().first().copied());
        let spec = EnvoySpec { target, engines, controller: address, workers: 1, explains: false };
        let envoy = spec.start(folder).await?;
        Ok(Self {
            target,
            gateway: envoy.listener(GATEWAY).await?,
            meter: Meter::of(envoy.pid()),
            controller: own.as_ref().map(|own| Meter::of(own.pid())),
            process: Process::Envoy { _envoy: Box::new(envoy), _controller: own },
        })
    }

    /// What went wrong with it, with the end of its log where it keeps one.
    pub fn blame(&self, failure: anyhow::Error) -> anyhow::Error {
        let context = match &self.process {
            Process::Peer(peer) => format!("{}; {}", self.target, peer.log_tail()),
            Process::Envoy { .. } => self.target.to_string(),
        };
        failure.context(context)
    }
}
