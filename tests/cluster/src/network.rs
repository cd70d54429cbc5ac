//! The network of the cluster: a bridge with the address of the control plane, and a pair of devices for each pod.
//!
//! ```text
//!  10.99.0.1 (bridge: API server, tests, Services' addresses) ── ve1 ═ eth0 10.99.1.1 (pod)
//!                                                             └─ ve2 ═ eth0 10.99.2.1 (pod)
//! ```
//!
//! Each pod has a network namespace of its own, so that several may listen on the same port of all their addresses, and
//! so that the loss of a node can be what it is: packets that go nowhere.

use crate::command::must;
use anyhow::Context;
use std::fmt::Write;
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

const BRIDGE: &str = "cluster0";

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

/// Makes the bridge and the addresses of the control plane.
pub(crate) async fn start() -> anyhow::Result<()> {
    // On the loopback device all addresses of a range are the machine's own.
    ip(&format!(
        "link set lo up\naddr add {KUBERNETES_SERVICE}/16 dev lo\nlink add {BRIDGE} type bridge\n\
         addr add {HOST}/16 dev {BRIDGE}\nlink set {BRIDGE} up\n"
    ))
    .await
    .context("cannot make a network; is `ip` (package iproute2) installed?")
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
        // The hardware's address follows from the address: neighbours remember it beyond the pod's life.
        let mac = address.octets().iter().fold("02:00".to_owned(), |mut mac, octet| {
            let _infallible = write!(mac, ":{octet:02x}");
            mac
        });
        ip(&format!(
            "link add {device} type veth peer name eth0 address {mac} netns {pid}\nlink set {device} master {BRIDGE} up\n"
        ))
        .await?;
        let mut inside = Command::new("nsenter");
        inside.args(["--target", &pid.to_string(), "--net", "--", "ip", "-batch", "-"]);
        let lines = format!(
            "link set lo up\naddr add {address}/16 dev eth0\nlink set eth0 up\nroute add default via {HOST}\n"
        );
        must(inside, &lines).await?;
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

/// Lets packets through a device, or drops them all.
pub(crate) async fn set_up(device: &str, is_up: bool) -> anyhow::Result<()> {
    ip(&format!("link set {device} {}\n", if is_up { "up" } else { "down" })).await
}

async fn ip(lines: &str) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]);
    must(command, lines).await.map(drop)
}
