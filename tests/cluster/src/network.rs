//! The network of the cluster: the control plane's address, and a link with a route to each pod.
//!
//! ```text
//!  10.99.0.1 (API server, tests, Services' addresses) ── route to 10.99.1.1 ── ve1 ═ eth0 (pod)
//!                                                     └─ route to 10.99.2.1 ── ve2 ═ eth0 (pod)
//! ```
//!
//! Each pod has its own network namespace, so that several pods can listen on the same port of all addresses. The network is
//! routed, not bridged: packets to a lost node vanish silently, as in a real network. On one segment, neighbours would notice
//! within seconds.

use crate::command::must;
use anyhow::Context;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The control plane's and the tests' own address.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// Addresses of Services.
pub(crate) const SERVICE_RANGE: &str = "10.96.0.0/16";

/// The API server's Service has the first.
pub(crate) const KUBERNETES_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// Whether packets of one pod reach another; it is the namespace's own setting.
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// Numbers the devices.
static DEVICES: AtomicU32 = AtomicU32::new(1);

/// A pod's network: it exists as long as this.
#[derive(Debug)]
pub(crate) struct Link {
    /// Holds the network namespace, as the pause container of a real pod does.
    holder: Child,
    device: String,
    pid: u32,
}

/// Makes the addresses of the control plane and of Services.
pub(crate) async fn start() -> anyhow::Result<()> {
    // On the loopback device all addresses of a range are the machine's own.
    ip(&format!("link set lo up\naddr add {KUBERNETES_SERVICE}/16 dev lo\naddr add {HOST}/32 dev lo\n"))
        .await
        .context("cannot make a network; is `ip` (package iproute2) installed?")?;
    tokio::fs::write(FORWARDING, "1").await.context("cannot forward packets between pods")
}

// === impl Link ===

impl Link {
    pub(crate) async fn new(address: Ipv4Addr) -> anyhow::Result<Self> {
        let mut holder = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", "echo made; exec sleep infinity"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run unshare")?;
        let stdout = holder.stdout.take().context("no output of the holder")?;
        BufReader::new(stdout).lines().next_line().await.context("the network namespace was not made")?;
        let pid = holder.id().context("the holder of a network namespace ended")?;
        let device = format!("ve{}", DEVICES.fetch_add(1, Ordering::Relaxed));
        ip(&format!("link add {device} type veth peer name eth0 netns {pid}\n")).await?;
        let mut inside = Command::new("nsenter");
        inside.args(["--target", &pid.to_string(), "--net", "--", "ip", "-batch", "-"]);
        let lines = format!(
            "link set lo up\naddr add {address}/32 dev eth0\nlink set eth0 up\nroute add {HOST} dev eth0\n\
             route add default via {HOST}\n"
        );
        must(inside, &lines).await?;
        connect(address, &device).await?;
        Ok(Self { holder, device, pid })
    }

    /// The file by which processes enter.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.pid)
    }

    /// Its device on the bridge.
    pub(crate) fn device(&self) -> &str {
        &self.device
    }

    /// Removes it.
    pub(crate) async fn remove(&mut self) {
        let _killed = self.holder.kill().await;
    }
}

/// Makes all addresses of a range those of the control plane, beside its own.
pub(crate) async fn own(range: &str) -> anyhow::Result<()> {
    ip(&format!("route add local {range} dev lo\n")).await
}

/// Lets packets to a pod through.
pub(crate) async fn connect(address: Ipv4Addr, device: &str) -> anyhow::Result<()> {
    ip(&format!("link set {device} up\nroute replace {address}/32 dev {device} src {HOST}\n")).await
}

/// Drops packets to a pod and from it, until the address is connected again.
pub(crate) async fn cut(address: Ipv4Addr, device: &str) -> anyhow::Result<()> {
    ip(&format!("route replace blackhole {address}/32\nlink set {device} down\n")).await
}

async fn ip(lines: &str) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]);
    must(command, lines).await.map(drop)
}
