//! The decode engine's end of a transfer: a client of the prefill engine's side channel.
//!
//! Keys and values themselves are not sent: their time is the model's. What is sent is who holds what, so that a prefill engine
//! that is gone is a refused connection. An engine that loses its client, or refuses the request, gives the prompt up, as
//! vLLM does; one that was killed says nothing, and the lease has to end.

use super::kept::Slip;
use crate::server::engine_server::App;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{ToSocketAddrs, lookup_host},
    time::timeout,
};
use warmpath_http::{ClientError, Connection, JSON};

/// How long the reply of an engine that is not stopped may take, beyond the time that it was asked to wait.
const REPLY_TIME_MAX: Duration = Duration::from_secs(5);

/// What a decode engine asks of a prefill engine's side channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::server) struct Claim {
    /// The transfer.
    pub(in crate::server) name: String,
    /// The engine that it takes the other one for, in protocols that say so.
    pub(in crate::server) engine_id: Option<String>,
    /// What it was handed over, in protocols that do.
    pub(in crate::server) handover: Value,
    /// How long to wait for the transfer to begin, in milliseconds.
    pub(in crate::server) wait_ms: u64,
    /// Whether it reads what it was handed over without asking whether that is still there.
    pub(in crate::server) is_blind: bool,
}

/// Where the other engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) enum Peer {
    /// The side channel itself.
    Address {
        /// A name or an address.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A bootstrap server that knows the side channel.
    Registry {
        /// Where it is.
        url: String,
    },
}

/// An engine in a bootstrap server's list: its workers by rank.
#[derive(Deserialize)]
struct Registered {
    engine_id: String,
    worker_addr: BTreeMap<String, BTreeMap<String, String>>,
}

/// The end of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::server) struct Release {
    pub(in crate::server) name: String,
    /// As in the claim.
    pub(in crate::server) engine_id: Option<String>,
    pub(in crate::server) is_fetched: bool,
}

/// Why a prompt cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum FetchError {
    #[error("the name of the other engine does not lead to an address")]
    Lookup(#[source] io::Error),
    #[error("the other engine does not accept connections")]
    Connect(#[source] ClientError),
    #[error("the other engine is gone, or silent")]
    Peer(#[source] ClientError),
    #[error("another engine is where it was")]
    Replaced,
    #[error("the other engine has no such prompt: {0}")]
    Refused(String),
    #[error("the other engine speaks another language")]
    Unreadable(#[source] serde_json::Error),
}

/// A transfer under way. Dropping it gives the prompt up.
#[derive(Debug)]
pub(in crate::server) struct Fetch {
    app: Arc<App>,
    peer: Peer,
    claim: Claim,
    /// How often this engine had died when the transfer began.
    deaths: u64,
    is_open: bool,
}

// === impl Claim ===

impl Claim {
    fn end(&self, is_fetched: bool) -> Release {
        Release { name: self.name.clone(), engine_id: self.engine_id.clone(), is_fetched }
    }
}

// === impl Fetch ===

impl Fetch {
    pub(in crate::server) fn new(app: &Arc<App>, peer: Peer, claim: Claim) -> Self {
        Self { app: Arc::clone(app), peer, claim, deaths: app.faults.deaths(), is_open: true }
    }

    /// The name of the transfer.
    pub(in crate::server) fn name(&self) -> &str {
        &self.claim.name
    }

    /// Waits until the other engine keeps the prompt, and renews its lease.
    pub(in crate::server) async fn claim(&self) -> Result<Slip, FetchError> {
        let time_max = self.reply_time_max() + Duration::from_millis(self.claim.wait_ms);
        let reply = ask(&self.peer, &self.claim, "/claim", &self.claim, time_max).await?;
        serde_json::from_slice(&reply).map_err(FetchError::Unreadable)
    }

    /// Says that all has come. Returns whether it was kept until now.
    pub(in crate::server) async fn release(mut self) -> Result<bool, FetchError> {
        let release = self.claim.end(true);
        let reply = ask(&self.peer, &self.claim, "/release", &release, self.reply_time_max()).await;
        self.is_open = false;
        match reply {
            Ok(_) => Ok(true),
            Err(FetchError::Refused(_)) if self.claim.is_blind => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn reply_time_max(&self) -> Duration {
        let transfer = self.app.config.transfer.as_ref();
        let time_max = transfer.map_or(REPLY_TIME_MAX, |transfer| transfer.partner_time_max);
        if self.claim.is_blind { time_max } else { time_max.min(REPLY_TIME_MAX) }
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        if !self.is_open || self.app.faults.deaths() != self.deaths {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (peer, claim, time_max) = (self.peer.clone(), self.claim.clone(), self.reply_time_max());
        let release = self.claim.end(false);
        runtime.spawn(async move {
            // Whatever comes of it: the lease ends by itself.
            let _ = ask(&peer, &claim, "/release", &release, time_max).await;
        });
    }
}

/// One exchange with the side channel of the engine that a claim is for.
async fn ask(
    peer: &Peer,
    claim: &Claim,
    path: &str,
    body: &impl Serialize,
    time_max: Duration,
) -> Result<Vec<u8>, FetchError> {
    let body = serde_json::to_vec(body).map_err(FetchError::Unreadable)?;
    let address = match peer {
        Peer::Address { host, port } => address((host.as_str(), *port)).await?,
        Peer::Registry { url } => worker(url, claim, time_max).await?,
    };
    exchange(address, Method::POST, path, body, time_max).await
}

async fn exchange(
    address: SocketAddr,
    method: Method,
    path: &str,
    body: Vec<u8>,
    time_max: Duration,
) -> Result<Vec<u8>, FetchError> {
    let opened = timeout(time_max, Connection::open(address)).await;
    let opened = opened.map_err(|_| FetchError::Connect(ClientError::Silent(time_max)))?;
    let mut connection = opened.map_err(FetchError::Connect)?.with_time_max(time_max);
    let response = connection.send(method, path, &[JSON], body.into()).await.map_err(FetchError::Peer)?;
    match response.status {
        StatusCode::OK => Ok(response.body.to_vec()),
        StatusCode::GONE => Err(FetchError::Replaced),
        _ => Err(FetchError::Refused(response.text())),
    }
}

/// The side channel of an engine that is registered at a bootstrap server.
async fn worker(url: &str, claim: &Claim, time_max: Duration) -> Result<SocketAddr, FetchError> {
    let authority = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    let page = exchange(address(authority).await?, Method::GET, "/query", Vec::new(), time_max).await?;
    let engines: BTreeMap<String, Registered> =
        serde_json::from_slice(&page).map_err(FetchError::Unreadable)?;
    let found = engines.into_values().find(|engine| Some(&engine.engine_id) == claim.engine_id.as_ref());
    let worker = found.and_then(|engine| engine.worker_addr.get("0")?.get("0").cloned());
    match worker {
        Some(worker) => address(worker.as_str()).await,
        None => Err(FetchError::Refused(format!("{:?} is not registered at {url}", claim.engine_id))),
    }
}

async fn address(host: impl ToSocketAddrs) -> Result<SocketAddr, FetchError> {
    let mut found = lookup_host(host).await.map_err(FetchError::Lookup)?;
    found.next().ok_or_else(|| FetchError::Lookup(io::ErrorKind::NotFound.into()))
}
