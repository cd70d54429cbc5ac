//! Size of the filter, and how long a VM takes to start.
//!
//! Envoy does not tell the start of a VM by itself. It tells how long its own initialization took: with the filter,
//! V8's compilation is in it, which happens once a process, and the first VMs. The test host tells what a VM takes that
//! is compiled already, as every worker's is and every one that replaces a trapped one.

use crate::bench::plan::Plan;
use crate::bench::target::{EnvoySpec, Target};
use crate::paths;
use anyhow::{Context, ensure};
use serde_json::json;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;
use warmpath_envoy::until;
use warmpath_host::{Host, Module};

/// Envoy's histogram of its one initialization.
const INITIALIZATION: &str = "server.initialization_time_ms";

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wasm {
    /// Bytes of the file.
    pub bytes: u64,
    /// Milliseconds of Envoy's initialization with the filter, one value a start.
    pub with_ms: Vec<f64>,
    /// The same without it.
    pub without_ms: Vec<f64>,
    /// Milliseconds of a compiled VM from nothing to configured, in the test host.
    pub instance_ms: Vec<f64>,
}

/// Measures. No engine is needed: nothing is asked.
pub async fn measure(plan: &Plan) -> anyhow::Result<Wasm> {
    let path = paths::wasm()?;
    let mut wasm = Wasm { bytes: fs::metadata(&path)?.len(), ..Wasm::default() };
    let folder = tempfile::tempdir().context("cannot make a folder for envoy's configuration")?;
    for _ in 0..plan.starts {
        wasm.without_ms.push(initialization_ms(Target::Plain, folder.path()).await?);
        wasm.with_ms.push(initialization_ms(Target::Warmpath, folder.path()).await?);
    }
    let module = Module::load(&path)?;
    for _ in 0..plan.starts {
        wasm.instance_ms.push(instance_ms(&module)?);
    }
    Ok(wasm)
}

async fn initialization_ms(target: Target, folder: &Path) -> anyhow::Result<f64> {
    let nobody = [SocketAddr::from((Ipv4Addr::LOCALHOST, 9))];
    let spec = EnvoySpec { target, engines: &nobody, controller: None, workers: 1, explains: false };
    let envoy = spec.start(folder).await?;
    // A question makes Envoy flush its histograms, and may be answered before it has.
    let told = until("envoy to tell how long it took to start", async || {
        let page = envoy.admin().get(&format!("/stats?filter={INITIALIZATION}")).await.ok()?;
        parse(&page)
    });
    Ok(told.await?)
}

/// The highest value of the line `name: P0(since the last flush,since the start) ... P100(..,..)`. With one value in
/// it, all of them are that one, up to the width of its bucket.
fn parse(page: &str) -> Option<f64> {
    let line = page.lines().find_map(|line| line.strip_prefix(INITIALIZATION))?;
    let (_, quantiles) = line.rsplit_once("P100(")?;
    quantiles.split(')').next()?.split(',').nth(1)?.trim().parse().ok()
}

fn instance_ms(module: &Module) -> anyhow::Result<f64> {
    let config = json!({
        "pools": [{ "name": "bench", "models": ["*"], "endpoints": ["127.0.0.1:9"] }],
        "controller": { "cluster": "controller" },
    });
    let host = Host::default();
    let begun = Instant::now();
    let vm = host.vm(module)?;
    ensure!(vm.configure(config.to_string().as_bytes())?, "the filter refused its configuration");
    Ok(begun.elapsed().as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_since_the_start_is_read() {
        let page = format!("{INITIALIZATION}: P0(nan,94) P50(nan,94.5) P100(nan,95)\n");
        assert_eq!(parse(&page), Some(95.0));
        assert_eq!(parse("other: P100(1,2)"), None);
    }
}
