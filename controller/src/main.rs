//! The `warmpath` binary: arguments in, one of the library's commands run, an error chain printed once.

use anyhow::{Context, bail};
use clap::Parser;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;
use warmpath::args::{
    CheckArgs, CheckOutput, Cli, Command, ControllerArgs, CrdArgs, ExplainArgs, GetArgs, Kind, ProxyCommand,
};
use warmpath::config::Settings;
use warmpath::deploy::definition;
use warmpath::{check, config, explain, get, logs, plan, proxy, run};

/// Time between two lists of `warmpath get --watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    match command(&Cli::parse()) {
        Ok(status) => status,
        // Whoever read the output has seen enough, as `head` does.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn command(cli: &Cli) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    match &cli.command {
        Command::Controller(args) if args.check => validate(args),
        Command::Controller(args) => {
            logs::init(cli.log_format, &cli.log)?;
            runtime.block_on(controller(args))
        }
        Command::Explain(args) => {
            let body = std::io::read_to_string(std::io::stdin()).context("cannot read the request's body")?;
            runtime.block_on(show(args, body))
        }
        Command::Proxy(command) => runtime.block_on(of_proxy(command)),
        Command::Get(args) => runtime.block_on(list(args)),
        Command::Plan(args) => write!(std::io::stdout(), "{}", plan::run(args)?).context("cannot print"),
        Command::Check(args) => return runtime.block_on(examine(args)),
        Command::Crd(args) => runtime.block_on(define(args)),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn validate(args: &ControllerArgs) -> anyhow::Result<()> {
    load(args)?;
    let path = args.config.as_ref().map_or_else(|| "no file".to_owned(), |path| path.display().to_string());
    print_line(&format!("{path} is valid"));
    Ok(())
}

/// The settings, and the file that they are from.
fn load(args: &ControllerArgs) -> anyhow::Result<(Settings, Option<config::Watched>)> {
    let (mut settings, watched) = match &args.config {
        Some(path) => {
            let (settings, text) = config::load(path)?;
            (settings, Some(config::Watched::new(path.clone(), text)))
        }
        None => (Settings::new(config::Listen::default()), None),
    };
    match (args.kubernetes, &settings.kubernetes) {
        (true, None) => settings.kubernetes = Some(config::Kubernetes::default()),
        (false, Some(_)) => {
            bail!("the file has a section `kubernetes`: start with --kubernetes, or remove it")
        }
        _ => {}
    }
    Ok((settings, watched))
}

async fn controller(args: &ControllerArgs) -> anyhow::Result<()> {
    let (settings, watched) = load(args)?;
    let stop = run::stop_signal().context("cannot wait for signals")?;
    let mut running = run::launch(settings, watched).await?;
    let signal = tokio::select! {
        signal = stop => signal,
        part = running.broken() => bail!("a part of the controller has ended: {part}"),
    };
    tracing::info!(signal, "stopping");
    running.shutdown().await;
    tracing::info!("stopped");
    Ok(())
}

async fn show(args: &ExplainArgs, body: String) -> anyhow::Result<()> {
    let explanation = explain::ask(args, body).await?;
    explain::print(&mut std::io::stdout().lock(), &explanation, args.json).context("cannot print")
}

async fn of_proxy(command: &ProxyCommand) -> anyhow::Result<()> {
    match command {
        ProxyCommand::Install { filter, to } => Ok(proxy::install(filter, to)?),
        ProxyCommand::Ready { admin, patience_seconds } => {
            Ok(proxy::ready(&proxy::Admin::new(admin), Duration::from_secs(*patience_seconds)).await?)
        }
        ProxyCommand::Drain { admin, least_seconds, seconds } => {
            let [least, most] = [*least_seconds, *seconds].map(Duration::from_secs);
            let active = proxy::drain(&proxy::Admin::new(admin), least, most).await?;
            let active = active.map_or_else(|| "unknown".to_owned(), |active| active.to_string());
            print_line(&format!("drained, requests still in flight: {active}"));
            Ok(())
        }
    }
}

async fn examine(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let report = check::run(args).await;
    let mut out = std::io::stdout().lock();
    let printed = match args.output {
        CheckOutput::Text => report.print_text(&mut out, args.quiet),
        CheckOutput::Json => report.print_json(&mut out),
    };
    printed.context("cannot print")?;
    Ok(ExitCode::from(report.status()))
}

async fn define(args: &CrdArgs) -> anyhow::Result<()> {
    let text = if args.apply {
        definition::apply().await?
    } else {
        serde_json::to_string_pretty(&definition::definition())?
    };
    writeln!(std::io::stdout(), "{text}").context("cannot print")
}

async fn list(args: &GetArgs) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(WATCH_INTERVAL);
    loop {
        ticks.tick().await;
        if args.kind == Kind::Models {
            let models = get::models(args.namespace.as_deref()).await?;
            let (mut out, mut notes) = (std::io::stdout().lock(), std::io::stderr().lock());
            get::print_models(&mut out, &mut notes, &models, args).context("cannot print")?;
        } else {
            let state = get::state(&args.controller).await?;
            let (mut out, mut notes) = (std::io::stdout().lock(), std::io::stderr().lock());
            get::print(&mut out, &mut notes, state, args).context("cannot print")?;
        }
        let mut out = std::io::stdout().lock();
        if !args.watch {
            return Ok(());
        }
        writeln!(out).context("cannot print")?;
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[expect(clippy::print_stdout, reason = "the output of a command line tool")]
fn print_line(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "a command line tool reports why it failed")]
fn report(error: &str) {
    eprintln!("warmpath: {error}");
}
