//! What the API server has shown, by source. Pure.
//!
//! A source is one watch, an update is what it reports, and a list replaces everything that its source had.

use super::engine::EnginePod;
use super::kinds::Kind;
use super::pod::Pod;
use crate::config::{ObjectName, Selector};
use k8s_openapi::jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::Value;
use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;

/// One watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// What is watched.
    pub kind: Kind,
    /// Where; `None` for all namespaces.
    pub namespace: Option<String>,
    /// The labels that its objects have.
    pub selector: Selector,
}

/// An object, reduced to what is read of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A pod.
    Pod(Pod),
    /// An object that describes pools.
    Object(Described),
    /// A pod of a ModelService.
    Engine(EnginePod),
    /// A ModelService, or an object that it becomes.
    Whole(Arc<DynamicObject>),
}

/// An object other than a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Which state of which object it is.
    pub revision: Revision,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its specification.
    pub spec: Value,
}

/// Which state of an object's specification, and of which of several objects that had its name one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision {
    /// When the object was created: of two objects that conflict, the older one applies.
    pub created: Option<Timestamp>,
    /// Grows with each change of the specification.
    pub generation: i64,
}

/// What a watch reports.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// All objects of the source.
    Listed(BTreeMap<ObjectName, Item>),
    /// An object is new or has changed.
    Applied(ObjectName, Item),
    /// An object is gone.
    Deleted(ObjectName),
    /// The watch does not work; what is known stays.
    Failed(SourceState),
    /// It works again, and continues where it was.
    Resumed,
}

/// How a watch goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SourceState {
    /// It has reported nothing yet.
    #[default]
    Pending,
    /// What is known is complete.
    Synced,
    /// The API server does not know the kind.
    Missing,
    /// The controller's role lacks a verb.
    Forbidden(String),
    /// The API server cannot be reached, or fails.
    Failing(String),
}

/// How far the watches have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// All show what there is.
    All,
    /// Those that do not are refused, or fail, while others work.
    ButRefused,
    /// Some have not said anything yet.
    Pending,
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

// === impl Source ===

impl Source {
    /// ModelServices, and of what has Warmpath's label the `made` kinds, in each namespace; none: in all.
    pub fn of_services(namespaces: &[String], made: &[Kind]) -> Vec<Self> {
        let managed = Selector::from([("app.kubernetes.io/managed-by".to_owned(), "warmpath".to_owned())]);
        let places: Vec<Option<String>> =
            if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() };
        let of_place = |namespace: &Option<String>| {
            let source = |kind, selector| Self { kind, namespace: namespace.clone(), selector };
            let made: Vec<Self> = made.iter().map(|kind| source(*kind, managed.clone())).collect();
            iter::once(source(Kind::ModelService, Selector::new())).chain(made)
        };
        places.iter().flat_map(of_place).collect()
    }
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

    /// Applies what a watch reports. Returns whether that changes anything.
    pub fn apply(&mut self, source: &Source, update: Update) -> bool {
        // The watch was closed a moment ago.
        let Some(shown) = self.sources.get_mut(source) else { return false };
        // The API server reports a change of an object only over a watch that works.
        let has_resumed = !matches!(update, Update::Failed(_)) && shown.resume();
        let has_changed = match update {
            Update::Resumed => false,
            Update::Failed(state) => std::mem::replace(&mut shown.state, state.clone()) != state,
            Update::Listed(items) => {
                let is_same = shown.is_known && shown.items == items;
                *shown = Shown { state: SourceState::Synced, is_known: true, items };
                !is_same
            }
            Update::Applied(name, item) => shown.items.insert(name, item.clone()) != Some(item),
            Update::Deleted(name) => shown.items.remove(&name).is_some(),
        };
        has_changed || has_resumed
    }

    /// How many watches have listed their objects, or cannot for a reason that only people can fix. For the first pools of a controller
    /// (`is_first`) being forbidden to see them is not enough: it must not take them for gone.
    pub fn settled(&self, is_first: bool) -> Settled {
        let hides = |source: &Source, shown: &Shown| {
            let of_pools = [Kind::InferencePool, Kind::Pod].contains(&source.kind);
            !shown.is_known && of_pools && matches!(shown.state, SourceState::Forbidden(_))
        };
        let waits =
            |(source, shown): &(&Source, &Shown)| !shown.is_settled() || (is_first && hides(source, shown));
        let mut waiting = self.sources.iter().filter(waits).peekable();
        if waiting.peek().is_none() {
            return Settled::All;
        }
        // If nothing at all is known, it is the API server that does not respond.
        let is_reached = self.sources.values().any(|shown| shown.is_known);
        let is_refused =
            |shown: &Shown| matches!(shown.state, SourceState::Forbidden(_) | SourceState::Failing(_));
        if is_reached && waiting.all(|(_, shown)| is_refused(shown)) {
            Settled::ButRefused
        } else {
            Settled::Pending
        }
    }

    /// Whether all is known that there is: what is not seen would be made again, or be taken for gone.
    pub fn is_complete(&self) -> bool {
        self.sources.values().all(|shown| shown.is_known || shown.state == SourceState::Missing)
    }

    /// All watches.
    pub fn sources(&self) -> impl Iterator<Item = (&Source, &Shown)> {
        self.sources.iter()
    }

    /// What a watch has shown.
    pub fn shown(&self, source: &Source) -> Option<&Shown> {
        self.sources.get(source)
    }

    /// All items of a kind, in the order of their namespaces and names.
    pub fn items(&self, kind: Kind) -> impl Iterator<Item = (&ObjectName, &Item)> {
        let shown = self.sources.iter().filter(move |(source, _)| source.kind == kind);
        shown.flat_map(|(_, shown)| &shown.items)
    }

    /// All objects that describe pools of a kind, in the order of their names.
    pub fn objects(&self, kind: Kind) -> impl Iterator<Item = (&ObjectName, &Described)> {
        self.items(kind).filter_map(|(name, item)| match item {
            Item::Object(object) => Some((name, object)),
            _ => None,
        })
    }
}

