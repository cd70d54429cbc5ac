//! Probes of a container: startup first, then readiness and liveness concurrently.

use super::inside::Inside;
use anyhow::{Context, bail, ensure};
use k8s_openapi::api::core::v1::{Container, ExecAction, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Bytes of a response that matter: its first line.
const HEAD_BYTES: usize = 12;

/// What a probe has found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Started,
    Ready(bool),
}

/// The probes of a running container.
pub(super) struct Prober<'a> {
    pub(super) container: &'a Container,
    pub(super) inside: &'a Inside,
}

// === impl Prober ===

impl Prober<'_> {
    /// Runs the probes; returns when the container must start again, with the reason.
    pub(super) async fn watch(&self, found: &(impl Fn(Finding) + Sync)) -> String {
        if let Some(probe) = &self.container.startup_probe
            && let Err(reason) = self.until_success(probe, positive(probe.failure_threshold, 3)).await
        {
            return format!("startup probe failed: {reason:#}");
        }
        found(Finding::Started);
        tokio::select! {
            reason = self.readiness(found) => reason,
            reason = self.liveness() => reason,
        }
    }

    async fn readiness(&self, found: &(impl Fn(Finding) + Sync)) -> String {
        let Some(probe) = &self.container.readiness_probe else {
            found(Finding::Ready(true));
            return std::future::pending().await;
        };
        loop {
            let _succeeded = self.until_success(probe, u64::MAX).await;
            found(Finding::Ready(true));
            let _reason = self.until_failure(probe).await;
            found(Finding::Ready(false));
        }
    }

    async fn liveness(&self) -> String {
        let Some(probe) = &self.container.liveness_probe else { return std::future::pending().await };
        sleep(Duration::from_secs(positive(probe.initial_delay_seconds, 0))).await;
        let reason = self.until_failure(probe).await;
        format!("liveness probe failed: {reason:#}")
    }

    /// Probes until it has succeeded as often as it must, or failed too often.
    async fn until_success(&self, probe: &Probe, failures_max: u64) -> anyhow::Result<()> {
        sleep(Duration::from_secs(positive(probe.initial_delay_seconds, 0))).await;
        let (mut successes, mut failures) = (0, 0);
        loop {
            match self.once(probe).await {
                Ok(()) => {
                    (successes, failures) = (successes + 1, 0);
                    if successes >= positive(probe.success_threshold, 1) {
                        return Ok(());
                    }
                }
                Err(error) => {
                    (successes, failures) = (0, failures + 1);
                    if failures >= failures_max {
                        return Err(error);
                    }
                }
            }
            sleep(period(probe)).await;
        }
    }

    /// Probes until it has failed too often.
    async fn until_failure(&self, probe: &Probe) -> anyhow::Error {
        let mut failures = 0;
        loop {
            sleep(period(probe)).await;
            match self.once(probe).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    if failures >= positive(probe.failure_threshold, 3) {
                        return error;
                    }
                }
            }
        }
    }

    async fn once(&self, probe: &Probe) -> anyhow::Result<()> {
        let limit = Duration::from_secs(positive(probe.timeout_seconds, 1));
        let probed = timeout(limit, run(probe, self.container, self.inside)).await;
        probed.unwrap_or_else(|_| bail!("no response in {} s", limit.as_secs()))
    }
}

async fn run(probe: &Probe, container: &Container, inside: &Inside) -> anyhow::Result<()> {
    if let Some(action) = &probe.http_get {
        return http(action, container, inside).await;
    }
    if let Some(action) = &probe.tcp_socket {
        let port = port(&action.port, container)?;
        return TcpStream::connect((inside.address, port)).await.map(drop).context("cannot connect");
    }
    if let Some(action) = &probe.exec {
        return exec(action, inside).await;
    }
    if let Some(action) = &probe.grpc {
        // Whether it listens: what its health service says is not looked at.
        let port = u16::try_from(action.port).context("not a port")?;
        return TcpStream::connect((inside.address, port)).await.map(drop).context("cannot connect");
    }
    bail!("a kind of probe that these nodes do not have")
}

/// Runs a command in the container; it must succeed.
pub(super) async fn exec(action: &ExecAction, inside: &Inside) -> anyhow::Result<()> {
    let finished = inside.run(action.command.as_deref().unwrap_or_default()).await?;
    ensure!(finished.is_success, "{}{}", finished.stdout, finished.stderr);
    Ok(())
}

/// A GET request; its status must be a success or a redirection.
pub(super) async fn http(
    action: &HTTPGetAction,
    container: &Container,
    inside: &Inside,
) -> anyhow::Result<()> {
    let port = port(&action.port, container)?;
    let mut stream = TcpStream::connect((inside.address, port)).await.context("cannot connect")?;
    let path = action.path.as_deref().unwrap_or("/");
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}:{port}\r\nUser-Agent: kube-probe\r\nConnection: close\r\n",
        inside.address
    );
    for header in action.http_headers.iter().flatten() {
        request.extend([&header.name, ": ", &header.value, "\r\n"]);
    }
    stream.write_all(format!("{request}\r\n").as_bytes()).await.context("cannot send")?;
    let mut head = [0; HEAD_BYTES];
    stream.read_exact(&mut head).await.context("no response")?;
    let head = String::from_utf8_lossy(&head);
    let status: u16 = head.get(9..).unwrap_or_default().parse().context("not HTTP")?;
    ensure!((200..400).contains(&status), "status {status}");
    Ok(())
}

/// A port by its number, or by its name among the container's.
fn port(port: &IntOrString, container: &Container) -> anyhow::Result<u16> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    number
        .and_then(|number| u16::try_from(number).ok())
        .context("the probe's port is none of the container's")
}

fn period(probe: &Probe) -> Duration {
    Duration::from_secs(positive(probe.period_seconds, 10).max(1))
}

fn positive(value: Option<i32>, default: u64) -> u64 {
    value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default)
}
