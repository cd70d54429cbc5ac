//! The command line.

use crate::arm::Arm;
use crate::bench::args::{BenchArgs, ControllerArgs, EnginesArgs};
use crate::bench_pd::BenchPdArgs;
use crate::faults::Scenario;
use clap::{Parser, Subcommand, ValueEnum};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use warmpath_engine::Preset;

/// Shows and measures what cache-aware routing gains over what Envoy does by itself, and what it costs.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Plays conversations through plain Envoy, then through Warmpath, and compares.
    Demo(DemoArgs),
    /// Starts engines, controller and Envoy on fixed ports and stays until Ctrl-C.
    Up(UpArgs),
    /// Plays a recorded trace side by side: Envoy's two rules and Warmpath. `./just sim --trace FILE` holds it against the
    /// other published rules.
    Replay(ReplayArgs),
    /// Makes parts fail while clients talk, and shows what the clients notice; the exit code is 1 when it is too much.
    Faults(FaultsArgs),
    /// Measures what routing costs, beside plain Envoy and other routers.
    Bench(BenchArgs),
    /// Measures what requests in two legs cost, and what is lost when an engine dies, beside other routers.
    BenchPd(BenchPdArgs),
    /// Measures what many pods in many pools cost the controllers, in a Kubernetes cluster that is started for it.
    BenchCluster(BenchClusterArgs),
    /// Engines in a process of their own; they end with standard input.
    #[command(hide = true)]
    Engines(EnginesArgs),
    /// A controller in a process of its own; it ends with standard input.
    #[command(hide = true)]
    Controller(ControllerArgs),
}

/// Where a demo runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Place {
    /// As processes of this machine.
    #[default]
    Machine,
    /// In a Kubernetes cluster that is started for it: a model, installed with the chart, changed and removed under load.
    K8s,
    /// As processes of this machine: long and short prompts, with prefill and decode together and apart.
    Pd,
    /// As processes of this machine: coding agents whose contexts are twice what the caches hold, with and without waiting
    /// in the proxy.
    Agents,
    /// In a Kubernetes cluster that is started for it: a day of demand within minutes, on a model that sleeps at night, with three ways to
    /// choose the number of engines.
    Scale,
}

/// `bench-cluster`
#[derive(Clone, Debug, clap::Args)]
pub struct BenchClusterArgs {
    /// How many pods.
    #[arg(long, default_value_t = 1_000)]
    pub pods: usize,
    /// How many InferencePools share them.
    #[arg(long, default_value_t = 50)]
    pub pools: usize,
    /// How long it is measured at rest, and while pods change.
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// Changes of pods in a second.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub changes_per_s: u32,
    /// Measure so many ModelServices instead.
    #[arg(long, default_value_t = 0, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(..=200))]
    pub model_services: u16,
    /// Of `--model-services`: measure also what scaling adds, while requests come through so many Envoys.
    #[arg(long, default_value_t = 0, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(..=20))]
    pub proxies: u16,
    /// Of `--proxies`: requests in a second, through all of them.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub requests_per_s: u32,
}

/// `demo`
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// Where it runs, and what.
    #[arg(value_enum, default_value_t = Place::Machine)]
    pub place: Place,
    /// Decides the conversations.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many engines.
    #[arg(long, default_value_t = 8, default_value_if("place", "pd", "4"))]
    pub engines: usize,
    /// How many times faster than real the engines run.
    #[arg(long, default_value_t = 5.0, default_value_ifs([("place", "agents", "10"), ("place", "k8s", "1")]))]
    pub time_scale: f64,
    /// Hardware and model of the engines.
    #[arg(long, default_value_t = Preset::Qwen3On2, default_value_if("place", "k8s", "llama-3.1-8b-tp1"))]
    pub preset: Preset,
    /// KV-cache capacity of an engine in tokens, instead of the preset's.
    #[arg(long)]
    pub kv_tokens: Option<usize>,
    /// Conversations that are under way at the same time.
    #[arg(long, default_value_t = 160, default_value_ifs([("place", "pd", "48"), ("place", "agents", "64"), ("place", "k8s", "72")]))]
    pub clients: usize,
    /// Of `demo agents`: how long it measures, in seconds of model time. Of `demo scale`: how long the day is.
    #[arg(long, default_value_t = 1_200.0, default_value_if("place", "scale", "480"))]
    pub seconds: f64,
    /// Of `demo agents`: how long a request may wait in the proxy for room, in seconds of model time.
    #[arg(long, default_value_t = 300.0)]
    pub room_s: f64,
    /// System prompts, each shared by a group of conversations.
    #[arg(long, default_value_t = crate::workload::GROUPS, default_value_if("place", "k8s", "12"))]
    pub groups: usize,
    /// Conversations with each system prompt.
    #[arg(long, default_value_t = crate::workload::CONVERSATIONS_PER_GROUP, default_value_if("place", "k8s", "10"))]
    pub conversations_per_group: usize,
    /// A third of the conversations begin with an image of their own, 0.8 MB each. The same conversations are also played
    /// as text through Warmpath, to be compared with.
    #[arg(long)]
    pub images: bool,
    /// One engine responds to every request with this status after three milliseconds.
    #[arg(long, value_name = "STATUS")]
    pub failing: Option<u16>,
    /// Which arms to play, in this order. `demo pd` and `demo agents` have their own, and play all of them.
    #[arg(long, value_delimiter = ',', default_values_t = Arm::ALL)]
    pub arms: Vec<Arm>,
    /// Where the report goes, instead of the target folder.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// `up`
