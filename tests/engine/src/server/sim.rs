//! `/sim/*`: paths that a real engine does not have.

use super::{
    engine_server::App,
    fault::{Fault, FaultOrder},
    reply::{Body, json as reply_json, whole},
};
use crate::api::ApiError;
use http::{Response, StatusCode};
use serde_json::json;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// `GET /sim/state`.
pub(super) fn state(app: &App) -> Response<Body> {
    match serde_json::to_string(&app.state()) {
        Ok(body) => whole(StatusCode::OK, "application/json", body),
        Err(error) => reply_json(StatusCode::INTERNAL_SERVER_ERROR, &json!({"detail": error.to_string()})),
    }
}

/// `POST /sim/fault`. The response is sent before the listener has acted on the order.
pub(super) fn fault(app: &App, gave_order: &AtomicBool, body: &[u8]) -> Result<Response<Body>, ApiError> {
    let order: FaultOrder = serde_json::from_slice(body).map_err(ApiError::BadJson)?;
    if order.is_a_trap() {
        return Err(ApiError::Invalid("refuse and die need for_ms: nobody could order their end".to_owned()));
    }
    if matches!(order.fault, Fault::Die | Fault::Restart) {
        gave_order.store(true, Ordering::Relaxed);
    }
    let (name, _) = app.put_fault(&order.fault);
    if let Some(for_ms) = order.for_ms {
        app.lift_after(name, Duration::from_millis(for_ms));
    }
    Ok(reply_json(StatusCode::OK, &json!({"order": name})))
}