// === impl Shown ===

impl Shown {
    /// Whether it has listed its objects, or cannot for a reason that only people can fix.
    pub fn is_settled(&self) -> bool {
        self.is_known || matches!(self.state, SourceState::Missing | SourceState::Forbidden(_))
    }

    /// It works again. Returns whether it did not before. One that has never listed its objects still has to.
    fn resume(&mut self) -> bool {
        self.is_known && std::mem::replace(&mut self.state, SourceState::Synced) != SourceState::Synced
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

#[cfg(test)]
mod tests {
    use super::{Facts, Settled, Source, SourceState, Update};
    use crate::config::{ObjectName, Selector};
    use crate::watch::Kind;
    use std::collections::BTreeMap;

    fn failing() -> Update {
        Update::Failed(SourceState::Failing("connection refused".to_owned()))
    }

    #[test]
    fn a_controller_that_starts_waits_while_pools_are_forbidden() {
        let forbidden = || Update::Failed(SourceState::Forbidden("no".to_owned()));
        let source = |kind| Source { kind, namespace: None, selector: Selector::new() };
        for (kind, hides) in
            [(Kind::InferencePool, true), (Kind::Pod, true), (Kind::InferenceObjective, false)]
        {
            let mut facts = Facts::default();
            facts.open(source(kind));
            facts.apply(&source(kind), forbidden());
            assert_eq!(facts.settled(false), Settled::All, "later it holds nothing up");
            assert_eq!(facts.settled(true) == Settled::All, !hides, "{kind:?}");
        }
        let mut facts = Facts::default();
        facts.open(source(Kind::Pod));
        facts.apply(&source(Kind::Pod), Update::Listed(BTreeMap::new()));
        facts.apply(&source(Kind::Pod), forbidden());
        assert_eq!(facts.settled(true), Settled::All, "what was listed stays");
    }

    #[test]
    fn a_watch_that_goes_on_after_a_failure_is_synced_again_without_a_list() {
        let source = Source { kind: Kind::Pod, namespace: None, selector: Selector::new() };
        let gone = ObjectName { namespace: "llm".to_owned(), name: "gone".to_owned() };
        let mut facts = Facts::default();
        facts.open(source.clone());
        facts.apply(&source, failing());
        assert!(!facts.apply(&source, Update::Resumed), "it has not listed anything yet");
        assert_ne!(facts.settled(false), Settled::All);
        facts.apply(&source, Update::Listed(BTreeMap::new()));
        for update in [Update::Resumed, Update::Deleted(gone)] {
            assert!(facts.apply(&source, failing()));
            assert!(facts.apply(&source, update.clone()));
            assert_eq!(facts.shown(&source).map(|shown| &shown.state), Some(&SourceState::Synced));
            assert!(!facts.apply(&source, update));
        }
    }
}
