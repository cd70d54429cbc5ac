//! One running Envoy: started from a file or by a control plane, watched through its admin page, ended on drop.
//!
//! Ports are Envoy's to choose (port 0) and are read back from its admin page: choosing a free port first and
//! hoping that it stays free fails now and then on a machine that runs several tests at once.

mod admin;
mod bootstrap;
mod child;
mod log;

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

pub use self::admin::{Admin, AdminError, Memory};
pub use self::log::Log;
use crate::wait::{DeadlinePassed, until};
use crate::xds::ControlPlane;
use crate::{BinaryError, envoy_binary};

use self::child::Child;

/// The lines of the log that a failing test prints.
const LOG_TAIL_LINES: usize = 60;

/// How to run an Envoy.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Worker threads, each of which has a VM of its own.
    pub workers: u32,
    /// Envoy's own log level: `warning`, `info`, `debug`, ...
    pub log_level: &'static str,
    /// Levels of single components, for example `wasm:debug`.
    pub component_log_level: Option<String>,
    /// Envoy's node id, by which a control plane and a controller know it.
    pub node_id: String,
    /// Where log and bootstrap go, to be kept. `None`: a temporary folder.
    pub folder: Option<PathBuf>,
}

impl Default for Launch {
    fn default() -> Self {
        Self {
            workers: 1,
            log_level: "info",
            component_log_level: None,
            node_id: "warmpath-test".to_owned(),
            folder: None,
        }
    }
}

/// A running Envoy. Dropping it kills the process; when a test is failing, its log is printed first.
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    admin: Admin,
    log: Log,
    folder: Folder,
}

/// The folder of one run.
#[derive(Debug)]
enum Folder {
    Kept(PathBuf),
    /// Goes away with the run.
    Temporary(TempDir),
}

/// An Envoy that could not be started, or was not as expected.
#[derive(Debug, thiserror::Error)]
pub enum EnvoyError {
    /// There is no binary.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// A file or the process could not be made.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The process ended before it was ready.
    #[error("envoy ended early ({status}):\n{log_tail}")]
    Ended {
        /// Its exit status.
        status: std::process::ExitStatus,
        /// The end of its log.
        log_tail: String,
    },
    /// `--mode validate` refused a file.
    #[error("envoy refuses {path}:\n{reason}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// What Envoy wrote.
        reason: String,
    },
    /// The process runs and is not ready.
    #[error("{wait}, its log:\n{log_tail}")]
    NotReady {
        /// What was waited for.
        wait: DeadlinePassed,
        /// The end of its log.
        log_tail: String,
    },
    /// The admin page did not answer.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

impl Envoy {
    /// Starts Envoy with a configuration file, and waits until it serves.
    ///
    /// The file should ask for port 0 where a port does not matter, the admin page's included.
    pub async fn from_file(config: &Path, launch: &Launch) -> Result<Self, EnvoyError> {
        Self::start(config, launch, Folder::new(launch)?).await
    }

    /// Starts Envoy with nothing but the address of a control plane, and waits until it serves.
    pub async fn from_control_plane(plane: &ControlPlane, launch: &Launch) -> Result<Self, EnvoyError> {
        let folder = Folder::new(launch)?;
        let config = folder.path().join("bootstrap.json");
        let text = bootstrap::ads(plane.addr(), &launch.node_id).to_string();
        fs::write(&config, text).map_err(io_error("write the bootstrap"))?;
        Self::start(&config, launch, folder).await
    }

    async fn start(config: &Path, launch: &Launch, folder: Folder) -> Result<Self, EnvoyError> {
        let log = Log::new(folder.path().join("envoy.log"));
        let admin_address = folder.path().join("admin.address");
        let command = command(config, launch, &log, &admin_address)?;
        let child = Child::spawn(command).map_err(io_error("start envoy"))?;
        let admin = wait_ready(&child, &log, &admin_address).await?;
        Ok(Self { child, admin, log, folder })
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Whether the process still runs.
    pub fn is_running(&self) -> bool {
        self.child.exit().is_none()
    }

    /// The admin page.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// What Envoy has written so far.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The address of the listener with this name, once it listens.
    pub async fn listener(&self, name: &str) -> Result<SocketAddr, EnvoyError> {
        until(&format!("listener {name}"), async || self.admin.listeners().await.ok()?.remove(name))
            .await
            .map_err(|wait| EnvoyError::NotReady { wait, log_tail: self.log.tail(LOG_TAIL_LINES) })
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.log.print_tail(LOG_TAIL_LINES);
        }
    }
}

impl Folder {
    fn new(launch: &Launch) -> Result<Self, EnvoyError> {
        let Some(folder) = &launch.folder else {
            return tempfile::tempdir().map(Self::Temporary).map_err(io_error("make the folder of the run"));
        };
        fs::create_dir_all(folder).map_err(io_error("make the folder of the run"))?;
        Ok(Self::Kept(folder.clone()))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

/// Asks Envoy whether it would accept a configuration file, without serving it.
pub fn validate(config: &Path) -> Result<(), EnvoyError> {
    let Output { status, stderr, .. } = Command::new(envoy_binary()?)
        .args(["--mode", "validate", "--log-level", "error", "--config-path"])
        .arg(config)
        .output()
        .map_err(io_error("run envoy"))?;
    if status.success() {
        return Ok(());
    }
    Err(EnvoyError::Refused {
        path: config.to_owned(),
        reason: String::from_utf8_lossy(&stderr).into_owned(),
    })
}

fn command(config: &Path, launch: &Launch, log: &Log, admin_address: &Path) -> Result<Command, EnvoyError> {
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

/// Waits for the admin page to say LIVE, which it does when the first configuration has been taken.
async fn wait_ready(child: &Child, log: &Log, admin_address: &Path) -> Result<Admin, EnvoyError> {
    let outcome = until("envoy to be ready", async || {
        if let Some(status) = child.exit() {
            return Some(Err(EnvoyError::Ended { status, log_tail: log.tail(LOG_TAIL_LINES) }));
        }
        let address = fs::read_to_string(admin_address).ok()?.parse().ok()?;
        let admin = Admin::new(address);
        admin.is_ready().await.then_some(Ok(admin))
    })
    .await;
    outcome.unwrap_or_else(|wait| Err(EnvoyError::NotReady { wait, log_tail: log.tail(LOG_TAIL_LINES) }))
}

fn io_error(action: &'static str) -> impl FnOnce(io::Error) -> EnvoyError {
    move |source| EnvoyError::Io { action, source }
}