#[derive(Clone, Debug, clap::Args)]
pub struct UpArgs {
    /// How many simulated engines, or the addresses of engines that run already, as `ip:port,ip:port`.
    #[arg(long, default_value_t = Engines::Simulated(8))]
    pub engines: Engines,
    /// The port for clients; the other parts take the ports after it. Without it, the ports of the shipped files.
    #[arg(long)]
    pub port_base: Option<u16>,
    /// How many times faster than real the simulated engines run.
    #[arg(long, default_value_t = 1.0)]
    pub time_scale: f64,
    /// Hardware and model of the engines.
    #[arg(long, default_value_t = Preset::Qwen3On2)]
    pub preset: Preset,
}

/// The engines of `up`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engines {
    /// So many simulated ones.
    Simulated(u16),
    /// Engines that run already.
    At(Vec<SocketAddr>),
}

/// `faults`
#[derive(Clone, Debug, clap::Args)]
pub struct FaultsArgs {
    /// Which scenarios to play, in this order.
    #[arg(long, value_delimiter = ',', default_values_t = Scenario::ALL)]
    pub scenarios: Vec<Scenario>,
    /// The controller is gone for ten minutes, not for less than one.
    #[arg(long)]
    pub full: bool,
}

/// `replay`
#[derive(Clone, Debug, clap::Args)]
pub struct ReplayArgs {
    /// A Mooncake trace (.jsonl) or an Azure one (.csv); without it, the excerpt that comes with the source.
    #[arg(long)]
    pub trace: Option<PathBuf>,
    /// Play only the first requests.
    #[arg(long)]
    pub limit: Option<usize>,
    /// How many times faster than real the engines run and the requests arrive.
    #[arg(long, default_value_t = 10.0)]
    pub time_scale: f64,
    /// KV-cache capacity of an engine in tokens, instead of the preset's.
    #[arg(long)]
    pub kv_tokens: Option<usize>,
    /// Hardware and model of the engines.
    #[arg(long, default_value_t = Preset::Qwen3On2)]
    pub preset: Preset,
    /// How many engines.
    #[arg(long, default_value_t = 8)]
    pub engines: usize,
    /// Which arms to play, in this order.
    #[arg(long, value_delimiter = ',', default_values_t = Arm::ALL)]
    pub arms: Vec<Arm>,
    /// How many Envoys share the requests; the controller joins what their filters know.
    #[arg(long, default_value_t = 1)]
    pub envoys: usize,
    /// Worker threads of each Envoy.
    #[arg(long, default_value_t = 1)]
    pub workers: u32,
    /// Decides the texts of the prompts.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Tokens of each streamed piece.
    #[arg(long, default_value_t = 16)]
    pub tokens_per_chunk: usize,
    /// Where the report goes, instead of the target folder.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

// === impl Engines ===

impl FromStr for Engines {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(count) = text.parse() {
            return Ok(Self::Simulated(count));
        }
        let addresses = text.split(',').map(str::parse).collect::<Result<_, _>>();
        addresses.map(Self::At).map_err(|_| {
            "write how many simulated engines, or addresses such as 10.0.0.1:8000,10.0.0.2:8000".to_owned()
        })
    }
}

impl fmt::Display for Engines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simulated(count) => write!(f, "{count}"),
            Self::At(addresses) => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                f.write_str(&addresses.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_help_names_each_arm_once() {
        let mut command = Args::command();
        for name in ["demo", "replay"] {
            let help = command.find_subcommand_mut(name).unwrap().render_long_help().to_string();
            for arm in Arm::ALL {
                assert_eq!(help.matches(arm.name()).count(), 1, "{arm} in\n{help}");
            }
            assert!(!help.contains("rr, lr"), "the short names are for those who know them:\n{help}");
        }
    }

    #[test]
    fn engines_are_a_number_or_addresses() {
        assert_eq!("3".parse(), Ok(Engines::Simulated(3)));
        let addresses = "10.0.0.1:8000,[::1]:80";
        assert_eq!(addresses.parse::<Engines>().unwrap().to_string(), addresses);
        assert!("10.0.0.1".parse::<Engines>().is_err() && "many".parse::<Engines>().is_err());
    }
}
