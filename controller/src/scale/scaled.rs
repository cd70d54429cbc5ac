//! What the scaler asks for, for those who write it and those who read why.

use crate::config::ObjectName;
use std::collections::BTreeMap;
use warmpath_deploy::api::RoleName;

/// What is asked for, by ModelService. One that is not among them is not scaled, or nothing is known of it yet.
pub(crate) type Scaled = BTreeMap<ObjectName, Scaling>;

/// What is asked for of a ModelService.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scaling {
    /// Its roles.
    pub(crate) roles: BTreeMap<RoleName, RoleScaling>,
    /// Why, for its status.
    pub(crate) verdict: Verdict,
}

/// What is asked for of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RoleScaling {
    /// Replicas.
    pub(crate) replicas: i32,
    /// Its pods by their names, in the order in which they should leave if any has to.
    pub(crate) order: Vec<String>,
}

/// Why the replicas are as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Verdict {
    /// Whether the scaler can do what it should.
    pub(crate) is_fine: bool,
    /// In one word.
    pub(crate) reason: String,
    /// In words.
    pub(crate) message: String,
}

/// Whether both ask for the same. Who leaves first changes with each request, and matters when the number changes.
pub(super) fn is_same(one: &Scaled, other: &Scaled) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|((name, one), (other_name, other))| {
            let replicas = |scaling: &Scaling| {
                scaling.roles.iter().map(|(role, of)| (*role, of.replicas)).collect::<Vec<_>>()
            };
            name == other_name && one.verdict == other.verdict && replicas(one) == replicas(other)
        })
}
