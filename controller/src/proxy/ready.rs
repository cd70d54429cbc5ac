//! `warmpath proxy ready`: whether a new Envoy may get requests.
//!
//! Envoy itself is ready before its filter has its state from the controller, and the first requests would be placed blindly.
//! Where there is no controller, the pod must become ready all the same: it routes what it can.

use super::Admin;
use crate::web::WebError;
use http::{Method, StatusCode};
use std::time::Duration;
use thiserror::Error;

/// Complete states that the filter has taken from a controller.
const SNAPSHOTS: &str = "wasmcustom.warmpath.feed.snapshot";

/// Why it may not.
#[derive(Debug, Error)]
pub enum NotReady {
    /// Envoy cannot be asked.
    #[error(transparent)]
    Admin(#[from] WebError),
    /// Envoy has not taken its configuration or its endpoints, or drains.
    #[error("envoy is not ready: {state}")]
    Envoy {
        /// Its own word.
        state: String,
    },
    /// The filter knows nothing yet.
    #[error("the filter has no state from a controller yet")]
    Filter,
}

/// Whether Envoy is ready, and its filter has its state, or Envoy has waited for it as long as `patience`.
pub async fn ready(admin: &Admin, patience: Duration) -> Result<(), NotReady> {
    let (status, state) = admin.page(Method::GET, "/ready").await?;
    if status != StatusCode::OK {
        return Err(NotReady::Envoy { state: state.trim().to_owned() });
    }
    if admin.stat(SNAPSHOTS).await?.is_some_and(|snapshots| snapshots > 0) {
        return Ok(());
    }
    let uptime_s = admin.stat("server.uptime").await?.unwrap_or_default();
    if Duration::from_secs(uptime_s) >= patience { Ok(()) } else { Err(NotReady::Filter) }
}
