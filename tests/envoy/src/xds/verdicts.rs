//! Each connected Envoy's replies to the versions that it was sent. Pure.

use std::collections::BTreeMap;
use warmpath::xds::{Kind, Rejection, Version};

/// One ADS stream: one connected Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamId(u64);

/// The words of all Envoys.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    /// The latest version that each connected Envoy accepted.
    acked: BTreeMap<StreamId, BTreeMap<Kind, Version>>,
    rejections: Vec<Rejection>,
    streams: u64,
}

// === impl Verdicts ===

impl Verdicts {
    pub(super) fn connect(&mut self) -> StreamId {
        let id = StreamId(self.streams);
        self.streams += 1;
        self.acked.insert(id, BTreeMap::new());
        id
    }

    pub(super) fn disconnect(&mut self, id: StreamId) {
        self.acked.remove(&id);
    }

    pub(super) fn ack(&mut self, id: StreamId, kind: Kind, version: Version) {
        if let Some(acked) = self.acked.get_mut(&id) {
            acked.insert(kind, version);
        }
    }

    pub(super) fn reject(&mut self, rejection: Rejection) {
        self.rejections.push(rejection);
    }

    pub(super) fn is_acked(&self, kind: Kind, version: Version) -> bool {
        let acked = |by: &BTreeMap<Kind, Version>| by.get(&kind).is_some_and(|acked| *acked >= version);
        !self.acked.is_empty() && self.acked.values().all(acked)
    }

    pub(super) fn rejection(&self, kind: Kind, version: Version) -> Option<&Rejection> {
        self.rejections.iter().find(|rejection| rejection.kind == kind && rejection.version == version)
    }
}
