//! LoRA adapters that are loaded and unloaded while the engine runs: vLLM's `/v1/load_lora_adapter` and SGLang's path for the same.
//!
//! A restart (the fault `cold`) keeps them, because it stands for a lost cache, not for a new process: a new engine has those of its
//! settings alone.

use super::{
    engine_server::App,
    reply::{Body, whole},
};
use crate::api::ApiError;
use http::{Response, StatusCode};
use serde::Deserialize;
use std::sync::{Mutex, PoisonError};

/// Names of the adapters that are loaded, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Adapters(Mutex<Vec<String>>);

/// The body of a load or an unload.
#[derive(Debug, Deserialize)]
struct Order {
    lora_name: String,
    #[serde(default)]
    lora_path: String,
}

// === impl Adapters ===

impl Adapters {
    /// Those of the settings.
    pub(super) fn of(names: &[String]) -> Self {
        Self(Mutex::new(names.to_vec()))
    }

    /// All names.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The place of an adapter among them, from 1.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        let place = self.names().iter().position(|known| known == name)?;
        u32::try_from(place + 1).ok()
    }
}

/// Loads an adapter. A path with `missing` in it stands for one that is not there.
pub(super) fn load(app: &App, body: &[u8]) -> Result<Response<Body>, ApiError> {
    let Order { lora_name, lora_path } = read(body)?;
    if lora_name.is_empty() || lora_path.is_empty() {
        return Err(ApiError::Invalid("Both 'lora_name' and 'lora_path' must be provided.".to_owned()));
    }
    if lora_path.contains("missing") {
        return Err(ApiError::Invalid(format!("No adapter found for '{lora_name}' at '{lora_path}'.")));
    }
    let mut names = app.adapters.0.lock().unwrap_or_else(PoisonError::into_inner);
    if names.contains(&lora_name) {
        return Err(ApiError::Invalid(format!("The lora adapter '{lora_name}' has already been loaded.")));
    }
    let done = format!("Success: LoRA adapter '{lora_name}' added successfully.");
    names.push(lora_name);
    Ok(whole(StatusCode::OK, "text/plain", done))
}

/// Unloads an adapter.
pub(super) fn unload(app: &App, body: &[u8]) -> Result<Response<Body>, ApiError> {
    let Order { lora_name, .. } = read(body)?;
    let mut names = app.adapters.0.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(place) = names.iter().position(|known| *known == lora_name) else {
        return Err(ApiError::UnknownModel(lora_name));
    };
    names.remove(place);
    Ok(whole(
        StatusCode::OK,
        "text/plain",
        format!("Success: LoRA adapter '{lora_name}' removed successfully."),
    ))
}

fn read(body: &[u8]) -> Result<Order, ApiError> {
    serde_json::from_slice(body).map_err(ApiError::BadJson)
}
