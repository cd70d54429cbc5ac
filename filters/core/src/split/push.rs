//! vLLM with Mooncake: both legs run at once. The decode engine says where the prefill engine writes, through the prefill
//! engine's bootstrap server, and both name the transfer.
//!
//! Source: vLLM 0.32, `distributed/kv_transfer/kv_connector/v1/mooncake`.

use super::NotEditable;
use super::first_leg::{first_leg, with_fields};
use crate::json::Change;
use crate::prompt::Api;
use serde_json::json;

/// What both legs of a transfer must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Its name, which no other transfer has.
    pub transfer: u64,
    /// Where the prefill engine's bootstrap server listens, as a URL.
    pub bootstrap: String,
    /// The prefill engine's id, which its bootstrap server shows.
    pub engine: String,
}

/// An engine whose first token ends the response writes nothing, and the other one waits for it.
const ENDLESS: [(&str, Change<'static>); 3] =
    [("ignore_eos", Change::Set("true")), ("stop", Change::Remove), ("stop_token_ids", Change::Remove)];

// === impl Push ===

impl Push {
    pub(super) fn prefill(&self, api: Api, body: &[u8]) -> Result<Vec<u8>, NotEditable> {
        let params = json!({
            "do_remote_decode": true,
            "do_remote_prefill": false,
            "transfer_id": self.id(),
        });
        let params = params.to_string();
        let transfer = ("kv_transfer_params", Change::Set(&params));
        if api == Api::Generate {
            return first_leg(api, body, &[transfer], &ENDLESS);
        }
        let mut changes = vec![transfer];
        changes.extend(ENDLESS);
        if api == Api::Messages {
            changes.push(("stop_sequences", Change::Remove));
        }
        first_leg(api, body, &changes, &[])
    }

    pub(super) fn decode(&self, body: &[u8]) -> Result<Vec<u8>, NotEditable> {
        let params = json!({
            "do_remote_decode": false,
            "do_remote_prefill": true,
            "remote_bootstrap_addr": self.bootstrap,
            "remote_engine_id": self.engine,
            "transfer_id": self.id(),
        });
        with_fields(body, &[("kv_transfer_params", &params.to_string())])
    }

    fn id(&self) -> String {
        format!("xfer-{:016x}", self.transfer)
    }
}
