//! Which streams are served, and why others are not.

use super::hub::{Hub, StreamId};
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::Notify;
use tonic::Status;
use warmpath_core::limits::PROXIES_MAX;
use warmpath_core::num::index;
use warmpath_core::time::Timestamp;
use warmpath_core::wire::Hello;

/// Why a stream is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// There are as many as the controller serves.
    #[error("too many streams: {PROXIES_MAX} are open")]
    TooMany,
    /// Chains over cells of another size match nothing, and would fill the others' views for nothing.
    #[error(
        "the filter has cells of {theirs} bytes and the controller of {ours}: set cell_bytes to the same in both"
    )]
    CellBytes {
        /// The proxy's.
        theirs: usize,
        /// The controller's.
        ours: usize,
    },
}

// === impl Hub ===

impl Hub {
    /// Opens a stream as [`Hub::join`] does, for a proxy that fits. Refusals are counted.
    pub fn admit(&mut self, hello: &Hello, now: Timestamp) -> Result<(StreamId, Arc<Notify>), Refusal> {
        let (theirs, ours) = (index(hello.cell_bytes), self.index().view().cell_bytes());
        let refusal = if theirs != 0 && theirs != ours {
            Refusal::CellBytes { theirs, ours }
        } else {
            match self.join(hello) {
                Some(joined) => {
                    if !hello.replica {
                        self.roster.connect(joined.0, hello, now);
                    }
                    return Ok(joined);
                }
                None => Refusal::TooMany,
            }
        };
        self.count_refused(refusal.label());
        self.roster.refuse(refusal, hello, now);
        Err(refusal)
    }
}

// === impl Refusal ===

impl Refusal {
    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::TooMany => "too_many",
            Self::CellBytes { .. } => "cell_bytes",
        }
    }

    /// What the proxy is sent.
    pub(super) fn status(self) -> Status {
        match self {
            Self::TooMany => Status::resource_exhausted(self.to_string()),
            Self::CellBytes { .. } => Status::failed_precondition(self.to_string()),
        }
    }
}
