//! SGLang's `--disaggregation-mode`: both engines get the same request at once, and meet in a room.
//!
//! Source: SGLang's `disaggregation/{prefill,decode}.py`, `managers/io_struct.py`, `managers/scheduler.py`. The prefill engine
//! begins only when the decode engine has come, and responds when the transfer has ended. An engine of one mode serves no request
//! without a room, so there is no local prefill; one without a mode overlooks the rooms.

use super::{
    Leg, Role, Transfer,
    decode::Decode,
    fetch::{Claim, Fetch, FetchError, Peer},
    prefill::Prefill,
};
use crate::{
    api::{ApiError, Protocol},
    server::engine_server::App,
};
use futures::future::{join_all, try_join_all};
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::{sync::oneshot, time::timeout};

/// The fields of a request, for one prompt or for each of several.
#[derive(Debug, Default, Deserialize)]
pub(in crate::server) struct Rooms {
    #[serde(rename = "bootstrap_host")]
    host: Option<Each<String>>,
    #[serde(rename = "bootstrap_port")]
    port: Option<Each<Option<u16>>>,
    #[serde(rename = "bootstrap_room")]
    room: Option<Each<u64>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Each<T> {
    All(T),
    List(Vec<T>),
}

// === impl Each ===

impl<T: Clone> Each<T> {
    fn list(&self, prompts: usize) -> Result<Vec<T>, ApiError> {
        match self {
            Self::All(value) => Ok(vec![value.clone(); prompts]),
            Self::List(list) if list.len() == prompts => Ok(list.clone()),
            Self::List(list) => {
                let reason = format!("{} bootstrap values for {prompts} prompts", list.len());
                Err(ApiError::Leg(StatusCode::BAD_REQUEST, reason))
            }
        }
    }
}

// === impl Rooms ===

impl Rooms {
    pub(super) fn is_empty(&self) -> bool {
        self.host.is_none() && self.port.is_none() && self.room.is_none()
    }

    /// The room of each prompt. One number for several prompts is the first of as many.
    fn rooms(&self, prompts: usize) -> Result<Vec<u64>, ApiError> {
        let mut rooms = self.room.as_ref().map_or(Ok(Vec::new()), |rooms| rooms.list(prompts))?;
        if matches!(self.room, Some(Each::All(_))) {
            rooms.iter_mut().zip(0..).for_each(|(room, number)| *room += number);
        }
        if rooms.iter().any(|room| i64::try_from(*room).is_err()) {
            return Err(ApiError::Leg(StatusCode::BAD_REQUEST, "a bootstrap room beyond 63 bits".to_owned()));
        }
        Ok(rooms)
    }

    /// The names of the transfers of each prompt.
    pub(super) fn names(&self, prompts: usize) -> Result<Vec<String>, ApiError> {
        Ok(self.rooms(prompts)?.into_iter().map(name).collect())
    }

