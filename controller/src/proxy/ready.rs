//! `warmpath proxy ready`: whether a new Envoy may get requests.
//!
//! Envoy is ready before its filter has any state from the controller, and would place its first requests blindly. Without a
//! controller, the pod must become ready all the same, and routes by what the filter sees itself.

use super::Admin;
use crate::web::WebError;
use std::time::Duration;
use thiserror::Error;

/// Complete snapshots that the filter has applied.
const SNAPSHOTS: &str = "wasmcustom.warmpath.feed.snapshot";

/// Why it may not.
#[derive(Debug, Error)]
pub enum NotReady {
    /// The admin page does not respond.
    #[error(transparent)]
    Admin(#[from] WebError),
    /// Envoy lacks its configuration or its endpoints, or drains.
    #[error("envoy is not ready: {state}")]
    Envoy {
        /// Envoy's name of its state.
        state: String,
    },
    /// The filter knows nothing yet.
    #[error("the filter has no state from a controller yet")]
    Filter,
}

/// Succeeds if Envoy is ready and its filter has its state, or has been without it for as long as `patience`.
pub async fn ready(admin: &Admin, patience: Duration) -> Result<(), NotReady> {
    let (is_ready, state) = admin.ready().await?;
    if !is_ready {
        return Err(NotReady::Envoy { state });
    }
    if admin.stat(SNAPSHOTS).await?.is_some_and(|snapshots| snapshots > 0) {
        return Ok(());
    }
    let uptime_s = admin.stat("server.uptime").await?.unwrap_or_default();
    if Duration::from_secs(uptime_s) >= patience { Ok(()) } else { Err(NotReady::Filter) }
}
