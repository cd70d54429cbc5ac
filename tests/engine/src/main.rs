//! `warmpath-engine`: several simulated engines in one process, on consecutive ports.

use anyhow::Context;
use clap::Parser;
use std::{io::Write, net::IpAddr, path::PathBuf, time::Duration};
use tokio::signal::unix::{SignalKind, signal};
use warmpath_engine::api::MediaTokens;
use warmpath_engine::{
    EngineServer, Fault, KvEvents, LoadFailure, Opening, Params, Preset, Role, ServerConfig, Transfer,
    TransferProtocol,
};

const BYTES_PER_GBIT: f64 = 1e9 / 8.0;

/// Simulated inference engines that speak vLLM's HTTP protocols.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// How many engines to start.
    #[arg(long, default_value_t = 1)]
    count: u16,
    /// What the engines call themselves in `x-engine`, with a number where there are several.
    #[arg(long, default_value = "engine")]
    name: String,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port of the first engine; 0 takes free ports.
    #[arg(long, default_value_t = 8001)]
    port: u16,
    /// Name of the served model. Several, separated by commas, are served by the engines in turn.
    #[arg(long, default_value = "sim", value_delimiter = ',')]
    model: Vec<String>,
    /// A LoRA adapter to serve as well; repeatable.
    #[arg(long = "adapter")]
    adapters: Vec<String>,
    /// Hardware and model: qwen3-32b-tp2, llama-3.1-8b-tp1, llama-3.1-70b-tp4, instant.
    #[arg(long, default_value_t = Preset::Qwen3On2)]
    preset: Preset,
    /// KV-cache capacity in tokens, instead of the preset's.
    #[arg(long)]
    kv_tokens: Option<usize>,
    /// Tokens a KV block.
    #[arg(long, default_value_t = 16)]
    block_tokens: usize,
    /// Speed-up over real time; 0 responds immediately.
    #[arg(long, default_value_t = 1.0)]
    time_scale: f64,
    /// Tokens in each streamed chunk after the first.
    #[arg(long, default_value_t = 1)]
    tokens_per_chunk: usize,
    /// Requests that may wait; beyond that, new ones get 503.
    #[arg(long)]
    max_num_queued_reqs: Option<usize>,
    /// Tokens of an image.
    #[arg(long, default_value_t = MediaTokens::default().image)]
    image_tokens: usize,
    /// Begin streams at once, with the role's chunk or `message_start`, and not with their first token.
    #[arg(long)]
    opening_at_once: bool,
    /// Send a comment after so many milliseconds without a token, and after as many more.
    #[arg(long)]
    comment_interval_ms: Option<u64>,
    /// On SIGTERM, let requests end for so many seconds at most.
    #[arg(long, default_value_t = 0)]
    shutdown_timeout: u64,
    /// Serve without a prefix cache.
    #[arg(long)]
    no_prefix_caching: bool,
    /// Take legs of requests that two engines serve together, by this protocol: nixl, mooncake, sglang, tensorrt-llm.
    #[arg(long)]
    transfer: Option<TransferProtocol>,
    /// Which legs: both, prefill, decode; of several, separated by commas, the engines have them in turn.
    #[arg(long, default_value = "both", value_delimiter = ',')]
    role: Vec<Role>,
    /// Address of the side channel, which it hands over, instead of `--host`: with `0.0.0.0`, other engines would ask themselves.
    #[arg(long)]
    side_host: Option<IpAddr>,
    /// Port of the first engine's side channel; 0 takes free ports.
    #[arg(long, default_value_t = 0)]
    side_port: u16,
    /// What a decode leg does whose prompt cannot be fetched: fail, recompute.
    #[arg(long, default_value = "fail")]
    load_failure: LoadFailure,
    /// Speed at which keys and values come from another engine, in Gbit/s, instead of 88 (RDMA over a network of 200).
    #[arg(long)]
    transfer_gbit_s: Option<f64>,
    /// Seconds of the model's time that a prompt is kept for another engine.
    #[arg(long)]
    lease_s: Option<f64>,
    /// A folder with a model's tokenizer.json and tokenizer_config.json, whose tokens and template the engines use.
    #[arg(long)]
    model_dir: Option<PathBuf>,
    /// Have vLLM's sleep mode, and take so many seconds for each part of a wake.
    #[arg(long)]
    wake_s: Option<f64>,
    /// Pauses when it is put to sleep, and fails then.
    #[arg(long, requires = "wake_s")]
    sleep_fails: bool,
    /// Publish KV events, in the JSON of vLLM's flag of this name, with `encoding` and `hashes` besides; `{}` takes free ports.
    #[arg(long, value_parser = |text: &str| serde_json::from_str::<KvEvents>(text))]
    kv_events_config: Option<KvEvents>,
    /// A fault from the start on, in the JSON of `/sim/fault`, of all engines or of one: `3={"fault":"silent"}`; repeatable.
    #[arg(long = "fault", value_parser = engine_fault)]
    faults: Vec<(Option<u16>, Fault)>,
    /// Seed of the generated words and of the jitter; engines with equal seeds generate equal words.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

