//! Envoy's admin page: what it counts, what it listens on, which configuration it runs.

use http::Method;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use warmpath_http::{Client, ClientError};

/// The admin page of one Envoy.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

/// The memory that Envoy's allocator accounts for. The linear memory of Wasm VMs is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes in use.
    pub allocated_bytes: u64,
    /// Bytes held from the system.
    pub heap_bytes: u64,
}

/// The admin page could not be asked, or its answer not be understood.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No answer.
    #[error("the admin page does not answer {path}")]
    Unanswered {
        /// The path asked for.
        path: String,
        /// Why.
        #[source]
        source: ClientError,
    },
    /// An answer of another shape.
    #[error("the admin page answers {path} with something else: {answer}")]
    Unexpected {
        /// The path asked for.
        path: String,
        /// What came.
        answer: String,
    },
}

// === impl Admin ===

impl Admin {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { client: Client::http1(address) }
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.client.addr()
    }

    /// The answer to a GET of any admin path.
    pub async fn get(&self, path: &str) -> Result<String, AdminError> {
        self.ask(Method::GET, path).await
    }

    /// The answer to a POST of any admin path, for example `/drain_listeners` or `/logging?wasm=debug`.
    pub async fn post(&self, path: &str) -> Result<String, AdminError> {
        self.ask(Method::POST, path).await
    }

    /// Whether Envoy has taken its first configuration.
    pub async fn is_ready(&self) -> bool {
        self.get("/ready").await.is_ok_and(|answer| answer.trim() == "LIVE")
    }

    /// Counters and gauges whose names begin with `prefix`. Histograms are left out.
    pub async fn stats(&self, prefix: &str) -> Result<BTreeMap<String, u64>, AdminError> {
        let text = self.get("/stats").await?;
        let line = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            name.starts_with(prefix).then_some((name.to_owned(), value.parse().ok()?))
        };
        Ok(text.lines().filter_map(line).collect())
    }

    /// One counter or gauge; 0 while Envoy has not counted it.
    pub async fn stat(&self, name: &str) -> Result<u64, AdminError> {
        Ok(self.stats(name).await?.get(name).copied().unwrap_or_default())
    }

    /// What the allocator accounts for.
    pub async fn memory(&self) -> Result<Memory, AdminError> {
        let path = "/memory";
        let answer = self.json(path).await?;
        // 64-bit numbers are strings in the JSON form of protobuf.
        let bytes = |name: &str| answer.get(name)?.as_str()?.parse().ok();
        bytes("allocated")
            .zip(bytes("heap_size"))
            .map(|(allocated_bytes, heap_bytes)| Memory { allocated_bytes, heap_bytes })
            .ok_or_else(|| unexpected(path, &answer))
    }

    /// The address of each listener, by name. A listener on port 0 has its real port here.
    pub async fn listeners(&self) -> Result<BTreeMap<String, SocketAddr>, AdminError> {
        let path = "/listeners?format=json";
        let answer = self.json(path).await?;
        let Some(statuses) = answer.get("listener_statuses") else { return Ok(BTreeMap::new()) };
        let listener = |status: &Value| {
            let name = status.get("name")?.as_str()?;
            let address = status.pointer("/local_address/socket_address")?;
            let ip = address.get("address")?.as_str()?.parse().ok()?;
            let port = address.get("port_value")?.as_u64()?.try_into().ok()?;
            Some((name.to_owned(), SocketAddr::new(ip, port)))
        };
        let all: Option<BTreeMap<_, _>> =
            statuses.as_array().and_then(|all| all.iter().map(listener).collect());
        all.ok_or_else(|| unexpected(path, &answer))
    }

    /// The configuration that Envoy runs: `{"configs": [...]}`.
    pub async fn config_dump(&self) -> Result<Value, AdminError> {
        self.json("/config_dump").await
    }

    /// Each host of each cluster, with what Envoy counts for it.
    pub async fn clusters(&self) -> Result<Value, AdminError> {
        self.json("/clusters?format=json").await
    }

    async fn json(&self, path: &str) -> Result<Value, AdminError> {
        let text = self.get(path).await?;
        serde_json::from_str(&text)
            .map_err(|_| AdminError::Unexpected { path: path.to_owned(), answer: text })
    }

    async fn ask(&self, method: Method, path: &str) -> Result<String, AdminError> {
        let answer = self
            .client
            .send(method, path, &[], bytes::Bytes::new())
            .await
            .map_err(|source| AdminError::Unanswered { path: path.to_owned(), source })?;
        Ok(answer.text())
    }
}

fn unexpected(path: &str, answer: &Value) -> AdminError {
    AdminError::Unexpected { path: path.to_owned(), answer: answer.to_string() }
}
