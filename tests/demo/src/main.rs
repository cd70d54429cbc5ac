//! `warmpath-demo`: see the crate's documentation, and `--help`.

use clap::Parser;
use warmpath_demo::args::{Args, Command};
use warmpath_demo::{demo, replay, up};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Demo(args) => demo::run(&args).await,
        Command::Up(args) => up::run(&args).await,
        Command::Replay(args) => replay::run(&args).await,
    }
}
