//! A ModelService and what the cluster shows -> the objects that should be there, and a status in words.
//!
//! Pure, and computed anew at each change: no state can be left over from an earlier one. Objects are complete manifests for
//! server-side apply; a field that is not in them is somebody else's.

mod cluster;
mod names;
mod observed;

pub use cluster::{Cluster, InferencePools, Picker};
pub use names::{ENDPOINT_LABEL, LLM_D_ROLE_LABEL, ROLE_LABEL, SERVICE_LABEL};
pub use observed::{Diagnosis, ObjectRef, Observed, ObservedRole, Traffic};

use crate::api::{ModelService, ModelServiceStatus};
use serde_json::Value;

/// What should be there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The objects to apply, in this order. Empty where the ModelService is not valid: what is there stays as it is.
    pub objects: Vec<Object>,
    /// The objects that are there and should not be.
    pub retire: Vec<ObjectRef>,
    /// The status. Whoever writes it fills in `lastTransitionTime`, because a plan knows no time.
    pub status: ModelServiceStatus,
    /// What a person should see as Events.
    pub events: Vec<Note>,
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
    /// What it is, in words.
    pub message: String,
}

/// What should be there for `service`.
pub fn plan(service: &ModelService, cluster: &Cluster, observed: &Observed) -> Plan {
    let _ = (service, cluster, observed);
    Plan::default()
}
