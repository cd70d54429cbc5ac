//! Linux namespaces around everything that a test process starts.
//!
//! A network namespace gives pods addresses that Kubernetes accepts (it rejects loopback ones) and ports that cannot clash. A mount
//! namespace gives containers the files that their images and volumes have. A process namespace ends every process with the first
//! one, so that nothing is left behind, however the tests end. The program enters by running itself again under `unshare`: a
//! running process cannot, because it has threads already.

use anyhow::{Context, bail};
use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Set inside.
const INSIDE_VARIABLE: &str = "WARMPATH_CLUSTER_INSIDE";

/// All that is apart from the machine's.
const NAMESPACES: [&str; 6] = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// Ways to be allowed to, in order: as root of a user namespace, which every user is; as root of the machine.
const WAYS: [&[&str]; 2] = [&["--user", "--map-root-user"], &[]];

/// Runs the program again inside, where this returns; outside it only returns when the program cannot enter.
pub fn enter() -> anyhow::Result<()> {
    if env::var_os(INSIDE_VARIABLE).is_some() {
        return Ok(());
    }
    let Some(way) = WAYS.into_iter().find(|way| is_allowed(way)) else {
        bail!(
            "`unshare {} {}` does not work here. The tests of the cluster need util-linux, and user namespaces or root: \
             where a sysctl forbids user namespaces, set kernel.unprivileged_userns_clone=1 or \
             kernel.apparmor_restrict_unprivileged_userns=0, or run as root",
            WAYS.concat().join(" "),
            NAMESPACES.join(" ")
        );
    };
    let program = env::current_exe().context("the program does not know its own path")?;
    let failed = unshare(way).arg(program).args(env::args_os().skip(1)).env(INSIDE_VARIABLE, "1").exec();
    Err(failed).context("cannot run unshare")
}

fn is_allowed(way: &[&str]) -> bool {
    let tried = unshare(way).arg("true").stdout(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

fn unshare(way: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(way).args(NAMESPACES).arg("--");
    command
}
