//! The resources that are served. Pure.
//!
//! The version of a resource is a hash of its content, not a counter: Envoy then recognises what it has, even from another
//! replica or after a restart of the controller, and a change that is reverted before it was sent is no change.

use super::endpoints::assignment;
use super::{Kind, Resource};
use envoy_types::pb::google::protobuf::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use xxhash_rust::xxh3::xxh3_64;

/// A version of all resources of one kind. Grows with each change of any kind; 0 is "nothing yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u64);

/// The hash of a resource's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(u64);

/// All resources, and whether they are all that there are.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    is_complete: bool,
    version: Version,
    kinds: BTreeMap<Kind, Named>,
}

/// The resources of one kind.
#[derive(Clone, Debug, Default)]
struct Named {
    version: Version,
    bodies: BTreeMap<String, (Tag, Any)>,
}

// === impl Version ===

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Tag ===

impl Tag {
    /// The tag of a body.
    fn of(body: &Any) -> Self {
        Self(xxh3_64(&body.value))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Tag {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

// === impl Resources ===

impl Resources {
    /// Whether these are all resources. Until then nothing is sent: what is not known yet would look as if it did not exist, and
    /// Envoy would drop the endpoints that it has.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Marks the resources as complete.
    pub fn complete(&mut self) {
        self.is_complete = true;
    }

    /// Adds resources, or replaces those of the same kind and name. Returns the version that contains them.
    pub fn put(&mut self, resources: impl IntoIterator<Item = Resource>) -> Version {
        let next = Version(self.version.0 + 1);
        let mut version = Version::default();
        for resource in resources {
            let (kind, name, body) = resource.into_parts();
            let named = self.kinds.entry(kind).or_default();
            let tag = Tag::of(&body);
            if named.bodies.get(&name).is_none_or(|(before, _)| *before != tag) {
                named.bodies.insert(name, (tag, body));
                named.version = next;
                self.version = next;
            }
            version = version.max(named.version);
        }
        version
    }

    /// Takes a resource away. Returns the version that lacks it.
    pub fn remove(&mut self, kind: Kind, name: &str) -> Version {
        let Some(named) = self.kinds.get_mut(&kind) else { return Version::default() };
        if named.bodies.remove(name).is_some() {
            self.version = Version(self.version.0 + 1);
            named.version = self.version;
        }
        named.version
    }

    /// Makes these the resources of a kind, and no others. Returns whether anything has changed.
    pub fn replace(&mut self, kind: Kind, resources: Vec<Resource>) -> bool {
        let before = self.version;
        let stays = |name: &str| resources.iter().any(|resource| resource.name() == name);
        let bodies = self.kinds.get(&kind).map(|named| &named.bodies);
        let gone: Vec<String> = bodies.into_iter().flatten().map(|(name, _)| name).cloned().collect();
        for name in gone.iter().filter(|name| !stays(name)) {
            self.remove(kind, name);
        }
        self.put(resources);
        self.version != before
    }

    /// The version of a kind.
    pub fn version(&self, kind: Kind) -> Version {
        self.kinds.get(&kind).map(|named| named.version).unwrap_or_default()
    }

    /// All resources of a kind.
    pub(super) fn all(&self, kind: Kind) -> impl Iterator<Item = (&String, &(Tag, Any))> {
        self.kinds.get(&kind).into_iter().flat_map(|named| &named.bodies)
    }

    /// One resource. Endpoints always exist, if only as an empty list: Envoy would keep the endpoints of a resource that is
    /// merely removed.
    pub(super) fn find(&self, kind: Kind, name: &str) -> Option<(Tag, Any)> {
        let found = self.kinds.get(&kind).and_then(|named| named.bodies.get(name)).cloned();
        found.or_else(|| {
            let (_, _, body) =
                (kind == Kind::Endpoints).then(|| Resource::from(assignment(name, [])))?.into_parts();
            Some((Tag::of(&body), body))
        })
    }
}
