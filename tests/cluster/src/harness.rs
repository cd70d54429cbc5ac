//! Runs all tests in one cluster: concurrently, each in its own namespace; tests that disturb others run alone.
//!
//! Not Rust's own harness: the process must enter its namespaces before it has threads, and the cluster starts once.

use crate::cluster::{Cluster, Namespace};
use crate::isolation;
use anyhow::Context;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use libtest_mimic::{Arguments, Failed, Trial};
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OnceCell, RwLock};

/// What a test does in its namespace.
pub type Body = fn(Namespace) -> LocalBoxFuture<'static, anyhow::Result<()>>;

/// Prepares a cluster that has just started.
pub type Prepare = fn(Arc<Cluster>) -> LocalBoxFuture<'static, anyhow::Result<()>>;

/// One test.
#[derive(Clone, Copy)]
pub struct Test {
    /// The path of its function.
    pub name: &'static str,
    /// What it does.
    pub body: Body,
    /// Whether it disturbs the others, for example by stopping the API server.
    pub is_alone: bool,
    /// Whether it takes minutes: run by `--ignored`, and not with the others.
    pub is_long: bool,
}

/// Makes a test of an `async fn(Namespace) -> anyhow::Result<()>`.
#[macro_export]
macro_rules! test {
    ($($path:ident)::+) => {
        $crate::harness::Test {
            name: stringify!($($path)::+),
            body: |namespace| Box::pin($($path)::+(namespace)),
            is_alone: false,
            is_long: false,
        }
    };
}

/// What the tests share.
struct Tier {
    runtime: Runtime,
    cluster: OnceCell<Result<Arc<Cluster>, String>>,
    prepare: Prepare,
    /// Taken for reading by most tests, for writing by those that run alone.
    turn: RwLock<()>,
}

// === impl Test ===

impl Test {
    /// The same test, run while no other runs.
    #[must_use]
    pub const fn alone(self) -> Self {
        Self { is_alone: true, ..self }
    }

    /// The same test, run only when asked for.
    #[must_use]
    pub const fn long(self) -> Self {
        Self { is_long: true, ..self }
    }

    /// A name that Kubernetes accepts for a namespace.
    fn namespace(&self) -> String {
        let name = self.name.rsplit("::").next().unwrap_or_default().trim().replace('_', "-");
        name.chars().take(60).collect::<String>().trim_end_matches('-').to_owned()
    }
}

/// Runs the tests that the command line selects.
pub fn main(tests: &[Test], prepare: Prepare) -> ExitCode {
    match run(tests, prepare) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(tests: &[Test], prepare: Prepare) -> anyhow::Result<ExitCode> {
    let arguments = Arguments::from_args();
    if !arguments.list {
        isolation::enter()?;
    }
    let runtime = Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let tier = Arc::new(Tier { runtime, cluster: OnceCell::new(), prepare, turn: RwLock::default() });
    tier.runtime.spawn(end_on_signals());
    let trials = tests.iter().map(|test| {
        let (tier, test) = (Arc::clone(&tier), *test);
        let name = test.name.replace(' ', "");
        Trial::test(name, move || tier.runtime.block_on(tier.play(test))).with_ignored_flag(test.is_long)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if let Some(Ok(cluster)) = tier.cluster.get() {
        tier.runtime.block_on(cluster.stop());
    }
    Ok(conclusion.exit_code())
}

/// Ends the process on SIGINT and SIGTERM: the first one of a namespace ignores signals that it does not handle.
pub async fn end_on_signals() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    // All other processes end with this one.
    std::process::exit(130);
}

// === impl Tier ===

impl Tier {
    async fn play(&self, test: Test) -> Result<(), Failed> {
        let _turn = if test.is_alone {
            (None, Some(self.turn.write().await))
        } else {
            (Some(self.turn.read().await), None)
        };
        let cluster = self
            .cluster
            .get_or_init(|| async { self.start().await.map_err(|error| format!("{error:#}")) })
            .await;
        let cluster = cluster.as_ref()?;
        let namespace = cluster.namespace(&test.namespace()).await.map_err(failed)?;
        // Caught, so that a panic of the test still shows what may explain it.
        let played = AssertUnwindSafe((test.body)(namespace.clone())).catch_unwind().await;
        let failure = match played {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(_) => Some("it panicked, see above".to_owned()),
        };
        if failure.is_some() {
            namespace.explain().await;
        }
        let deleted = namespace.delete().await;
        match failure {
            Some(failure) => Err(failure.into()),
            None => deleted.map_err(failed),
        }
    }

    async fn start(&self) -> anyhow::Result<Arc<Cluster>> {
        let cluster = Arc::new(Cluster::start().await?);
        (self.prepare)(Arc::clone(&cluster)).await?;
        Ok(cluster)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn failed(error: anyhow::Error) -> Failed {
    format!("{error:#}").into()
}
