//! One running Envoy: started from a file or by a control plane, watched through its admin page, ended on drop.
//!
//! Ports are Envoy's to choose (port 0) and are read back from its admin page: choosing a free port first and
//! hoping that it stays free fails now and then on a machine that runs several tests at once.

mod admin;
mod bootstrap;
mod child;
mod launch;
mod log;
mod workers;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub use self::admin::{Admin, AdminError, Memory};
use self::child::Child;
pub use self::launch::Launch;
use self::launch::{Folder, command};
pub use self::log::Log;
use crate::wait::{DeadlinePassed, until};
use crate::xds::ControlPlane;
use crate::{BinaryError, envoy_binary};
use warmpath_http::ClientError;

/// The lines of the log that a failing test prints.
const LOG_TAIL_LINES: usize = 60;

/// A running Envoy. Dropping it kills the process; when a test is failing, its log is printed first.
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    admin: Admin,
    log: Log,
    folder: Folder,
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
    /// The gateway cannot be connected to.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// However many connections were opened, some workers took none.
    #[error("{workers} workers of envoy took no connection")]
    Idle {
        /// How many.
        workers: usize,
    },
}

// === impl Envoy ===

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
            .map_err(|wait| self.not_ready(wait))
    }

    fn not_ready(&self, wait: DeadlinePassed) -> EnvoyError {
        EnvoyError::NotReady { wait, log_tail: self.log.tail(LOG_TAIL_LINES) }
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.log.print_tail(LOG_TAIL_LINES);
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
