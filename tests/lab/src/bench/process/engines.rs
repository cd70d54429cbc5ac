//! Simulated engines in a process of their own: what they need must not be taken from anybody else's share.

use super::own::{Own, tell_and_wait};
use crate::bench::args::EnginesArgs;
use crate::cluster::{MODEL, engine_name};
use anyhow::Context;
use futures::future::try_join_all;
use warmpath_engine::{EngineServer, ServerConfig};

/// Starts engines in another process. Returns when all listen.
pub fn start(count: usize, time_scale: f64) -> anyhow::Result<Own> {
    let count_text = count.to_string();
    let arguments = ["engines", "--count", &count_text, "--time-scale", &time_scale.to_string()];
    Own::start(&arguments.map(str::to_owned), count)
}

/// Serves until standard input ends.
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
    tell_and_wait(&engines.iter().map(EngineServer::addr).collect::<Vec<_>>()).await
}
