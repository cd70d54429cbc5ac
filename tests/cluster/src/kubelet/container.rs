//! One container: starts its command, watches it, and restarts it with a growing back-off.

use super::env::{self, Facts};
use super::inside::Inside;
use super::pod::PodContext;
use super::probe::{self, Finding, Prober};
use super::root::{self, Mount};
use super::status::{Ended, Entry, State};
use super::volumes::Prepared;
use crate::process::{Log, Process};
use anyhow::{Context, anyhow};
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use k8s_openapi::jiff::Timestamp;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// The pause before the second restart, which doubles; 10 s and 5 minutes elsewhere.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_mins(1);

/// A container that has run so long begins anew with the shortest pause.
const BACK_OFF_RESET: Duration = Duration::from_mins(10);

/// The exit code of a process that was killed.
const KILLED: i32 = 137;

/// The pause before another try to make a container.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Which of the pod's containers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Init(usize),
    Main(usize),
}

/// Says how long a container that must end may take; `None` while it need not.
#[derive(Clone, Debug)]
pub(super) struct Stop(pub(super) watch::Receiver<Option<Duration>>);

/// One container of a pod, before and while it runs.
pub(super) struct Supervised<'a> {
    pub(super) context: &'a PodContext,
    pub(super) spec: &'a Container,
    pub(super) place: Place,
    pub(super) volumes: &'a [Prepared],
}

// === impl Stop ===

impl Stop {
    /// Waits until the container must end.
    pub(super) async fn wait(&mut self) -> Duration {
        self.0.wait_for(Option::is_some).await.ok().and_then(|grace| *grace).unwrap_or_default()
    }
}

// === impl Supervised ===