    /// What a decode engine has to fetch.
    pub(super) fn fetches(&self, app: &Arc<App>, prompts: usize) -> Result<Vec<Fetch>, ApiError> {
        let hosts = self.host.as_ref().map_or(Ok(Vec::new()), |hosts| hosts.list(prompts))?;
        if hosts.len() != prompts {
            return Err(ApiError::Leg(StatusCode::BAD_REQUEST, "no bootstrap host".to_owned()));
        }
        let ports = match &self.port {
            Some(ports) => ports.list(prompts)?,
            None => vec![None; prompts],
        };
        let wait_ms = u64::try_from(partner_time_max(app).as_millis()).unwrap_or(u64::MAX);
        let places = hosts.into_iter().zip(ports).zip(self.rooms(prompts)?);
        let fetches = places.map(|((host, port), room)| {
            // Without a port, an engine takes that of its own flags.
            let peer = Peer::Address { host, port: port.unwrap_or(app.side_addr.port()) };
            let claim =
                Claim { name: name(room), engine_id: None, handover: Value::Null, wait_ms, is_blind: false };
            Fetch::new(app, peer, claim)
        });
        Ok(fetches.collect())
    }
}

fn name(room: u64) -> String {
    format!("room-{room}")
}

fn partner_time_max(app: &App) -> Duration {
    app.config.transfer.as_ref().map_or(Duration::ZERO, |transfer| transfer.partner_time_max)
}

/// The leg of a request: that of the engine's mode.
pub(super) fn leg(_: &Arc<App>, transfer: &Transfer, api: Protocol, rooms: Rooms) -> Result<Leg, ApiError> {
    if transfer.role == Role::Both {
        return Ok(Leg::Whole);
    }
    // Its other protocols have no such fields, and drop them.
    let has_fields = matches!(api, Protocol::Completions | Protocol::Chat);
    if !has_fields || rooms.room.is_none() {
        const NO_ROOM: &str = "Invalid request: Disaggregated request received without bootstrap room id.";
        return Err(ApiError::Leg(StatusCode::BAD_REQUEST, NO_ROOM.to_owned()));
    }
    Ok(match transfer.role {
        Role::Prefill => Leg::Prefill(Prefill::Rooms(rooms)),
        _ => Leg::Decode(Decode::Rooms(rooms)),
    })
}

/// Waits until the decode engine is in all rooms.
pub(super) async fn meet(app: &App, names: &[String]) -> Result<(), ApiError> {
    let meeting = |name: &String| {
        let name = name.clone();
        async move {
            loop {
                let met = app.hub.met.notified();
                if app.hub.with(|core, _| core.kept.is_awaited(&name)) {
                    return;
                }
                met.await;
            }
        }
    };
    let time_max = partner_time_max(app);
    timeout(time_max, join_all(names.iter().map(meeting))).await.map(drop).map_err(|_| {
        let reason = format!(
            "Prefill bootstrap failed for request rank=0 with exception KVTransferError: {} timed out after {:.1}s in \
             KVPoll.Bootstrapping",
            names.join(", "),
            time_max.as_secs_f64()
        );
        ApiError::Leg(StatusCode::INTERNAL_SERVER_ERROR, reason)
    })
}

/// Waits until the decode engine has all prompts.
pub(super) async fn wait_for_transfer(
    app: &App,
    names: &[String],
    fetched: Vec<oneshot::Receiver<()>>,
) -> Result<(), ApiError> {
    let is_there = |name: &String| app.hub.with(|core, _| core.kept.is_claimed(name));
    let all = try_join_all(fetched);
    let is_fetched = names.iter().all(is_there)
        && timeout(partner_time_max(app), all).await.is_ok_and(|fetched| fetched.is_ok());
    if is_fetched {
        return Ok(());
    }
    for name in names {
        app.hub.with(|core, now_s| {
            if let Some(id) = core.kept.end(name, false) {
                core.engine.release_held(now_s, id);
            }
        });
    }
    let reason = "Prefill transfer failed for request rank=0 with exception KVTransferError: Decode instance could be dead";
    Err(ApiError::Leg(StatusCode::INTERNAL_SERVER_ERROR, reason.to_owned()))
}

/// What a decode engine says when a prompt does not come.
pub(super) fn failure(error: &FetchError) -> ApiError {
    let reason = match error {
        FetchError::Lookup(_) | FetchError::Connect(_) => {
            "Decode handshake failed for request rank=0 with exception KVTransferError: Could not fetch prefill info from \
             the bootstrap server"
        }
        FetchError::Refused(_) => {
            "Decode transfer failed for request rank=0 with exception KVTransferError: timed out in KVPoll.WaitingForInput"
        }
        FetchError::Peer(_) | FetchError::Replaced | FetchError::Unreadable(_) => {
            "Decode transfer failed for request rank=0 with exception KVTransferError: Failed to get kvcache from prefill \
             instance, it might be dead"
        }
    };
    ApiError::Leg(StatusCode::INTERNAL_SERVER_ERROR, reason.to_owned())
}
