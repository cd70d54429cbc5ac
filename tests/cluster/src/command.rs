//! Runs short commands (`ip`, `kubectl`, `helm`), and captures what they print.

use anyhow::{Context, ensure};
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A command that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Whether it succeeded.
    pub is_success: bool,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

/// Runs a command with this input to its end; its failure is the caller's to judge.
pub async fn run(mut command: Command, input: &str) -> anyhow::Result<Finished> {
    let name = format!("{:?}", command.as_std());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("cannot run {name}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read its input closes it.
        let _written = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await.with_context(|| format!("cannot wait for {name}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Finished {
        is_success: output.status.success(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    })
}

/// Runs a command that must succeed.
pub(crate) async fn must(command: Command, input: &str) -> anyhow::Result<String> {
    let name = format!("{:?}", command.as_std());
    let finished = run(command, input).await?;
    ensure!(finished.is_success, "{name} failed: {}", finished.stderr.trim());
    Ok(finished.stdout)
}
