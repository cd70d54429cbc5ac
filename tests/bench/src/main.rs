//! `warmpath-bench`: see the crate's documentation, and `--help`.

use clap::Parser;
use warmpath_bench::args::{Args, Command};
use warmpath_bench::{process, run};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Run(args) => run::run(&args).await,
        Command::Engines(args) => process::engines::serve(&args).await,
        Command::Controller(args) => process::controller::serve(&args).await,
    }
}
