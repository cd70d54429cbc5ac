//! What the API server has shown, source by source.
//!
//! Values in, values out: a source is one watch, an update is what one watch reports, and a list replaces what its source
//! had.

use super::kinds::Kind;
use super::pod::Pod;
use crate::config::{ObjectName, Selector};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// One watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// What is watched.
    pub kind: Kind,
    /// Where; `None` for all namespaces.
    pub namespace: Option<String>,
    /// With which labels.
    pub selector: Selector,
}

/// An object, as far as it is read.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A pod.
    Pod(Pod),
    /// Any other object.
    Object(Described),
}

/// An object other than a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// When it was made: of two objects that exclude each other, the older one counts.
    pub created: Option<Timestamp>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its specification.
    pub spec: Value,
}

/// What a watch reports.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// All objects that there are.
    Listed(BTreeMap<ObjectName, Item>),
    /// An object is new or has changed.
    Applied(ObjectName, Item),
    /// An object has gone.
    Deleted(ObjectName),
    /// The watch does not work; what is known stays.
    Failed(SourceState),
}

/// How a watch goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SourceState {
    /// Nothing has come yet.
    #[default]
    Pending,
    /// What is known is what there is.
    Synced,
    /// The API server does not know the kind.
    Missing,
    /// The controller may not: a role lacks the verb.
    Forbidden(String),
    /// The API server cannot be reached, or fails.
    Failing(String),
}

/// What one watch has shown.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// How it goes.
    pub state: SourceState,
    /// Whether it has listed the objects once.
    pub is_known: bool,
    /// The objects.
    pub items: BTreeMap<ObjectName, Item>,
}

/// What all watches have shown.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    sources: BTreeMap<Source, Shown>,
}

// === impl Facts ===

impl Facts {
    /// A watch begins.
    pub fn open(&mut self, source: Source) {
        self.sources.entry(source).or_default();
    }

    /// A watch has ended.
    pub fn close(&mut self, source: &Source) {
        self.sources.remove(source);
    }

    /// Takes in what a watch reports. Returns whether that changes anything.
    pub fn apply(&mut self, source: &Source, update: Update) -> bool {
        // A watch that was ended a moment ago.
        let Some(shown) = self.sources.get_mut(source) else { return false };
        match update {
            Update::Failed(state) => std::mem::replace(&mut shown.state, state.clone()) != state,
            Update::Listed(items) => {
                let has_state =
                    std::mem::replace(&mut shown.state, SourceState::Synced) == SourceState::Synced;
                let is_same = shown.items == items;
                (shown.items, shown.is_known) = (items, true);
                !(has_state && is_same)
            }
            Update::Applied(name, item) => shown.items.insert(name, item.clone()) != Some(item),
            Update::Deleted(name) => shown.items.remove(&name).is_some(),
        }
    }

    /// Whether every watch has shown something, or cannot for a reason that only people can mend.
    pub fn is_settled(&self) -> bool {
        self.sources.values().all(Shown::is_settled)
    }

    /// All watches.
    pub fn sources(&self) -> impl Iterator<Item = (&Source, &Shown)> {
        self.sources.iter()
    }

    /// What a watch has shown.
    pub fn shown(&self, source: &Source) -> Option<&Shown> {
        self.sources.get(source)
    }

    /// All objects of a kind, in the order of their names.
    pub fn objects(&self, kind: Kind) -> impl Iterator<Item = (&ObjectName, &Described)> {
        let shown = self.sources.iter().filter(move |(source, _)| source.kind == kind);
        shown.flat_map(|(_, shown)| &shown.items).filter_map(|(name, item)| match item {
            Item::Object(object) => Some((name, object)),
            Item::Pod(_) => None,
        })
    }
}

// === impl Shown ===

impl Shown {
    /// Whether it has shown something, or cannot for a reason that only people can mend.
    pub fn is_settled(&self) -> bool {
        self.is_known || matches!(self.state, SourceState::Missing | SourceState::Forbidden(_))
    }
}

// === impl SourceState ===

impl SourceState {
    /// Its name in metrics and pages.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Synced => "synced",
            Self::Missing => "missing",
            Self::Forbidden(_) => "forbidden",
            Self::Failing(_) => "failing",
        }
    }
}
