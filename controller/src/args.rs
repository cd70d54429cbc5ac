//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Routes LLM requests to the engine that already holds their prompt.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How log lines look.
    #[arg(long, global = true, value_enum, default_value = "text", env = "WARMPATH_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// Which log lines appear, such as `info` or `warmpath=debug`.
    #[arg(long, global = true, default_value = "info", env = "WARMPATH_LOG")]
    pub log: String,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controller until it is told to stop (SIGTERM or SIGINT).
    Controller(ControllerArgs),
    /// Show where a request would go and why. Reads the request's body from standard input.
    Explain(ExplainArgs),
}

/// See [`Command::Controller`].
#[derive(Debug, Args)]
pub struct ControllerArgs {
    /// The configuration file; it is watched for changes.
    #[arg(long, env = "WARMPATH_CONFIG")]
    pub config: PathBuf,
    /// Check the file, print what is wrong with it, and end.
    #[arg(long)]
    pub check: bool,
}

/// See [`Command::Explain`].
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Ask this controller.
    #[arg(long, default_value = "http://127.0.0.1:18002", conflicts_with = "proxy")]
    pub controller: String,
    /// Ask this proxy instead: it decides with what it knows itself.
    #[arg(long)]
    pub proxy: Option<String>,
    /// The request's path: it tells the API.
    #[arg(long, default_value = "/v1/chat/completions")]
    pub path: String,
    /// Print the answer's JSON as it is.
    #[arg(long)]
    pub json: bool,
}

/// See [`Cli::log_format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
