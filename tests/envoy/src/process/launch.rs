//! How an Envoy is to be run: its options, its folder and its command line.

use super::{EnvoyError, Log, io_error};
use crate::envoy_binary;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Envoy's own default.
const DRAIN_S_DEFAULT: u32 = 600;

/// How to run an Envoy.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Worker threads, each of which has a VM of its own.
    pub workers: u32,
    /// Envoy's own log level: `warning`, `info`, `debug`, ...
    pub log_level: &'static str,
    /// Levels of single components, for example `wasm:debug`.
    pub component_log_level: Option<String>,
    /// Envoy's node id, by which a control plane and a controller know it.
    pub node_id: String,
    /// How long connections may go on under a configuration that was replaced, in seconds.
    pub drain_s: u32,
    /// Where log and bootstrap go, to be kept. `None`: a temporary folder.
    pub folder: Option<PathBuf>,
}

// === impl Launch ===

impl Default for Launch {
    fn default() -> Self {
        Self {
            workers: 1,
            log_level: "info",
            component_log_level: None,
            node_id: "warmpath-test".to_owned(),
            drain_s: DRAIN_S_DEFAULT,
            folder: None,
        }
    }
}

/// The folder of one run.
#[derive(Debug)]
pub(super) enum Folder {
    Kept(PathBuf),
    /// Goes away with the run.
    Temporary(TempDir),
}

// === impl Folder ===

impl Folder {
    pub(super) fn new(launch: &Launch) -> Result<Self, EnvoyError> {
        let Some(folder) = &launch.folder else {
            return tempfile::tempdir().map(Self::Temporary).map_err(io_error("make the folder of the run"));
        };
        fs::create_dir_all(folder).map_err(io_error("make the folder of the run"))?;
        Ok(Self::Kept(folder.clone()))
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

/// The command that runs Envoy.
pub(super) fn command(
    config: &Path,
    launch: &Launch,
    log: &Log,
    admin_address: &Path,
) -> Result<Command, EnvoyError> {
    let output = File::create(log.path()).map_err(io_error("make the log"))?;
    // A folder that is kept may hold the address of an earlier run.
    match fs::remove_file(admin_address) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("remove the admin address of an earlier run")(error));
        }
        _ => {}
    }
    let mut command = Command::new(envoy_binary()?);
    command
        .arg("--config-path")
        .arg(config)
        .args(["--concurrency", &launch.workers.to_string()])
        .args(["--log-level", launch.log_level])
        .args(["--service-node", &launch.node_id])
        .args(["--drain-time-s", &launch.drain_s.to_string()])
        .arg("--admin-address-path")
        .arg(admin_address)
        // Several Envoys on one machine would take each other for the old and the new process of a restart.
        .arg("--disable-hot-restart")
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(io_error("make the log"))?)
        .stderr(output);
    if let Some(levels) = &launch.component_log_level {
        command.args(["--component-log-level", levels]);
    }
    Ok(command)
}
