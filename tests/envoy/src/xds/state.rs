//! What the control plane knows: the resources, and what each connected Envoy has said of their versions. Pure.

use super::{Kind, Resource};
use envoy_types::pb::google::protobuf::Any;
use std::collections::BTreeMap;
use std::fmt;

/// A version of all resources of one kind. Grows with each change of any kind; 0 is "nothing yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u64);

// === impl Version ===

impl Version {
    /// The version after this one.
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A configuration that an Envoy refused (NACK). It keeps the one it had.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// The node id of the Envoy.
    pub node: String,
    /// What kind of resource it refused.
    pub kind: Kind,
    /// Which version of it.
    pub version: Version,
    /// Its own words.
    pub reason: String,
}

/// One ADS stream: one connected Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamId(u64);

/// Everything that pushes and streams share.
#[derive(Debug, Default)]
pub(super) struct State {
    version: Version,
    versions: BTreeMap<Kind, Version>,
    resources: BTreeMap<Kind, BTreeMap<String, Any>>,
    /// The latest version that each connected Envoy accepted.
    acked: BTreeMap<StreamId, BTreeMap<Kind, Version>>,
    rejections: Vec<Rejection>,
    streams: u64,
}

// === impl State ===

impl State {
    pub(super) fn put(&mut self, resources: impl IntoIterator<Item = Resource>) -> Version {
        self.version = self.version.next();
        for resource in resources {
            let (kind, name, body) = resource.into_parts();
            self.resources.entry(kind).or_default().insert(name, body);
            self.versions.insert(kind, self.version);
        }
        self.version
    }

    pub(super) fn remove(&mut self, kind: Kind, name: &str) -> Version {
        self.version = self.version.next();
        if let Some(of_kind) = self.resources.get_mut(&kind) {
            of_kind.remove(name);
        }
        self.versions.insert(kind, self.version);
        self.version
    }

    pub(super) fn version(&self, kind: Kind) -> Version {
        self.versions.get(&kind).copied().unwrap_or_default()
    }

    /// The resources that an Envoy which asked for these names gets.
    pub(super) fn resources(&self, kind: Kind, names: &[String]) -> Vec<Any> {
        let wanted = |name: &String| kind.is_wildcard() || names.contains(name);
        let of_kind = self.resources.get(&kind).into_iter().flatten();
        of_kind.filter(|(name, _)| wanted(name)).map(|(_, body)| body.clone()).collect()
    }

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
