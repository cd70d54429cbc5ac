//! This program once more, as something else: a process that tells its addresses and ends with its standard input,
//! so that it never outlives who started it.

use anyhow::{Context, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// Such a process; dropping it ends it.
#[derive(Debug)]
pub struct Own {
    child: Child,
    addresses: Vec<SocketAddr>,
}

// === impl Own ===

impl Own {
    /// Starts this program with these arguments, and waits for its addresses.
    pub fn start(arguments: &[String], addresses: usize) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let what = arguments.first().map_or("", String::as_str);
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start: {what}"))?;
        let output = child.stdout.take().with_context(|| format!("no output: {what}"))?;
        let mut process = Self { child, addresses: Vec::new() };
        for line in BufReader::new(output).lines().take(addresses) {
            process.addresses.push(line?.parse().with_context(|| format!("not an address: {what}"))?);
        }
        ensure!(process.addresses.len() == addresses, "ended early: {what}");
        Ok(process)
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Closing its standard input ends it; killing only makes sure.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other side: tells the addresses, and waits for the end of standard input.
pub(super) async fn tell_and_wait(addresses: &[SocketAddr]) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    for address in addresses {
        writeln!(output, "{address}")?;
    }
    output.flush()?;
    drop(output);
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}
