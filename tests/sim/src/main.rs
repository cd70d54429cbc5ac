//! `warmpath-sim`: see the library.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks to its user")]

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use warmpath_sim::args::Args;
use warmpath_sim::plan::Plan;
use warmpath_sim::report::{Info, Report};
use warmpath_sim::scaling;
use warmpath_sim::sweep::sweep;

fn main() -> ExitCode {
    // What went wrong is the user's to mend: a line, and no backtrace, whatever the environment asks for.
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    if args.scaling {
        return scale(args);
    }
    let plan = Plan::of(&args)?;
    let info = Info::of(&args, &plan);
    let seeds: Vec<String> = plan.seeds.iter().map(u64::to_string).collect();
    println!("seeds {}", seeds.join(", "));
    if let Some(trace) = &info.trace {
        println!("trace {}, speed {}, pool {}", trace.path, trace.speed, trace.pool);
    }
    for again in &info.again {
        println!("one cell again: {again}");
    }
    let threads = args.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let swept = sweep(&plan, threads, &|done, all, what| eprintln!("[{done}/{all}] {what}"))?;
    let report = Report::new(info, swept);
    println!("\n{}", report.document().to_text());
    for path in report.write(&args.out.unwrap_or_else(folder))? {
        println!("{}", path.display());
    }
    Ok(())
}

/// Days of engines that start and go.
fn scale(args: Args) -> anyhow::Result<()> {
    let options = scaling::Options { seeds: args.seeds, is_quick: args.quick, policies: args.policies };
    let (document, json) = scaling::run(&options, &|what| eprintln!("{what}"));
    println!("\n{}", document.to_text());
    for path in document.write(&args.out.unwrap_or_else(|| folder().join("scaling")), &json)? {
        println!("{}", path.display());
    }
    Ok(())
}

/// `sim` in the target folder.
fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target =
        target.map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../target").into(), PathBuf::from);
    target.canonicalize().unwrap_or(target).join("sim")
}
