//! `up`: the whole set-up on fixed ports, to play with by hand.

use crate::args::{Engines, UpArgs};
use crate::arm::Arm;
use crate::cluster::{Cluster, Ports, Spec, params};
use anyhow::{Context, ensure};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use warmpath::run::stop_signal;

/// The ports of the shipped configuration.
const PORTS: Ports =
    Ports { gateway: 8_080, admin: 9_901, controller_grpc: 18_000, controller_http: 18_002, engines: 8_001 };

/// Simulated engines that fit between the first engine's port and Envoy's, and behind it with `--port-base`.
const ENGINES_MAX: u16 = PORTS.gateway - PORTS.engines;

/// Starts everything, prints how to use it, and stays until SIGINT or SIGTERM.
pub async fn run(args: &UpArgs) -> anyhow::Result<()> {
    let (count, engines_at) = match &args.engines {
        Engines::Simulated(count) => (*count, Vec::new()),
        Engines::At(addresses) => (0, addresses.clone()),
    };
    ensure!(
        !engines_at.is_empty() || (1..=ENGINES_MAX).contains(&count),
        "--engines must be from 1 to {ENGINES_MAX}, or addresses"
    );
    let ports = ports(args.port_base)?;
    let stop = stop_signal().context("cannot wait for signals")?;
    check_ports(ports, count)?;
    let params = params(args.preset, None);
    let spec = Spec {
        ports,
        explain: true,
        engines_at,
        ..Spec::new(Arm::Warmpath, usize::from(count), params, args.time_scale)
    };
    let cluster = Cluster::start(&spec).await?;
    println!("{}", instructions(args, ports, &spec.engines_at));
    stop.await;
    println!("\nstopping");
    cluster.shutdown().await;
    Ok(())
}

/// Those of the shipped files, or those from `base` on, so that several people can share a machine.
fn ports(base: Option<u16>) -> anyhow::Result<Ports> {
    let Some(base) = base else { return Ok(PORTS) };
    let at = |offset: u16| base.checked_add(offset);
    let ports = || {
        let last = at(4 + ENGINES_MAX)?;
        (base > 0 && last > 0).then_some(Ports {
            gateway: base,
            admin: at(1)?,
            controller_grpc: at(2)?,
            controller_http: at(3)?,
            engines: at(4)?,
        })
    };
    ports().with_context(|| format!("--port-base must be from 1 to {}", u16::MAX - 4 - ENGINES_MAX))
}

/// Envoy shares its ports with whoever has them already instead of complaining, so all are looked at first.
fn check_ports(ports: Ports, engines: u16) -> anyhow::Result<()> {
    let others = [ports.gateway, ports.admin, ports.controller_grpc, ports.controller_http];
    for port in others.into_iter().chain(ports.engines..ports.engines + engines) {
        TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).with_context(|| {
            format!(
                "port {port} is taken: stop what listens there (`ss -ltnp 'sport = :{port}'`), or take others with \
                 --port-base"
            )
        })?;
    }
    Ok(())
}

fn instructions(args: &UpArgs, ports: Ports, engines_at: &[SocketAddr]) -> String {
    let chat = |words: &str| {
        format!(
            "{{\"model\":\"sim\",\"max_tokens\":16,\"messages\":[{{\"role\":\"system\",\"content\":\"'\"$LONG\"'\"}},\
             {{\"role\":\"user\",\"content\":\"{words}\"}}]}}"
        )
    };
    let Ports { gateway, admin, controller_http, engines, .. } = ports;
    let which = match &args.engines {
        Engines::Simulated(count) => {
            format!("127.0.0.1:{engines} to {} ({})", engines + count - 1, args.preset)
        }
        Engines::At(_) => args.engines.to_string(),
    };
    let fault = if engines_at.is_empty() {
        format!(
            "
An engine that fails, and what clients notice of it (nothing):

  curl -s 127.0.0.1:{engines}/sim/fault -d '{{\"fault\":\"refuse\",\"for_ms\":10000}}'
"
        )
    } else {
        String::new()
    };
    format!(
        "
Envoy with Warmpath   http://127.0.0.1:{gateway}     admin   http://127.0.0.1:{admin}
controller            http://127.0.0.1:{controller_http}    engines {which}

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
{fault}
Ctrl-C stops everything.",
        first = chat("Hello"),
        second = chat("Something else"),
    )
}
