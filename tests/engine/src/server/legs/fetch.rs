//! The decode engine's end of a transfer: a client of the prefill engine's side channel.
//!
//! Keys and values themselves are not sent: their time is the model's. What is sent is who holds what, so that a prefill engine
//! that is gone is a refused connection. An engine that loses its client, or refuses the request, gives the prompt up, as
//! vLLM does; one that was killed says nothing, and the lease has to end.

use super::kept::Slip;
use crate::server::engine_server::App;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{net::lookup_host, time::timeout};
use warmpath_http::{ClientError, Connection, JSON};

/// How much longer than the other engine's own limit a reply may take.
const REPLY_SLACK: Duration = Duration::from_secs(5);

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
}

/// The end of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::server) struct Release {
    pub(in crate::server) name: String,
    pub(in crate::server) is_fetched: bool,
}

/// Why a prompt cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum FetchError {
    #[error("the name of the other engine does not lead to an address")]
    Lookup(#[source] io::Error),
    #[error("the other engine cannot be reached")]
    Peer(#[from] ClientError),
    #[error("the other engine has no such prompt: {0}")]
    Refused(String),
    #[error("the other engine speaks another language")]
    Unreadable(#[source] serde_json::Error),
}

/// A transfer under way. Dropping it gives the prompt up.
#[derive(Debug)]
pub(in crate::server) struct Fetch {
    app: Arc<App>,
    host: String,
    port: u16,
    claim: Claim,
    /// How often this engine had died when the transfer began.
    deaths: u64,
    is_open: bool,
}

// === impl Fetch ===

impl Fetch {
    pub(in crate::server) fn new(app: &Arc<App>, host: String, port: u16, claim: Claim) -> Self {
        Self { app: Arc::clone(app), host, port, claim, deaths: app.faults.deaths(), is_open: true }
    }

    /// Waits until the other engine keeps the prompt, and renews its lease.
    pub(in crate::server) async fn claim(&self) -> Result<Slip, FetchError> {
        let time_max = self.reply_time_max() + Duration::from_millis(self.claim.wait_ms);
        let reply = ask(&self.host, self.port, "/claim", &self.claim, time_max).await?;
        serde_json::from_slice(&reply).map_err(FetchError::Unreadable)
    }

    /// Waits for `arrival`, and keeps the claim alive meanwhile.
    pub(in crate::server) async fn hold_until(
        &self,
        slip: Slip,
        arrival: impl Future<Output = ()>,
    ) -> Result<(), FetchError> {
        let mut arrival = std::pin::pin!(arrival);
        let interval = Duration::from_millis(slip.lease_ms.max(3) / 3);
        let mut renewed = Instant::now();
        loop {
            let left = interval.saturating_sub(renewed.elapsed());
            tokio::select! {
                () = arrival.as_mut() => return Ok(()),
                () = tokio::time::sleep(left) => {
                    self.claim().await?;
                    renewed = Instant::now();
                }
            }
        }
    }

    /// Says that all has come.
    pub(in crate::server) async fn release(mut self) -> Result<(), FetchError> {
        let release = Release { name: self.claim.name.clone(), is_fetched: true };
        let reply = ask(&self.host, self.port, "/release", &release, self.reply_time_max()).await;
        self.is_open = reply.is_err();
        reply.map(drop)
    }

    fn reply_time_max(&self) -> Duration {
        let transfer = self.app.config.transfer.as_ref();
        transfer.map_or(REPLY_SLACK, |transfer| transfer.partner_time_max.min(REPLY_SLACK))
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        if !self.is_open || self.app.faults.deaths() != self.deaths {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (host, port, time_max) = (std::mem::take(&mut self.host), self.port, self.reply_time_max());
        let release = Release { name: std::mem::take(&mut self.claim.name), is_fetched: false };
        runtime.spawn(async move {
            // Whatever comes of it: the lease ends by itself.
            let _ = ask(&host, port, "/release", &release, time_max).await;
        });
    }
}

/// One exchange with a side channel.
async fn ask(
    host: &str,
    port: u16,
    path: &str,
    body: &impl Serialize,
    time_max: Duration,
) -> Result<Vec<u8>, FetchError> {
    let body = serde_json::to_vec(body).map_err(FetchError::Unreadable)?;
    let exchange = async {
        let mut connection = Connection::open(address(host, port).await?).await?.with_time_max(time_max);
        Ok::<_, FetchError>(connection.send(Method::POST, path, &[JSON], body.into()).await?)
    };
    let response =
        timeout(time_max, exchange).await.map_err(|_| FetchError::Peer(ClientError::Silent(time_max)))??;
    if response.status.is_success() {
        return Ok(response.body.to_vec());
    }
    Err(FetchError::Refused(String::from_utf8_lossy(&response.body).into_owned()))
}

async fn address(host: &str, port: u16) -> Result<SocketAddr, FetchError> {
    let mut found = lookup_host((host, port)).await.map_err(FetchError::Lookup)?;
    found.next().ok_or_else(|| FetchError::Lookup(io::ErrorKind::NotFound.into()))
}
