//! Configurations of real gateways, as their admin pages showed them, before any patch of ours.
//!
//! Recorded from Envoys that a real istiod (1.32-dev) and a real Envoy Gateway (1.9.1) configured, with these changes: our own
//! patches removed, the controller's Service renamed to the chart's, and file names and headers of the trial removed.
//! `envoy-gateway` has what its server generates from our policies, without the patches of the EnvoyPatchPolicy.

use serde_json::Value;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What one proxy runs.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    /// Listeners.
    pub listeners: Vec<Value>,
    /// Clusters.
    pub clusters: Vec<Value>,
    /// Route configurations.
    pub routes: Vec<Value>,
    /// Resources of the extension configuration discovery service.
    pub extensions: Vec<Value>,
}

/// A recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CapturedError {
    /// No such file.
    #[error("cannot read {path}")]
    Io {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Not JSON.
    #[error("not json")]
    Json(#[from] serde_json::Error),
}

// === impl Captured ===

impl Captured {
    /// The recording with this name in `fixtures`.
    pub fn load(name: &str) -> Result<Self, CapturedError> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name).with_extension("json");
        let text = fs::read_to_string(&path).map_err(|source| CapturedError::Io { path, source })?;
        let mut all: Value = serde_json::from_str(&text)?;
        let mut take = |field: &str| match all.get_mut(field).map(Value::take) {
            Some(Value::Array(elements)) => elements,
            _ => Vec::new(),
        };
        Ok(Self {
            listeners: take("listeners"),
            clusters: take("clusters"),
            routes: take("routes"),
            extensions: take("extensions"),
        })
    }
}
