//! One stream: what it has subscribed to, what it was sent, and therefore what to send next. Pure.

use super::{Kind, Resources, Tag, Version};
use envoy_types::pb::google::protobuf::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use thiserror::Error;
use tonic::Status;

/// Most names in one stream's subscription: one per cluster, and few Envoys have more clusters of engines than there are pools.
const NAMES_MAX: usize = 1024;
/// Longest name, in bytes: twice that of a pool.
const NAME_BYTES_MAX: usize = 512;
/// Most responses that wait for their ACK. Envoy acknowledges each at once; if it does not, the oldest are forgotten.
const IN_FLIGHT_MAX: usize = 64;

/// One stream of either variant.
#[derive(Debug, Default)]
pub struct Session {
    /// Envoy names itself in its first request only.
    node: String,
    subscriptions: BTreeMap<Kind, Subscription>,
    nonces: u64,
}

/// An Envoy's reply to a version that it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It uses the version (ACK).
    Accepted(Kind, Version),
    /// It rejects the version (NACK).
    Rejected(Rejection),
}

/// A version that an Envoy rejected (NACK). It keeps the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The node id of the Envoy.
    pub node: String,
    /// The kind of resource.
    pub kind: Kind,
    /// The version.
    pub version: Version,
    /// Envoy's reason.
    pub reason: String,
}

/// Why a stream is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// It asks for too many resources.
    #[error("a stream may ask for at most {NAMES_MAX} resources")]
    Names,
    /// A name is too long.
    #[error("a resource's name has at most {NAME_BYTES_MAX} bytes")]
    Name,
}

/// A stream's subscription to one kind, and what it was sent.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    pub(super) names: BTreeSet<String>,
    pub(super) sent: BTreeMap<String, Tag>,
    /// The nonce of the latest response.
    latest: Option<String>,
    /// Responses without a reply, oldest first.
    in_flight: VecDeque<(String, Version)>,
}

/// What to send of one kind.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) nonce: String,
    pub(super) version: Version,
    pub(super) changed: Vec<(String, Tag, Any)>,
    pub(super) removed: Vec<String>,
}

// === impl Session ===

impl Session {
    /// The node id that the Envoy gave.
    pub fn node(&self) -> &str {
        &self.node
    }

    pub(super) fn name(&mut self, node: Option<String>) {
        if let Some(node) = node {
            self.node = node;
        }
    }

    pub(super) fn subscription(&mut self, kind: Kind) -> &mut Subscription {
        self.subscriptions.entry(kind).or_default()
    }

    /// Records the reply to the response with this nonce; `None` if no reply to it is expected.
    pub(super) fn reply(&mut self, kind: Kind, nonce: &str, error: Option<String>) -> Option<Reply> {
        let in_flight = &mut self.subscriptions.entry(kind).or_default().in_flight;
        let at = in_flight.iter().position(|(sent, _)| sent == nonce)?;
        // It also replies to all responses before this one.
        let (_, version) = in_flight.drain(..=at).next_back()?;
        Some(match error {
            None => Reply::Accepted(kind, version),
            Some(reason) => Reply::Rejected(Rejection { node: self.node.clone(), kind, version, reason }),
        })
    }

    /// What must be sent of a kind now, if anything. It counts as sent.
    pub(super) fn changes(&mut self, kind: Kind, resources: &Resources) -> Option<Changes> {
        let subscription = self.subscriptions.get_mut(&kind).filter(|_| resources.is_complete())?;
        let (changed, removed) = subscription.difference(kind, resources);
        // Envoy waits for a list of all clusters even if there are none.
        let is_pending = kind.is_wildcard() && subscription.latest.is_none();
        if changed.is_empty() && removed.is_empty() && !is_pending {
            return None;
        }
        for (name, tag, _) in &changed {
            subscription.sent.insert(name.clone(), *tag);
        }
        for name in &removed {
            subscription.sent.remove(name);
        }
        self.nonces += 1;
        let (nonce, version) = (self.nonces.to_string(), resources.version(kind));
        subscription.latest = Some(nonce.clone());
        if subscription.in_flight.len() >= IN_FLIGHT_MAX {
            subscription.in_flight.pop_front();
        }
        subscription.in_flight.push_back((nonce.clone(), version));
        Some(Changes { nonce, version, changed, removed })
    }
}

// === impl Subscription ===

impl Subscription {
    /// Whether a request with this nonce was written after the latest response.
    pub(super) fn is_current(&self, nonce: &str) -> bool {
        self.latest.as_ref().is_none_or(|latest| latest == nonce)
    }

    /// Adds a name to the subscription.
    pub(super) fn ask(&mut self, name: String) -> Result<(), Refused> {
        if name.len() > NAME_BYTES_MAX {
            return Err(Refused::Name);
        }
        if self.names.len() >= NAMES_MAX && !self.names.contains(&name) {
            return Err(Refused::Names);
        }
        self.names.insert(name);
        Ok(())
    }

    /// What differs from what was sent.
    fn difference(&self, kind: Kind, resources: &Resources) -> (Vec<(String, Tag, Any)>, Vec<String>) {
        let is_new = |name: &str, tag: Tag| self.sent.get(name) != Some(&tag);
        if kind.is_wildcard() {
            let all = resources.all(kind).filter(|(name, (tag, _))| is_new(name, *tag));
            let changed = all.map(|(name, (tag, body))| (name.clone(), *tag, body.clone())).collect();
            let is_gone = |name: &&String| resources.find(kind, name).is_none();
            return (changed, self.sent.keys().filter(is_gone).cloned().collect());
        }
        let (mut changed, mut removed) = (Vec::new(), Vec::new());
        for name in &self.names {
            match resources.find(kind, name) {
                Some((tag, body)) if is_new(name, tag) => changed.push((name.clone(), tag, body)),
                None if self.sent.contains_key(name) => removed.push(name.clone()),
                Some(_) | None => {}
            }
        }
        (changed, removed)
    }
}

// === impl Refused ===

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        Self::resource_exhausted(refused.to_string())
    }
}
