//! `warmpath-lab`: see the crate's documentation, and `--help`.

use clap::Parser;
use warmpath_lab::args::{Args, Command};
use warmpath_lab::bench::process::{controller, engines};
use warmpath_lab::kubernetes::scale;
use warmpath_lab::{bench, bench_pd, demo, faults, replay, up};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Demo(args) => demo::run(&args).await,
        Command::Up(args) => up::run(&args).await,
        Command::Replay(args) => replay::run(&args).await,
        Command::Faults(args) => faults::run(&args).await,
        Command::Bench(args) => bench::run::run(&args).await,
        Command::BenchPd(args) => bench_pd::run(&args).await,
        Command::BenchCluster(args) => scale::run(&args).await,
        Command::Engines(args) => engines::serve(&args).await,
        Command::Controller(args) => controller::serve(&args).await,
    }
}