impl Supervised<'_> {
    /// Runs the container until it has ended for good; returns its last exit code.
    pub(super) async fn run(&self, mut stop: Stop) -> i32 {
        let mut pause = Duration::ZERO;
        loop {
            let begun = Instant::now();
            let started = Timestamp::now();
            let code = match self.start().await {
                Ok(process) => {
                    let pid = process.pid();
                    self.context.note(pid, true);
                    let code = self.watch(process, &mut stop).await;
                    self.context.note(pid, false);
                    code
                }
                Err((reason, error)) => {
                    self.change(|entry| entry.state = State::Waiting(reason, format!("{error:#}")));
                    tokio::select! {
                        () = sleep(RETRY_INTERVAL) => continue,
                        _ = stop.wait() => KILLED,
                    }
                }
            };
            let ended = Ended { code, started, finished: Timestamp::now() };
            self.change(|entry| {
                entry.state = State::Terminated(ended.clone());
                entry.is_ready = false;
                entry.is_started = false;
            });
            if stop.0.borrow().is_some() || !self.context.restarts.after(code) || self.is_done(code) {
                return code;
            }
            pause = if begun.elapsed() > BACK_OFF_RESET { Duration::ZERO } else { pause };
            if !pause.is_zero() {
                let message = format!("back-off {} s restarting failed container", pause.as_secs());
                self.change(|entry| {
                    entry.last = Some(ended.clone());
                    entry.state = State::Waiting("CrashLoopBackOff", message);
                });
                tokio::select! {
                    () = sleep(pause) => {}
                    _ = stop.wait() => return code,
                }
            }
            pause = (pause * 2).clamp(BACK_OFF_FIRST, BACK_OFF_MAX);
            self.change(|entry| {
                entry.last = Some(ended);
                entry.restarts += 1;
            });
        }
    }

    /// An init container that succeeded does not start again.
    fn is_done(&self, code: i32) -> bool {
        matches!(self.place, Place::Init(_)) && code == 0
    }

    async fn start(&self) -> Result<Process, (&'static str, anyhow::Error)> {
        let reference = self.spec.image.as_deref().unwrap_or_default();
        let Some(image) = self.context.node.images.find(reference) else {
            return Err(("ErrImagePull", anyhow!("the test has no image {reference:?}")));
        };
        let pod = self.context.pod();
        let facts = Facts { pod: &pod, address: self.context.address, node: &self.context.node.name };
        let variables = env::build(self.spec, &facts, &self.context.lookup).await;
        let variables = variables.map_err(|error| ("CreateContainerConfigError", error))?;
        let command = self.spec.command.clone().unwrap_or(image.entrypoint);
        let arguments = self.spec.args.iter().flatten();
        let words: Vec<String> =
            command.iter().chain(arguments).map(|word| env::expand(word, &variables)).collect();
        let mut mounts: Vec<Mount> = self.context.own_files();
        mounts.extend(image.files.into_iter().map(|(source, place)| Mount { source, place: place.into() }));
        let prepared = self.mounts().and_then(|volumes| {
            mounts.extend(volumes);
            root::prepare(&self.root(), mounts)
        });
        let mounts = prepared.map_err(|error| ("CreateContainerError", error))?;
        let folder = self.spec.working_dir.as_deref().unwrap_or("/");
        let mut entered = enter(&self.context.link.path(), &self.root(), folder, &mounts);
        entered.args(words).env_clear().envs(variables);
        Process::spawn(entered, &self.log()).map_err(|error| ("RunContainerError", error))
    }

    /// Watches a process to its end.
    async fn watch(&self, mut process: Process, stop: &mut Stop) -> i32 {
        let inside = Inside { address: self.context.address, pid: process.pid() };
        let has_startup = self.spec.startup_probe.is_some();
        self.change(|entry| {
            entry.state = State::Running(Timestamp::now());
            entry.is_started = !has_startup;
            entry.is_ready = false;
        });
        let found = |finding| {
            self.change(|entry| match finding {
                Finding::Started => entry.is_started = true,
                Finding::Ready(is_ready) => entry.is_ready = is_ready,
            });
        };
        let prober = Prober { container: self.spec, inside: &inside };
        let grace = tokio::select! {
            status = process.wait() => return self.end(process, status).await,
            reason = prober.watch(&found) => {
                self.context.node.record(&format!("{}: {reason}", self.spec.name));
                self.context.grace_default()
            }
            grace = stop.wait() => grace,
        };
        let end = Instant::now() + grace;
        if let Some(hook) = self.spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref()) {
            tokio::select! {
                status = process.wait() => return self.end(process, status).await,
                _ = timeout(grace, self.hook(hook, &inside)) => {}
            }
        }
        let status = process.stop(end.saturating_duration_since(Instant::now())).await;
        self.end(process, status).await
    }

    async fn end(&self, mut process: Process, status: Option<ExitStatus>) -> i32 {
        // What the container's command has started ends with it.
        process.kill().await;
        let code = |status: ExitStatus| status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        status.and_then(code).unwrap_or(KILLED)
    }

    async fn hook(&self, hook: &LifecycleHandler, inside: &Inside) {
        let done = if let Some(action) = &hook.exec {
            probe::exec(action, inside).await
        } else if let Some(action) = &hook.http_get {
            probe::http(action, self.spec, inside).await
        } else {
            let pause = hook.sleep.as_ref().and_then(|action| u64::try_from(action.seconds).ok());
            sleep(Duration::from_secs(pause.unwrap_or_default())).await;
            Ok(())
        };
        if let Err(error) = done {
            self.context.node.record(&format!("{}: preStop failed: {error:#}", self.spec.name));
        }
    }

    /// The container's mounts of the pod's volumes.
    fn mounts(&self) -> anyhow::Result<Vec<Mount>> {
        let mut mounts = Vec::new();
        for mount in self.spec.volume_mounts.iter().flatten() {
            let volume = self.volumes.iter().find(|volume| volume.name == mount.name);
            let mut source = volume.with_context(|| format!("no volume {}", mount.name))?.source.clone();
            if let Some(path) = &mount.sub_path {
                source =
                    source.join(path).canonicalize().with_context(|| format!("no {path} in the volume"))?;
            }
            mounts.push(Mount { source, place: PathBuf::from(&mount.mount_path) });
        }
        Ok(mounts)
    }

    fn root(&self) -> PathBuf {
        self.context.folder.join("roots").join(&self.spec.name)
    }

    fn log(&self) -> Log {
        self.context.log(&self.spec.name)
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        self.context.change(|board| {
            let entry = match self.place {
                Place::Init(number) => board.init.get_mut(number),
                Place::Main(number) => board.main.get_mut(number),
            };
            entry.map(change);
        });
    }
}

/// The command that enters the pod's network and the container's file system, and becomes what follows.
fn enter(network: &str, root: &Path, folder: &str, mounts: &[Mount]) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={network}"))
        .args([
            "--",
            "unshare",
            "--mount",
            "--",
            "/bin/sh",
            "-c",
            include_str!("enter-container"),
            "enter-container",
        ])
        .arg(root)
        .arg(folder);
    for mount in mounts {
        command.arg(&mount.source).arg(&mount.place);
    }
    command.arg("--");
    command
}
