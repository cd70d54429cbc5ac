//! The controller's rights: whether its service account may do what the controller does.

use crate::check::chain;
use crate::check::finding::{Check, Findings, Level};
use crate::watch::Kind;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};
use std::iter;

/// How the API server names a service account.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

static RIGHTS: Check = Check {
    id: "kubernetes.rights",
    worst: Level::Error,
    why: "the API server refuses these calls of the controller",
    remedy: "add the verbs to its Role (or ClusterRole); controller/chart/templates/controller/rbac.yaml has them all",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 1] = [&RIGHTS];

/// What a watch takes.
const WATCH: &[&str] = &["get", "list", "watch"];

/// What it takes to make objects, and to keep them as they should be.
const MAKE: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];

/// What the controller does in its own namespace.
pub const OF_ITSELF: [Right; 3] = [
    Right::of_lease(&["get", "update"], true),
    // A name that is yet to be cannot be part of a role.
    Right::of_lease(&["create"], false),
    Right { group: "", resource: "pods", verbs: WATCH, is_named: false },
];

/// A resource, and what the controller does with it. The chart's roles allow these and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// Its group.
    pub group: &'static str,
    /// Its plural, with the subresource.
    pub resource: &'static str,
    /// What is done.
    pub verbs: &'static [&'static str],
    /// Whether only with the object that has the name of the controller's account.
    pub is_named: bool,
}

/// Who the controller is to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// A service account.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The one that this command runs as.
    Own {
        /// The name that the API server has for it.
        user: String,
    },
}

/// What an account may not do.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    /// For people.
    pub account: String,
    /// Verbs, resource and group that are refused.
    pub refused: Vec<String>,
}

// === impl Account ===

impl Account {
    /// The account that this command runs as, if it is a service account: then it is meant to be the controller's.
    pub(super) async fn of_this_pod(client: &Client) -> Option<Self> {
        let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
        let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await.ok()?;
        let user = review.status?.user_info?.username?;
        user.starts_with(SERVICE_ACCOUNT).then_some(Self::Own { user })
    }

    fn user(&self) -> String {
        match self {
            Self::Service { namespace, name } => format!("{SERVICE_ACCOUNT}{namespace}:{name}"),
            Self::Own { user } => user.clone(),
        }
    }

    /// Its name in its namespace.
    fn name(&self) -> &str {
        match self {
            Self::Service { name, .. } => name,
            Self::Own { user } => user.rsplit(':').next().unwrap_or_default(),
        }
    }

    /// Whether a namespace is the one that it runs in.
    fn is_home(&self, namespace: &str) -> bool {
        self.user().strip_prefix(SERVICE_ACCOUNT).and_then(|rest| rest.split(':').next()) == Some(namespace)
    }

    /// Whether it may do this.
    async fn may(&self, client: &Client, attributes: ResourceAttributes) -> Result<bool, kube::Error> {
        let status = match self {
            Self::Service { namespace, .. } => {
                let groups =
                    ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
                let spec = SubjectAccessReviewSpec {
                    resource_attributes: Some(attributes),
                    user: Some(self.user()),
                    groups: Some(groups.into()),
                    ..SubjectAccessReviewSpec::default()
                };
                let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
                let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
                reviews.create(&PostParams::default(), &review).await?.status
            }
            Self::Own { .. } => {
                let spec = SelfSubjectAccessReviewSpec {
                    resource_attributes: Some(attributes),
                    ..SelfSubjectAccessReviewSpec::default()
                };
                let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
                let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
                reviews.create(&PostParams::default(), &review).await?.status
            }
        };
        Ok(status.is_some_and(|status| status.allowed))
    }
}

// === impl Right ===

impl Right {
    /// What the controller does where pools are.
    pub fn of_pools() -> impl Iterator<Item = Self> {
        let status = Self {
            group: Kind::InferencePool.group(),
            resource: "inferencepools/status",
            verbs: &["patch"],
            is_named: false,
        };
        iter::once(Kind::Pod).chain(Kind::OF_POOLS).map(Self::of_watch).chain(iter::once(status))
    }

    /// What it does besides where it carries out ModelServices.
    pub fn of_models() -> impl Iterator<Item = Self> {
        let own = |resource, verbs| Self { group: "warmpath.dev", resource, verbs, is_named: false };
        let made = Kind::OF_MODELS.map(|kind| Self { verbs: MAKE, ..Self::of_watch(kind) });
        let events =
            Self { group: "events.k8s.io", resource: "events", verbs: &["create", "patch"], is_named: false };
        [
            Self::of_watch(Kind::ModelService),
            own("modelservices/status", &["patch"]),
            own("modelservices/finalizers", &["update"]),
            events,
            // Of the engines that a role has too many of, the coldest is marked to leave first; one that does not wake is replaced.
            Self { group: "", resource: "pods", verbs: &["patch", "delete"], is_named: false },
        ]
        .into_iter()
        .chain(made)
    }

    fn of_watch(kind: Kind) -> Self {
        let (resource, group) = kind.label().split_once('.').unwrap_or((kind.label(), ""));
        Self { group, resource, verbs: WATCH, is_named: false }
    }

