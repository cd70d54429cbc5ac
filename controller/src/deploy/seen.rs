//! What the watches have shown, by ModelService. Pure.

use super::difference::Respect;
use super::insight::{Insight, Insights};
use super::step::Target;
use crate::config::ObjectName;
use crate::scale::Scaling;
use crate::watch::{EnginePod, Facts, Item, Kind};
use kube::api::DynamicObject;
use serde_json::Value;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use warmpath_deploy::api::{ModelService, RoleName};
use warmpath_deploy::plan::SERVICE_LABEL;

/// A ModelService, and what has become of it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Its name.
    pub(super) name: ObjectName,
    /// It.
    pub(super) service: Arc<DynamicObject>,
    /// The objects with its label.
    pub(super) made: BTreeMap<Target, Arc<DynamicObject>>,
    /// The pods with its label, by their names.
    pub(super) pods: BTreeMap<String, EnginePod>,
    /// What the controller knows beyond that; `None`: nothing yet.
    pub(super) insight: Option<Insight>,
    /// What the scaler asks for; `None`: nothing.
    pub(super) scaling: Option<Scaling>,
}

/// All ModelServices with what they became.
pub(super) fn seen(facts: &Facts, shown: &Insights) -> Vec<Seen> {
    let services = whole(facts, Kind::ModelService).map(|(name, service)| Seen {
        name: name.clone(),
        service: Arc::clone(service),
        made: BTreeMap::new(),
        pods: BTreeMap::new(),
        insight: shown.of(name).cloned(),
        scaling: shown.scaling(name).cloned(),
    });
    let mut seen: BTreeMap<ObjectName, Seen> = services.map(|seen| (seen.name.clone(), seen)).collect();
    for kind in Kind::OF_MODELS {
        for (name, object) in whole(facts, kind) {
            let label = object.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_LABEL));
            let of = label.map(|label| ObjectName { namespace: name.namespace.clone(), name: label.clone() });
            if let Some(of) = of.and_then(|of| seen.get_mut(&of)) {
                of.made.insert(Target { kind, name: name.clone() }, Arc::clone(object));
            }
        }
    }
    for (name, pod) in engines(facts) {
        let of = ObjectName { namespace: name.namespace.clone(), name: pod.service.clone() };
        if let Some(of) = seen.get_mut(&of) {
            of.pods.insert(name.name.clone(), pod.clone());
        }
    }
    seen.into_values().collect()
}

/// All ModelServices that can be read.
pub(super) fn services(facts: &Facts) -> impl Iterator<Item = (&ObjectName, ModelService)> {
    whole(facts, Kind::ModelService).filter_map(|(name, service)| Some((name, read(service)?)))
}

fn read(service: &DynamicObject) -> Option<ModelService> {
    serde_json::to_value(service).and_then(serde_json::from_value).ok()
}

fn whole(facts: &Facts, kind: Kind) -> impl Iterator<Item = (&ObjectName, &Arc<DynamicObject>)> {
    facts.items(kind).filter_map(|(name, item)| match item {
        Item::Whole(object) => Some((name, object)),
        _ => None,
    })
}

/// All pods that ModelServices have made.
pub(super) fn engines(facts: &Facts) -> impl Iterator<Item = (&ObjectName, &EnginePod)> {
    facts.items(Kind::EnginePod).filter_map(|(name, item)| match item {
        Item::Engine(pod) => Some((name, pod)),
        _ => None,
    })
}

// === impl Seen ===

impl Seen {
    /// The UID that its objects name as their owner's.
    pub(super) fn uid(&self) -> &str {
        self.service.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Whose writes count as others'.
    pub(super) fn respect(&self) -> Respect {
        if self.scaling.is_some() { Respect::AllButKubectlScale } else { Respect::All }
    }

    /// Grows with each change of its specification.
    pub(super) fn generation(&self) -> i64 {
        self.service.metadata.generation.unwrap_or_default()
    }

    /// Whether its status is that of its specification.
    pub(super) fn is_observed(&self) -> bool {
        let observed = self.service.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
        observed == Some(self.generation())
    }

    /// The replicas that the scaler asks for.
    pub(super) fn scaled(&self) -> BTreeMap<RoleName, i32> {
        let roles = self.scaling.iter().flat_map(|scaling| &scaling.roles);
        roles.map(|(role, of)| (*role, of.replicas)).collect()
    }

    /// Differs when anything of it has changed.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.service.metadata.resource_version.hash(&mut hasher);
        for (target, object) in &self.made {
            target.name.name.hash(&mut hasher);
            object.metadata.resource_version.hash(&mut hasher);
        }
        for (name, pod) in &self.pods {
            (name, &pod.role, pod.is_ready, pod.asleep, pod.is_leaving, &pod.trouble).hash(&mut hasher);
        }
        self.insight.hash(&mut hasher);
        self.scaled().hash(&mut hasher);
        self.scaling.as_ref().map(|scaling| &scaling.verdict).hash(&mut hasher);
        hasher.finish()
    }
}
