//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Where `envoy/envoy.yaml` has the admin page.
const ADMIN: &str = "http://127.0.0.1:9901";
/// The controller's HTTP address as it is by default.
pub(crate) const CONTROLLER_DEFAULT: &str = "http://127.0.0.1:18002";

/// Routes LLM requests to the engine that already holds their prompt.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
    /// Format of log lines.
    #[arg(long, global = true, value_enum, default_value = "text", env = "WARMPATH_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// Filter of log lines, such as `info` or `warmpath=debug`.
    #[arg(long, global = true, default_value = "info", env = "WARMPATH_LOG")]
    pub log: String,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controller until SIGTERM or SIGINT.
    Controller(ControllerArgs),
    /// Show where a request would go and why. Reads the request's body from standard input.
    Explain(ExplainArgs),
    /// Prepare, probe and drain an Envoy. The kubelet runs this in Envoy's pods.
    #[command(subcommand)]
    Proxy(ProxyCommand),
    /// List what a controller knows: pools, endpoints, or the proxies that are connected to it. Or the models of a cluster.
    Get(GetArgs),
    /// Show what ModelServices would become: workloads, Services and an InferencePool, each with the reason why.
    ///
    /// To compare with a cluster: warmpath plan -f FILE -o yaml | kubectl diff --server-side -f -
    Plan(PlanArgs),
    /// Check a controller, Envoys and a cluster: what is wrong, and how to fix it.
    ///
    /// The exit status is 0 without errors, 1 with errors, and 2 where something could not be checked.
    Check(CheckArgs),
    /// Print the definition of ModelService, or apply it to a cluster.
    Crd(CrdArgs),
}

/// See [`Command::Crd`].
#[derive(Debug, Args)]
pub struct CrdArgs {
    /// Apply it to the cluster that this runs in, or that KUBECONFIG names.
    #[arg(long)]
    pub apply: bool,
}

/// See [`Command::Controller`].
#[derive(Debug, Args)]
pub struct ControllerArgs {
    /// The configuration file; it is watched for changes.
    #[arg(long, env = "WARMPATH_CONFIG", required_unless_present = "kubernetes")]
    pub config: Option<PathBuf>,
    /// Follow pools and pods of the cluster that this runs in, or that KUBECONFIG names.
    #[arg(long, env = "WARMPATH_KUBERNETES")]
    pub kubernetes: bool,
    /// Validate the file, print all errors, and exit.
    #[arg(long)]
    pub check: bool,
}

/// See [`Command::Explain`].
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// URL of the controller to ask.
    #[arg(long, default_value = CONTROLLER_DEFAULT, conflicts_with = "proxy")]
    pub controller: String,
    /// URL of a proxy to ask instead: it decides with its own view.
    #[arg(long)]
    pub proxy: Option<String>,
    /// The request's path, which selects the API.
    #[arg(long, default_value = "/v1/chat/completions")]
    pub path: String,
    /// The configured `explain_token`, if there is one.
    #[arg(long, env = "WARMPATH_EXPLAIN_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Print the explanation as JSON.
    #[arg(long)]
    pub json: bool,
}

/// See [`Command::Proxy`].
#[derive(Debug, Subcommand)]
pub enum ProxyCommand {
    /// Copy the filter and this program into a folder.
    Install {
        /// The filter.
        #[arg(long)]
        filter: PathBuf,
        /// The folder, which Envoy's container must mount as well.
        #[arg(long)]
        to: PathBuf,
    },
    /// Succeed if Envoy is ready and its filter has state from a controller.
    Ready {
        /// URL of Envoy's admin page.
        #[arg(long, default_value = ADMIN)]
        admin: String,
        /// Succeed even without a controller once Envoy has run for this long.
        #[arg(long, default_value_t = 15)]
        patience_seconds: u64,
    },
    /// Let requests in flight finish, for as long as the limits allow.
    Drain {
        /// URL of Envoy's admin page.
        #[arg(long, default_value = ADMIN)]
        admin: String,
        /// Wait at least this long: new requests arrive until load balancers know that this pod is leaving.
        #[arg(long, default_value_t = 5)]
        least_seconds: u64,
        /// Wait no longer than this.
        #[arg(long)]
        seconds: u64,
    },
}

/// See [`Command::Check`].
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// URL of the controller. Default: the one on this host, unless --envoy or --kubernetes is given.
    #[arg(long, env = "WARMPATH_CONTROLLER")]
    pub controller: Option<String>,
    /// URL of an Envoy's admin page, such as http://127.0.0.1:9901; may be given several times.
    #[arg(long, value_name = "ADMIN_URL")]
    pub envoy: Vec<String>,
    /// Check the cluster that this runs in, or that KUBECONFIG names: kinds, pools, pods, and the controller's rights.
    #[arg(long)]
    pub kubernetes: bool,
    /// Namespaces of pools and controller. Default: that of the current context. May be given several times.
    #[arg(long, short, requires = "kubernetes")]
    pub namespace: Vec<String>,
    /// Form of the output.
    #[arg(long, short, value_enum, default_value = "text")]
    pub output: CheckOutput,
    /// Leave out what is fine.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Forms of the output of `warmpath check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckOutput {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// See [`Command::Plan`].
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// The file with ModelServices; `-` for standard input.
    #[arg(long, short)]
    pub file: PathBuf,
    /// Form of the output.
    #[arg(long, short, value_enum, default_value = "text")]
    pub output: PlanOutput,
    /// The namespace of ModelServices that name none.
    #[arg(long, short, default_value = "default")]
    pub namespace: String,
    /// Assume an API server without LeaderWorkerSets.
    #[arg(long)]
    pub without_leader_worker_sets: bool,
    /// Assume InferencePools that must name a picker, as until version 1.5 of their definition.
    #[arg(long)]
    pub with_picker: bool,
}

/// Forms of the output of `warmpath plan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanOutput {
    /// A table.
    Text,
    /// Manifests.
    Yaml,
}

/// See [`Command::Get`].
#[derive(Clone, Debug, Args)]
pub struct GetArgs {
    /// What to list.
    #[arg(value_enum, default_value = "pools")]
    pub kind: Kind,
    /// URL of the controller to ask.
    #[arg(long, default_value = CONTROLLER_DEFAULT, env = "WARMPATH_CONTROLLER")]
    pub controller: String,
    /// Form of the output.
    #[arg(long, short, value_enum, default_value = "text")]
    pub output: GetOutput,
    /// Only this pool, or the endpoints of this pool.
    #[arg(long)]
    pub pool: Option<String>,
    /// Only models of this namespace. Default: that of KUBECONFIG, or of the pod that this runs in.
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// Leave the headings out.
    #[arg(long)]
    pub no_headers: bool,
    /// List again every two seconds, until Ctrl-C.
    #[arg(long, short)]
    pub watch: bool,
}

/// What `warmpath get` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// ModelServices of a cluster, with their roles.
    #[value(aliases = ["model", "modelservices", "ms"])]
    Models,
    /// Pools, with the sums of their endpoints.
    #[value(alias = "pool")]
    Pools,
    /// Endpoints: one engine each.
    #[value(alias = "endpoint")]
    Endpoints,
    /// The proxies that are connected.
    #[value(alias = "proxy")]
    Proxies,
}

/// Forms of the output of `warmpath get`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GetOutput {
    /// A table.
    Text,
    /// A table with more columns.
    Wide,
    /// A list of JSON objects, with the fields of the controller's `/state`, or of the ModelServices.
    Json,
}

/// See [`Cli::log_format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
