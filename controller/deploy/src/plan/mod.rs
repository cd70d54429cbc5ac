//! A ModelService and what the cluster shows -> the objects that should be there, and a status in words.
//!
//! Pure, and computed anew at each change: no state can be left over from an earlier one. Objects are complete manifests for
//! server-side apply; a field that is not in them is somebody else's.

mod claims;
mod cluster;
mod names;
mod notes;
mod observed;
mod patch;
mod pod;
mod routing;
mod scaling;
mod sleep;
mod status;
mod validate;
mod volumes;
mod workload;

pub use crate::engines::HTTP_PORT;
pub use crate::problems::Problem;
pub use cluster::{Cluster, InferencePools, Picker};
pub use names::{Asleep, ENDPOINT_LABEL, LLM_D_ROLE_LABEL, ROLE_LABEL, SERVICE_LABEL, TAKES_REQUESTS};
pub use observed::{Diagnosis, ObjectRef, Observed, ObservedWorkload, Traffic};
pub use scaling::{policy, ranks};
pub use sleep::{Sleep, ports, sleep};

use crate::api::{ModelService, ModelServiceStatus};
use crate::engines::{self, Context};
use crate::problems::Problems;
use crate::shape::shapes;
use names::{Owner, reference};
use pod::Pod;
use serde_json::Value;

/// What should be there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The objects to apply, in this order. Empty where the ModelService is not valid: what is there stays as it is.
    pub objects: Vec<Object>,
    /// The objects that are there and should not be, once nothing depends on them.
    pub retire: Vec<ObjectRef>,
    /// The status. Whoever writes it fills in `lastTransitionTime`, because a plan knows no time.
    pub status: ModelServiceStatus,
    /// What a person should see as Events.
    pub events: Vec<Note>,
    /// What is wrong with the specification, all of it.
    pub problems: Vec<Problem>,
}

/// An object to apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The manifest, for server-side apply.
    pub manifest: Value,
    /// Why it is there.
    pub reason: String,
}

/// What a person should see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether somebody has to do something.
    pub is_warning: bool,
    /// What it is, in one word.
    pub reason: String,
    /// The field that it is about: `spec.transfer`. Two notes of one reason and field are one.
    pub field: String,
    /// What it is, in words.
    pub message: String,
}

/// What should be there for `service`.
pub fn plan(service: &ModelService, cluster: &Cluster, observed: &Observed) -> Plan {
    let spec = &service.spec;
    let owner = Owner::of(service);
    let mut problems = Problems::default();
    let mut shapes = shapes(spec, &mut problems);
    for shape in &mut shapes {
        if let Some(image) = cluster.image_for(&shape.image) {
            shape.image = image;
        }
    }
    validate::validate(spec, &shapes, cluster, &mut problems);
    let ports = shapes.iter().map(|shape| shape.ranks_per_pod).max().unwrap_or(1);
    let mut objects = Vec::new();
    for shape in &shapes {
        let launch = engines::launch(Context { spec, shape, cache: shape.cache });
        let pod = Pod { owner: &owner, spec, shape, launch: &launch, ports };
        objects.extend(workload::objects(pod, observed, &mut problems));
    }
    objects.extend(routing::objects(&owner, spec, &shapes, ports, cluster, &mut problems));
    let problems = problems.into_list();
    if !problems.is_empty() {
        let status = status::invalid(service, observed, &problems);
        let events = notes::invalid(&problems);
        return Plan { status, events, problems, ..Plan::default() };
    }
    let planned: Vec<ObjectRef> = objects.iter().map(|object| reference(&object.manifest)).collect();
    let status = status::status(service, &owner, &shapes, observed);
    // What serves stays until what takes its place does, where there is room for both.
    let has_room = spec.rollout.max_surge > 0;
    let is_extra = |owned: &&ObjectRef| !planned.contains(owned) && (status.is_settled() || !has_room);
    Plan {
        retire: observed.owned.iter().filter(is_extra).cloned().collect(),
        status,
        events: notes::advice(spec, &shapes),
        objects,
        problems,
    }
}

/// The address of the Service with all engines, within the cluster.
fn routing_address(owner: &Owner<'_>) -> String {
    format!("http://{}.{}:{HTTP_PORT}", owner.name, owner.namespace)
}
