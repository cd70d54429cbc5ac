//! A control plane for tests: it tells Envoy what to be, while requests run, and hears what Envoy thinks of it.
//!
//! It runs on the controller's own state machine (`warmpath::xds`), so that all tests with a real Envoy try that too.

mod service;
mod verdicts;

use self::verdicts::Verdicts;
use crate::wait::DEADLINE;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use warmpath::xds::Resources;

pub use warmpath::xds::{Kind, Rejection, Resource, Version};

/// A control plane that serves any number of Envoys the same resources. Dropping it ends it.
#[derive(Debug)]
pub struct ControlPlane {
    address: SocketAddr,
    resources: watch::Sender<Resources>,
    verdicts: watch::Sender<Verdicts>,
    server: JoinHandle<()>,
}

/// What was pushed did not become what the Envoys run.
#[derive(Debug, thiserror::Error)]
pub enum XdsError {
    /// An Envoy refused it, and keeps what it had.
    #[error("envoy {} refuses {} {}: {}", .0.node, .0.kind.label(), .0.version, .0.reason)]
    Rejected(Rejection),
    /// It was accepted, although the test waits for a refusal.
    #[error("envoy accepts {} {version}", .kind.label())]
    Accepted {
        /// What kind of resource.
        kind: Kind,
        /// Which version of it.
        version: Version,
    },
    /// Some Envoy said nothing, or none is there.
    #[error("no word from envoy about {} {version} in {} s", .kind.label(), DEADLINE.as_secs())]
    Silent {
        /// What kind of resource.
        kind: Kind,
        /// Which version of it.
        version: Version,
    },
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Listens on a free port of 127.0.0.1, with these resources to begin with.
    pub async fn start(resources: impl IntoIterator<Item = Resource>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut all = Resources::default();
        all.complete();
        all.put(resources);
        let (resources, verdicts) = (watch::Sender::new(all), watch::Sender::default());
        let server = tokio::spawn(service::serve(listener, resources.subscribe(), verdicts.clone()));
        let plane = Self { address, resources, verdicts, server };
        Ok(plane)
    }

    /// Where Envoys connect to.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Adds resources, or replaces those of the same kind and name. Returns the version that contains them.
    pub fn push(&self, resources: impl IntoIterator<Item = Resource>) -> Version {
        self.change(|all| all.put(resources))
    }

    /// Takes a resource away. Returns the version that lacks it.
    pub fn remove(&self, kind: Kind, name: &str) -> Version {
        self.change(|all| all.remove(kind, name))
    }

    /// Pushes resources and waits until every connected Envoy runs them.
    pub async fn apply(&self, resources: impl IntoIterator<Item = Resource>) -> Result<(), XdsError> {
        let resources: Vec<Resource> = resources.into_iter().collect();
        let mut kinds: Vec<Kind> = resources.iter().map(Resource::kind).collect();
        kinds.dedup();
        self.push(resources);
        for kind in kinds {
            let version = self.resources.borrow().version(kind);
            self.wait_acked(kind, version).await?;
        }
        Ok(())
    }

    /// Waits until every connected Envoy, and at least one, has accepted this version of this kind or a later one.
    pub async fn wait_acked(&self, kind: Kind, version: Version) -> Result<(), XdsError> {
        match self.wait_verdict(kind, version).await? {
            Verdict::Acked => Ok(()),
            Verdict::Rejected(rejection) => Err(XdsError::Rejected(rejection)),
        }
    }

    /// Waits until some connected Envoy has refused this version of this kind, and says why.
    pub async fn wait_rejected(&self, kind: Kind, version: Version) -> Result<Rejection, XdsError> {
        match self.wait_verdict(kind, version).await? {
            Verdict::Acked => Err(XdsError::Accepted { kind, version }),
            Verdict::Rejected(rejection) => Ok(rejection),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Resources) -> Version) -> Version {
        let mut version = Version::default();
        self.resources.send_modify(|all| version = change(all));
        version
    }

    async fn wait_verdict(&self, kind: Kind, version: Version) -> Result<Verdict, XdsError> {
        let mut verdicts = self.verdicts.subscribe();
        let said = verdicts.wait_for(|verdicts| verdict(verdicts, kind, version).is_some());
        let silent = || XdsError::Silent { kind, version };
        let verdicts = timeout(DEADLINE, said).await.map_err(|_| silent())?.map_err(|_| silent())?;
        verdict(&verdicts, kind, version).ok_or_else(silent)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What the Envoys say of a version.
enum Verdict {
    Acked,
    Rejected(Rejection),
}

fn verdict(verdicts: &Verdicts, kind: Kind, version: Version) -> Option<Verdict> {
    if let Some(rejection) = verdicts.rejection(kind, version) {
        return Some(Verdict::Rejected(rejection.clone()));
    }
    verdicts.is_acked(kind, version).then_some(Verdict::Acked)
}
