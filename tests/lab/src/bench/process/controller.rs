//! The controller in a process of its own, so that its processor time can be told apart.

use super::own::{Own, tell_and_wait};
use crate::bench::args::ControllerArgs;
use crate::cluster::{pool, start_controller};
use std::net::{Ipv4Addr, SocketAddr};

/// Starts a controller for these engines in another process. Its one address is that of the state stream.
pub fn start(engines: &[SocketAddr]) -> anyhow::Result<Own> {
    let list: Vec<String> = engines.iter().map(ToString::to_string).collect();
    Own::start(&["controller".to_owned(), "--engines".to_owned(), list.join(",")], 1)
}

/// Serves until standard input ends. It scrapes as often as it does for users.
pub async fn serve(args: &ControllerArgs) -> anyhow::Result<()> {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let controller = start_controller(free, free, 1.0, pool(&args.engines)).await?;
    tell_and_wait(&[controller.grpc_addr()]).await?;
    controller.shutdown().await;
    Ok(())
}