// === impl Args ===

impl Args {
    fn config(&self, number: u16) -> anyhow::Result<ServerConfig> {
        let port = nth_port(self.port, number)?;
        let mut params = Params::new(self.preset);
        params.kv_tokens = self.kv_tokens.unwrap_or(params.kv_tokens);
        params.block_tokens = self.block_tokens.max(1);
        params.seed = self.seed;
        params.held_s_max = self.lease_s.unwrap_or(params.held_s_max);
        if let Some(gbit_s) = self.transfer_gbit_s {
            params.transfer.bytes_per_s = gbit_s * BYTES_PER_GBIT;
        }
        Ok(ServerConfig {
            name: if self.name == "engine" || self.count > 1 {
                format!("{}-{number}", self.name)
            } else {
                self.name.clone()
            },
            listen: (self.host, port).into(),
            model: self.model.get(usize::from(number) % self.model.len().max(1)).cloned().unwrap_or_default(),
            adapters: self.adapters.clone(),
            params,
            time_scale: self.time_scale,
            tokens_per_chunk: self.tokens_per_chunk,
            seed: self.seed,
            queued_requests_max: self.max_num_queued_reqs,
            media: MediaTokens { image: self.image_tokens, ..MediaTokens::default() },
            opening: if self.opening_at_once { Opening::AtOnce } else { Opening::AsVllm },
            comment_interval: self.comment_interval_ms.map(Duration::from_millis),
            prefix_caching: !self.no_prefix_caching,
            transfer: self.transfer_of(number)?,
            model_dir: self.model_dir.clone(),
            wake_time: self.wake_s.map(Duration::try_from_secs_f64).transpose()?,
            sleep_fails: self.sleep_fails,
            events: self.kv_events_config.clone(),
            faults: self
                .faults
                .iter()
                .filter(|(of, _)| of.is_none_or(|of| of == number))
                .map(|(_, fault)| fault.clone())
                .collect(),
            ..ServerConfig::default()
        })
    }

    fn transfer_of(&self, number: u16) -> anyhow::Result<Option<Transfer>> {
        let Some(protocol) = self.transfer else { return Ok(None) };
        Ok(Some(Transfer {
            role: self.role.get(usize::from(number) % self.role.len().max(1)).copied().unwrap_or_default(),
            side_host: self.side_host,
            side_port: nth_port(self.side_port, number)?,
            load_failure: self.load_failure,
            ..Transfer::new(protocol)
        }))
    }
}

/// The port of an engine, if that of the first one is `first`.
fn nth_port(first: u16, number: u16) -> anyhow::Result<u16> {
    match first {
        0 => Ok(0),
        first => first.checked_add(number).context("the last port is above 65535"),
    }
}

/// `JSON`, or `NUMBER=JSON` for one engine.
fn engine_fault(text: &str) -> anyhow::Result<(Option<u16>, Fault)> {
    let (number, json) = match text.split_once('=') {
        Some((number, json)) if !text.starts_with('{') => (Some(number.parse()?), json),
        _ => (None, text),
    };
    Ok((number, serde_json::from_str(json)?))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut servers = Vec::new();
    for number in 0..args.count {
        let config = args.config(number)?;
        let listen = config.listen;
        let server =
            EngineServer::start(config).await.with_context(|| format!("cannot listen on {listen}"))?;
        writeln!(std::io::stdout(), "{} http://{} {}", server.name(), server.addr(), args.preset)?;
        servers.push(server);
    }
    tokio::select! {
        _ = terminate.recv() => {
            let time_max = Duration::from_secs(args.shutdown_timeout);
            futures::future::join_all(servers.iter().map(|server| server.drain(time_max))).await;
        }
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    futures::future::join_all(servers.into_iter().map(EngineServer::shutdown)).await;
    Ok(())
}
