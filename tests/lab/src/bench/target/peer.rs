//! Routers of other projects, from their Python packages, with the policy that knows of caches and everything else as
//! they come.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::paths;
use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};

use super::Target;
use crate::bench::load::Client;
use crate::bench::process::{free_port, pids};

/// Their packages, as the recipe installs them.
const PACKAGES: &str = include_str!("../../../peers.txt");

/// How long a router may take until it serves. It looks for its workers once a second, and gives up itself after half
/// of this.
const START_TIME_MAX: Duration = Duration::from_mins(1);
const WORKERS_TIME_MAX_S: &str = "30";
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Lines of its log that are shown where it fails.
const LOG_TAIL_LINES: usize = 40;

/// A router that runs; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Peer {
    name: &'static str,
    child: Child,
    log: PathBuf,
    gateway: SocketAddr,
}

/// The version of a peer's package; empty for our own targets.
pub fn version(target: Target) -> &'static str {
    let of = |line: &'static str| line.split_once("==").filter(|(name, _)| *name == target.name());
    PACKAGES.lines().find_map(of).map_or("", |(_, version)| version)
}

impl Peer {
    /// Starts it in front of these engines, and waits until it answers a request. Its log goes to `logs`.
    pub(super) async fn start(target: Target, engines: &[SocketAddr], logs: &Path) -> anyhow::Result<Self> {
        let arguments = |port, metrics_port| arguments(target, engines, port, metrics_port);
        Self::start_with(target, target.name(), arguments, logs).await
    }

    /// Starts it with what `arguments` makes of its port and that of its metrics. Its log has a name of its own.
    pub(crate) async fn start_with(
        target: Target,
        log_name: &str,
        arguments: impl FnOnce(u16, u16) -> Vec<String>,
        logs: &Path,
    ) -> anyhow::Result<Self> {
        let (port, metrics_port) = (free_port()?, free_port()?);
        let name = target.name();
        fs::create_dir_all(logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let log = logs.join(format!("{log_name}.log"));
        let output = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let program = program(name);
        let child = Command::new(&program)
            .args(arguments(port, metrics_port))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| {
                format!("{name} is not at {}: run tests/lab/install-peers", program.display())
            })?;
        let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut peer = Self { name, child, log, gateway };
        peer.wait_ready().await?;
        Ok(peer)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// The end of its log, for an error that has to do with it.
    pub(crate) fn log_tail(&self) -> String {
        let text = fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let text = text.unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(LOG_TAIL_LINES)..).unwrap_or_default().join("\n");
        format!("the end of the log of {}:\n{tail}", self.name)
    }

    async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + START_TIME_MAX;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} did not start, it ended with {status}; {}", self.name, self.log_tail());
            }
            let failure = match answers(self.gateway).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            if Instant::now() >= end {
                bail!("{} did not start, {failure:#}; {}", self.name, self.log_tail());
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let children = pids(self.child.id());
        // All of these fail only for processes that have ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in children.into_iter().skip(1) {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
        }
    }
}

async fn answers(gateway: SocketAddr) -> anyhow::Result<()> {
    let mut client = Client::connect(gateway).await?;
    client.post(crate::bench::load::hello()).await.map(|_| ())
}

fn program(name: &str) -> PathBuf {
    let folder = paths::report_folder("peers");
    folder.join(name).join("bin").join(name)
}

fn arguments(target: Target, engines: &[SocketAddr], port: u16, metrics_port: u16) -> Vec<String> {
    let (command, log_level) = match target {
        Target::VllmRouter => (None, "warning"),
        _ => (Some("launch"), "warn"),
    };
    let mut arguments: Vec<String> = command.into_iter().map(str::to_owned).collect();
    let ports = (port.to_string(), metrics_port.to_string());
    arguments.extend(["--host", "127.0.0.1", "--port", &ports.0, "--worker-urls"].map(str::to_owned));
    arguments.extend(engines.iter().map(|engine| format!("http://{engine}")));
    arguments.extend(["--policy", "cache_aware", "--prometheus-host", "127.0.0.1"].map(str::to_owned));
    arguments.extend(["--prometheus-port", &ports.1, "--log-level", log_level].map(str::to_owned));
    let patience =
        ["--worker-startup-timeout-secs", WORKERS_TIME_MAX_S, "--worker-startup-check-interval", "1"];
    arguments.extend(patience.map(str::to_owned));
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_a_pinned_version() {
        for target in Target::ALL {
            assert_eq!(target.is_peer(), !version(target).is_empty(), "{target}");
        }
    }

    #[test]
    fn all_peers_are_told_the_same() {
        let engines = [SocketAddr::from(([127, 0, 0, 1], 8001)), SocketAddr::from(([127, 0, 0, 1], 8002))];
        for target in Target::ALL.into_iter().filter(|target| target.is_peer()) {
            let line = arguments(target, &engines, 1, 2).join(" ");
            let part =
                "--port 1 --worker-urls http://127.0.0.1:8001 http://127.0.0.1:8002 --policy cache_aware";
            assert!(line.contains(part), "{line}");
            assert_eq!(line.starts_with("launch "), target != Target::VllmRouter);
        }
    }

    #[tokio::test]
    async fn a_peer_that_ends_is_a_failure_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::write(&log, "no such policy\n").unwrap();
        let child = Command::new("false").spawn().unwrap();
        let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut peer = Peer { name: "smg", child, log, gateway };
        let failure = peer.wait_ready().await.unwrap_err().to_string();
        assert!(failure.contains("smg did not start") && failure.contains("no such policy"), "{failure}");
    }
}
