//! What ModelServices ask of the scaler, read once for each state of each: a plan is made five times a minute or a second.

use crate::config::ObjectName;
use crate::watch::{Facts, Item, Kind};
use kube::api::DynamicObject;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use warmpath_core::ids::EndpointId;
use warmpath_deploy::api::{ModelService, RoleName};
use warmpath_deploy::plan::{policy, ranks};
use warmpath_scale::Policy;

/// A ModelService that is scaled.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    /// The hash of its UID, which distinguishes it from an earlier one of the same name.
    pub(super) identity: u64,
    /// The hash of what its engines are: of others, nothing that was learned holds.
    pub(super) engines: u64,
    pub(super) roles: Vec<RoleName>,
    /// The ranks of a replica of each role.
    pub(super) ranks: BTreeMap<RoleName, u32>,
    pub(super) policy: Policy,
    /// The level at which engines sleep at zero; `None`: they leave.
    pub(super) sleep_level: Option<u8>,
    /// Whether another scaler sets the replicas, by the numbers of this one or its own.
    pub(super) is_external: bool,
}

/// The ModelServices, as the watch shows them.
#[derive(Debug, Default)]
pub(super) struct Specs {
    /// Each with what it asks, if it is scaled and can be carried out.
    services: BTreeMap<ObjectName, (Arc<DynamicObject>, Option<Asked>)>,
}

// === impl Specs ===

impl Specs {
    /// Reads those that have changed.
    pub(super) fn read(&mut self, facts: &Facts) {
        let mut before = std::mem::take(&mut self.services);
        for (name, item) in facts.items(Kind::ModelService) {
            let Item::Whole(object) = item else { continue };
            let known = before.remove(name).filter(|(known, _)| Arc::ptr_eq(known, object));
            let read = known.unwrap_or_else(|| (Arc::clone(object), asked(object)));
            self.services.insert(name.clone(), read);
        }
    }

    /// Those that are scaled.
    pub(super) fn all(&self) -> impl Iterator<Item = (&ObjectName, &Asked)> {
        self.services.iter().filter_map(|(name, (_, asked))| Some((name, asked.as_ref()?)))
    }

    /// One of them.
    pub(super) fn of(&self, name: &ObjectName) -> Option<&Asked> {
        self.services.get(name)?.1.as_ref()
    }
}

fn asked(object: &DynamicObject) -> Option<Asked> {
    let service: ModelService = serde_json::to_value(object).and_then(serde_json::from_value).ok()?;
    let spec = &service.spec;
    let policy = policy(spec).ok()??;
    let mut engines = DefaultHasher::new();
    for part in [serde_json::to_string(&spec.model), serde_json::to_string(&spec.engine)] {
        part.ok().hash(&mut engines);
    }
    for (name, role) in spec.roles.iter() {
        name.as_str().hash(&mut engines);
        for part in [serde_json::to_string(&role.hardware), serde_json::to_string(&role.parallelism)] {
            part.ok().hash(&mut engines);
        }
    }
    Some(Asked {
        identity: EndpointId::of(object.metadata.uid.as_deref().unwrap_or_default()).0,
        engines: engines.finish(),
        roles: spec.roles.iter().map(|(role, _)| role).collect(),
        ranks: ranks(spec),
        policy,
        sleep_level: spec.autoscaling.sleep_level,
        is_external: spec.autoscaling.external,
    })
}
