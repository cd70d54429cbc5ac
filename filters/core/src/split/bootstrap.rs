//! SGLang: both engines get the same body at once, with the room of the prefill engine's bootstrap server in which they meet.
//!
//! Source: SGLang's `GenerateReqInput` and its own router. The engines know their roles from their flags, so the bodies do not
//! differ, and the prefill engine's response, a copy of the first token, is dropped.

use super::first_leg::with_fields;
use super::{NotEditable, Whole};
use crate::prompt::Api;
use serde_json::Value;

/// The port of an engine's bootstrap server where nothing else is configured: SGLang's, and vLLM's for Mooncake.
pub const BOOTSTRAP_PORT_DEFAULT: u16 = 8998;
/// Rooms are numbers below this: SGLang keeps them in a signed 64-bit number.
pub(super) const ROOM_MAX: u64 = i64::MAX.unsigned_abs();

/// Where two legs meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// The prefill engine's host.
    pub host: String,
    /// The port of its bootstrap server; `None`: the engines' default.
    pub port: Option<u16>,
    /// The room, which no other request has.
    pub room: u64,
}

// === impl Bootstrap ===

impl Bootstrap {
    /// Why a body of this format stays whole; `None`: it is split whatever it says.
    pub fn reason(api: Api) -> Option<Whole> {
        let is_split = matches!(api, Api::Chat | Api::Completions | Api::Messages | Api::Generate);
        // SGLang's server drops the fields from requests to `/v1/responses`.
        (!is_split).then_some(Whole::Format)
    }

    pub(super) fn body(&self, body: &[u8]) -> Result<Vec<u8>, NotEditable> {
        let host = Value::from(self.host.as_str()).to_string();
        let port = self.port.map_or_else(|| "null".to_owned(), |port| port.to_string());
        let room = (self.room % ROOM_MAX).to_string();
        with_fields(body, &[("bootstrap_host", &host), ("bootstrap_port", &port), ("bootstrap_room", &room)])
    }
}
