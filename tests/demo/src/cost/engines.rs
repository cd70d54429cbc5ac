//! Engines in a process of their own: what they need must not be taken from Envoy's share of this process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use futures::future::try_join_all;
use warmpath_engine::{EngineServer, ServerConfig};

use crate::args::EnginesArgs;
use crate::cluster::{MODEL, engine_name};

/// Engines in another process; dropping it ends them.
#[derive(Debug)]
pub struct Process {
    child: Child,
    addresses: Vec<SocketAddr>,
}

impl Process {
    /// Starts this program again, as engines. Returns when all listen.
    pub fn start(count: usize, time_scale: f64) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut child = Command::new(program)
            .args(["engines", "--count", &count.to_string(), "--time-scale", &time_scale.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the engines")?;
        let output = child.stdout.take().context("the engines have no output")?;
        let lines = BufReader::new(output).lines().take(count);
        let addresses = lines.map(|line| Ok(line?.parse()?)).collect::<anyhow::Result<Vec<_>>>();
        let process =
            Self { child, addresses: addresses.context("the engines did not tell their addresses")? };
        anyhow::ensure!(process.addresses.len() == count, "the engines ended early");
        Ok(process)
    }

    /// Where they listen.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Closing its standard input ends it; killing only makes sure.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until standard input ends, so that engines never outlive who started them.
pub async fn serve(args: &EnginesArgs) -> anyhow::Result<()> {
    let start = |number| {
        EngineServer::start(ServerConfig {
            name: engine_name(number),
            model: MODEL.to_owned(),
            time_scale: args.time_scale,
            ..ServerConfig::default()
        })
    };
    let engines = try_join_all((0..args.count).map(start)).await.context("cannot start the engines")?;
    let mut output = std::io::stdout().lock();
    for engine in &engines {
        writeln!(output, "{}", engine.addr())?;
    }
    output.flush()?;
    drop(output);
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}
