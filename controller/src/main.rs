//! The `warmpath` binary: arguments in, one of the library's commands run, an error chain printed once.

use anyhow::Context;
use clap::Parser;
use std::process::ExitCode;
use warmpath::args::{Cli, Command, ControllerArgs};
use warmpath::{config, explain, logs, run};

fn main() -> ExitCode {
    match command(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn command(cli: &Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    match &cli.command {
        Command::Controller(args) if args.check => check(args),
        Command::Controller(args) => {
            logs::init(cli.log_format, &cli.log)?;
            runtime.block_on(controller(args))
        }
        Command::Explain(args) => {
            let body = std::io::read_to_string(std::io::stdin()).context("cannot read the request's body")?;
            runtime.block_on(show(args, body))
        }
    }
}

fn check(args: &ControllerArgs) -> anyhow::Result<()> {
    config::load(&args.config)?;
    print_line(&format!("{} is valid", args.config.display()));
    Ok(())
}

async fn controller(args: &ControllerArgs) -> anyhow::Result<()> {
    let (settings, text) = config::load(&args.config)?;
    let stop = run::stop_signal().context("cannot wait for signals")?;
    let watched = config::Watched::new(args.config.clone(), text);
    let running = run::start_watched(settings, watched).await?;
    let signal = stop.await;
    tracing::info!(signal, "stopping");
    running.shutdown().await;
    tracing::info!("stopped");
    Ok(())
}

async fn show(args: &warmpath::args::ExplainArgs, body: String) -> anyhow::Result<()> {
    let explanation = explain::ask(args, body).await?;
    explain::print(&mut std::io::stdout().lock(), &explanation, args.json).context("cannot print")
}

#[expect(clippy::print_stdout, reason = "the output of a command line tool")]
fn print_line(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "a command line tool reports why it failed")]
fn report(error: &str) {
    eprintln!("warmpath: {error}");
}
