//! The `warmpath-image` tool: `just image` writes both images with it.

use anyhow::Context;
use clap::Parser;
use std::fs;
use std::path::{Path, PathBuf};
use warmpath_image::{controller, filter, write};

/// Writes the images of controller and filter as OCI layouts.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The controller, linked statically.
    #[arg(long)]
    program: PathBuf,
    /// The filter.
    #[arg(long)]
    wasm: PathBuf,
    /// The folder for `controller` and `filter`.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let tag = env!("CARGO_PKG_VERSION");
    let (program, wasm) = (read(&args.program)?, read(&args.wasm)?);
    let image = controller(&program, &wasm, tag).with_context(|| args.program.display().to_string())?;
    let images = [("controller", image), ("filter", filter(&wasm, tag))];
    for (name, image) in images {
        let folder = args.out.join(name);
        let digest = write(&folder, image).with_context(|| format!("cannot write {}", folder.display()))?;
        print_line(&format!("{digest}  {}", folder.display()));
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[expect(clippy::print_stdout, reason = "the output of a command line tool")]
fn print_line(line: &str) {
    println!("{line}");
}
