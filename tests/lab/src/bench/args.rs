//! The arguments of the bench, and of the processes that it starts.

use crate::bench::figure::Figure;
use crate::bench::target::Target;
use std::net::SocketAddr;
use std::path::PathBuf;

/// `bench`
#[derive(Clone, Debug, clap::Args)]
pub struct BenchArgs {
    /// Few requests and repetitions: shows that all of it works, and the rough size of each figure.
    #[arg(long)]
    pub quick: bool,
    /// How often each measurement is repeated, targets in turn; 5, or 2 with --quick.
    #[arg(long)]
    pub repetitions: Option<usize>,
    /// Who is measured.
    #[arg(long, value_delimiter = ',', default_values_t = Target::ALL)]
    pub targets: Vec<Target>,
    /// Bytes of the prompts.
    #[arg(long, value_delimiter = ',', default_values_t = [1 << 10, 8 << 10, 32 << 10, 128 << 10])]
    pub bodies: Vec<usize>,
    /// Connections that send at the same time, where requests are measured. One, as llm-d's figures were taken.
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    /// What is measured.
    #[arg(long, value_delimiter = ',', default_values_t = Figure::ALL)]
    pub figures: Vec<Figure>,
    /// Where the report goes, instead of the target folder.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// `engines`
#[derive(Clone, Debug, clap::Args)]
pub struct EnginesArgs {
    /// How many engines.
    #[arg(long)]
    pub count: usize,
    /// How many times faster than real; 0 answers at once.
    #[arg(long)]
    pub time_scale: f64,
}

/// `controller`
#[derive(Clone, Debug, clap::Args)]
pub struct ControllerArgs {
    /// The engines of its pool.
    #[arg(long, value_delimiter = ',')]
    pub engines: Vec<SocketAddr>,
}
