//! What the server costs: processor time a request and a streamed piece, of an engine that responds immediately.
//!
//! `cargo run --release -p warmpath-engine --example cost`. Linux only: the engine has a thread of its own,
//! whose processor time the kernel reports; the client's does not count. Numbers for other machines follow
//! from running it there.
#![allow(
    clippy::print_stdout,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a measuring tool that prints small counts"
)]

use anyhow::Context;
use http::Method;
use serde_json::{Value, json};
use std::{fs, path::PathBuf, sync::mpsc, thread, time::Instant};
use tokio::runtime::Builder;
use warmpath_engine::{EngineServer, ServerConfig};
use warmpath_http::{Connection, JSON};

const REQUESTS: usize = 2_000;
const STREAMS: usize = 50;
const STREAM_TOKENS: usize = 2_000;
const PROMPT_BYTES: usize = 32 << 10;
/// Tokens to generate where the request is measured.
const SHORT_OUTPUT_TOKENS: usize = 16;

/// The kernel's count of a thread's processor nanoseconds.
struct Meter(PathBuf);

// === impl Meter ===

impl Meter {
    fn this_thread() -> anyhow::Result<Self> {
        let task = fs::read_link("/proc/thread-self").context("no /proc")?;
        Ok(Self(PathBuf::from("/proc").join(task).join("schedstat")))
    }

    fn cpu_us(&self) -> anyhow::Result<f64> {
        let line = fs::read_to_string(&self.0)?;
        let nanoseconds: f64 = line.split(' ').next().context("an empty schedstat")?.parse()?;
        Ok(nanoseconds / 1_000.0)
    }
}

/// Starts an engine with a thread of its own; it ends with the process.
fn start(config: ServerConfig) -> anyhow::Result<(std::net::SocketAddr, Meter)> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || -> anyhow::Result<()> {
        let meter = Meter::this_thread()?;
        Builder::new_current_thread().enable_all().build()?.block_on(async {
            let engine = EngineServer::start(config).await?;
            sender.send((engine.addr(), meter))?;
            std::future::pending::<()>().await;
            Ok(())
        })
    });
    receiver.recv().context("the engine did not start")
}

async fn post(connection: &mut Connection, path: &str, body: &Value) -> anyhow::Result<usize> {
    let response = connection.send(Method::POST, path, &[JSON], body.to_string().into()).await?;
    anyhow::ensure!(response.status == 200, "{}", response.status);
    Ok(response.body.len())
}

/// Posts `count` bodies, one after the other, and prints the engine's processor time for each.
async fn measure(
    what: &str,
    config: ServerConfig,
    count: usize,
    pieces: usize,
    path: &str,
    body: impl Fn(usize) -> Value,
) -> anyhow::Result<()> {
    let (addr, meter) = start(config)?;
    let mut connection = Connection::open(addr).await?;
    post(&mut connection, path, &body(count)).await?;
    let (begun, begun_us) = (Instant::now(), meter.cpu_us()?);
    for number in 0..count {
        post(&mut connection, path, &body(number)).await?;
    }
    let all = (count * pieces) as f64;
    let (cpu_us, wall_us) = (meter.cpu_us()? - begun_us, begun.elapsed().as_secs_f64() * 1e6);
    println!("{what:<44} {:>8.2} us cpu {:>8.2} us wall", cpu_us / all, wall_us / all);
    Ok(())
}

fn chat(prompt: &str, number: usize, tokens: usize, stream: bool) -> Value {
    let content = format!("{number:08}{prompt}");
    json!({"messages": [{"role": "user", "content": content}], "max_tokens": tokens, "stream": stream})
}

fn main() -> anyhow::Result<()> {
    let long = "lorem ip".repeat(PROMPT_BYTES / 8);
    let instant = ServerConfig::instant;
    let paced = || ServerConfig { time_scale: 50.0, ..ServerConfig::default() };
    let path = "/v1/chat/completions";
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        measure("request, 32 KiB prompt, new", instant(), REQUESTS, 1, path, |number| {
            chat(&long, number, SHORT_OUTPUT_TOKENS, false)
        })
        .await?;
        measure("request, 32 KiB prompt, cached", instant(), REQUESTS, 1, path, |_| {
            chat(&long, 0, SHORT_OUTPUT_TOKENS, false)
        })
        .await?;
        measure("request, 8 bytes", instant(), REQUESTS, 1, path, |number| {
            chat("", number, SHORT_OUTPUT_TOKENS, false)
        })
        .await?;
        measure("streamed piece, at once", instant(), STREAMS, STREAM_TOKENS, path, |number| {
            chat("", number, STREAM_TOKENS, true)
        })
        .await?;
        measure("streamed piece, 50 times real speed", paced(), 2, STREAM_TOKENS, path, |number| {
            chat("", number, STREAM_TOKENS, true)
        })
        .await
    })
}
