//! `up`: the whole set-up on fixed ports, to play with by hand.

use crate::args::UpArgs;
use crate::arm::Arm;
use crate::cluster::{Cluster, Ports, Spec, params};
use anyhow::{Context, ensure};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use warmpath::run::stop_signal;

/// The ports of the shipped configuration.
const PORTS: Ports =
    Ports { gateway: 8_080, admin: 9_901, controller_grpc: 18_000, controller_http: 18_002, engines: 8_001 };

/// Engines that fit between the first engine's port and Envoy's.
const ENGINES_MAX: u16 = PORTS.gateway - PORTS.engines;

/// Starts everything, tells how to use it, and stays until SIGINT or SIGTERM.
pub async fn run(args: &UpArgs) -> anyhow::Result<()> {
    ensure!((1..=ENGINES_MAX).contains(&args.engines), "--engines must be from 1 to {ENGINES_MAX}");
    let stop = stop_signal().context("cannot wait for signals")?;
    check_ports(args.engines)?;
    let params = params(args.preset, None);
    let spec = Spec {
        ports: PORTS,
        explain: true,
        ..Spec::new(Arm::Warmpath, usize::from(args.engines), params, args.time_scale)
    };
    let cluster = Cluster::start(&spec).await?;
    println!("{}", instructions(args));
    stop.await;
    println!("\nstopping");
    cluster.shutdown().await;
    Ok(())
}

/// Envoy shares its ports with whoever has them already instead of complaining, so all are looked at first.
fn check_ports(engines: u16) -> anyhow::Result<()> {
    let last = PORTS.engines + engines - 1;
    let others = [PORTS.gateway, PORTS.admin, PORTS.controller_grpc, PORTS.controller_http];
    for port in others.into_iter().chain(PORTS.engines..=last) {
        TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).with_context(|| {
            format!("port {port} is taken: stop what listens there (`ss -ltnp 'sport = :{port}'`)")
        })?;
    }
    Ok(())
}

fn instructions(args: &UpArgs) -> String {
    let chat = |words: &str| {
        format!(
            "{{\"model\":\"sim\",\"max_tokens\":16,\"messages\":[{{\"role\":\"system\",\"content\":\"'\"$LONG\"'\"}},\
             {{\"role\":\"user\",\"content\":\"{words}\"}}]}}"
        )
    };
    let Ports { gateway, admin, controller_http, engines, .. } = PORTS;
    let last = engines + args.engines - 1;
    format!(
        "
Envoy with Warmpath   http://127.0.0.1:{gateway}     admin   http://127.0.0.1:{admin}
controller            http://127.0.0.1:{controller_http}    engines 127.0.0.1:{engines} to {last} ({preset})

A long system prompt, a chat, and another chat with the same prompt. Look at x-warmpath-decision, at
x-engine (the same one again) and at x-engine-cached-tokens:

  JSON='content-type: application/json'
  LONG=$(seq -s ' ' 2000)
  curl -si 127.0.0.1:{gateway}/v1/chat/completions -H \"$JSON\" -d '{first}'
  curl -si 127.0.0.1:{gateway}/v1/chat/completions -H \"$JSON\" -d '{second}'

What the filter would decide, and why, without asking an engine:

  curl -s 127.0.0.1:{gateway}/v1/chat/completions -H \"$JSON\" -H 'x-warmpath-explain: 1' -d '{second}'

What filter and controller count, and which endpoints the controller sees:

  curl -s '127.0.0.1:{admin}/stats?filter=wasmcustom'
  curl -s 127.0.0.1:{controller_http}/metrics
  curl -s 127.0.0.1:{controller_http}/state

An engine that fails, and what clients notice of it (nothing):

  curl -s 127.0.0.1:{engines}/sim/fault -d '{{\"fault\":\"refuse\",\"for_ms\":10000}}'

Ctrl-C stops everything.",
        preset = args.preset,
        first = chat("Hello"),
        second = chat("Something else"),
    )
}