    const fn of_lease(verbs: &'static [&'static str], is_named: bool) -> Self {
        Self { group: "coordination.k8s.io", resource: "leases", verbs, is_named }
    }

    /// Whether it is one to InferencePools, or to what goes with them.
    fn is_of_inference(self) -> bool {
        Kind::OF_POOLS.iter().any(|kind| kind.group() == self.group)
    }

    fn attributes(self, namespace: &str, verb: &str, account: &str) -> ResourceAttributes {
        let (resource, subresource) = self.resource.split_once('/').unwrap_or((self.resource, ""));
        ResourceAttributes {
            namespace: Some(namespace.to_owned()),
            group: Some(self.group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: Some(subresource.to_owned()).filter(|name| !name.is_empty()),
            name: self.is_named.then(|| account.to_owned()),
            verb: Some(verb.to_owned()),
            ..ResourceAttributes::default()
        }
    }
}

// === impl Rights ===

impl Rights {
    /// Asks the API server about each verb.
    pub(super) async fn of(client: &Client, namespace: &str, account: &Account) -> Result<Self, String> {
        let own = if account.is_home(namespace) { &OF_ITSELF[..] } else { &[] };
        let always =
            lacking(client, namespace, account, Right::of_pools().chain(own.iter().copied())).await?;
        let models = lacking(client, namespace, account, Right::of_models()).await?;
        let refused = refused(&always).into_iter().chain(refused_of_models(&models));
        Ok(Self { account: account.user(), refused: refused.collect() })
    }
}

/// Of each right the verbs that are refused.
async fn lacking(
    client: &Client,
    namespace: &str,
    account: &Account,
    rights: impl Iterator<Item = Right>,
) -> Result<Vec<(Right, Vec<&'static str>)>, String> {
    let mut lacking = Vec::new();
    for right in rights {
        let mut refused = Vec::new();
        for verb in right.verbs {
            let may = account.may(client, right.attributes(namespace, verb, account.name())).await;
            if !may.map_err(|error| format!("rights of {}: {}", account.user(), chain(&error)))? {
                refused.push(*verb);
            }
        }
        lacking.push((right, refused));
    }
    Ok(lacking)
}

/// The same of what ModelServices need. Without any right to these they are not carried out here, as by default.
fn refused_of_models(lacking: &[(Right, Vec<&'static str>)]) -> Vec<String> {
    let mut own = lacking.iter().filter(|(right, _)| right.group == Kind::ModelService.group());
    let carries_out = own.any(|(right, refused)| refused.len() < right.verbs.len());
    let needed = lacking.iter().filter(|(_, refused)| carries_out && !refused.is_empty());
    needed.map(line).collect()
}

/// What is refused that the controller needs, by what is refused of each right. Without any right to InferencePools and what
/// goes with them, they are not followed here, as the chart's `inferencePools: false` has it.
fn refused(lacking: &[(Right, Vec<&'static str>)]) -> Vec<String> {
    let mut kinds = lacking.iter().filter(|(right, _)| right.is_of_inference());
    let follows_kinds = kinds.any(|(right, refused)| refused.len() < right.verbs.len());
    let needed = lacking
        .iter()
        .filter(|(right, refused)| !refused.is_empty() && (follows_kinds || !right.is_of_inference()));
    needed.map(line).collect()
}

fn line((Right { group, resource, .. }, refused): &(Right, Vec<&'static str>)) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    format!("{} {resource}{dot}{group}", refused.join(", "))
}

/// Checks them.
pub fn check(rights: &Rights, to: &mut Findings) {
    let subject = rights.account.as_str();
    let seen = if rights.refused.is_empty() {
        "may do all that the controller does".to_owned()
    } else {
        format!("may not {}", rights.refused.join("; "))
    };
    to.judge(&RIGHTS, rights.refused.is_empty(), subject, seen);
}

#[cfg(test)]
mod tests {
    use super::{Right, refused, refused_of_models};

    #[test]
    fn rights_to_kinds_are_missed_only_where_some_are_there() {
        let with = |pods: &[&'static str], has_pools: bool, has_rest: bool| {
            let lacking: Vec<_> = Right::of_pools()
                .map(|right| match right.resource {
                    "pods" => (right, pods.to_vec()),
                    "inferencepools" if has_pools => (right, Vec::new()),
                    resource if resource != "inferencepools" && has_rest => (right, Vec::new()),
                    _ => (right, right.verbs.to_vec()),
                })
                .collect();
            refused(&lacking)
        };
        assert_eq!(with(&[], true, true), Vec::<String>::new());
        assert_eq!(with(&["watch"], false, false), ["watch pods"]);
        let pools = with(&[], false, true);
        assert_eq!(pools[0], "get, list, watch inferencepools.inference.networking.k8s.io");
        assert_eq!(pools.len(), 2);
    }

    #[test]
    fn rights_to_make_workloads_are_missed_only_where_model_services_are_carried_out() {
        let with = |has_services: bool| {
            let all = Right::of_models().map(|right| match right.resource {
                "modelservices" if has_services => (right, Vec::new()),
                _ => (right, right.verbs.to_vec()),
            });
            refused_of_models(&all.collect::<Vec<_>>())
        };
        assert_eq!(with(false), Vec::<String>::new());
        let missed = with(true);
        assert!(
            missed.contains(&"get, list, watch, create, patch, delete deployments.apps".to_owned()),
            "{missed:?}"
        );
    }
}
