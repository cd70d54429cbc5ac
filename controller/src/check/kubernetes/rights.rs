//! The controller's rights: whether its service account may do what the controller does.

use crate::check::chain;
use crate::check::finding::{Check, Findings, Level};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};

/// How the API server names a service account.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

static RIGHTS: Check = Check {
    id: "kubernetes.rights",
    worst: Level::Error,
    why: "the API server refuses these calls of the controller",
    remedy: "add the verbs to its Role (or ClusterRole): the chart's has them all, in controller/chart/templates/controller",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 1] = [&RIGHTS];

/// What the controller does where pools are: group, resource with subresource, verbs.
const OF_POOLS: [Right; 8] = [
    ("", "pods", &["get", "list", "watch"]),
    ("inference.networking.k8s.io", "inferencepools", &["get", "list", "watch"]),
    ("inference.networking.x-k8s.io", "inferencepools", &["get", "list", "watch"]),
    ("inference.networking.k8s.io", "inferencepools/status", &["patch"]),
    ("llm-d.ai", "inferenceobjectives", &["get", "list", "watch"]),
    ("inference.networking.x-k8s.io", "inferenceobjectives", &["get", "list", "watch"]),
    ("llm-d.ai", "inferencemodelrewrites", &["get", "list", "watch"]),
    ("inference.networking.x-k8s.io", "inferencemodelrewrites", &["get", "list", "watch"]),
];
/// What it does in its own namespace.
const OF_ITSELF: [Right; 2] = [
    ("coordination.k8s.io", "leases", &["get", "create", "update"]),
    ("", "pods", &["get", "list", "watch"]),
];

/// Group, resource with subresource, verbs.
type Right = (&'static str, &'static str, &'static [&'static str]);

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

// === impl Rights ===

impl Rights {
    /// Asks the API server about each verb.
    pub(super) async fn of(client: &Client, namespace: &str, account: &Account) -> Result<Self, String> {
        let own = if account.is_home(namespace) { &OF_ITSELF[..] } else { &[] };
        let mut lacking = Vec::new();
        for (group, resource, verbs) in OF_POOLS.iter().chain(own) {
            let mut refused = Vec::new();
            for verb in *verbs {
                let may = account.may(client, attributes(namespace, (group, resource, verb))).await;
                if !may.map_err(|error| format!("rights of {}: {}", account.user(), chain(&error)))? {
                    refused.push(*verb);
                }
            }
            lacking.push(((*group, *resource, *verbs), refused));
        }
        Ok(Self { account: account.user(), refused: refused(&lacking) })
    }
}

/// What is refused that the controller needs, by what is refused of each right. Without any right to InferencePools and what
/// goes with them, they are not followed here, as the chart's `inferencePools: false` has it.
fn refused(lacking: &[(Right, Vec<&'static str>)]) -> Vec<String> {
    let is_of_kinds = |(group, ..): &Right| group.contains("inference") || group.contains("llm-d");
    let mut kinds = lacking.iter().filter(|(right, _)| is_of_kinds(right));
    let follows_kinds = kinds.any(|((.., verbs), refused)| refused.len() < verbs.len());
    let needed = lacking
        .iter()
        .filter(|(right, refused)| !refused.is_empty() && (follows_kinds || !is_of_kinds(right)));
    let line = |((group, resource, _), refused): &(Right, Vec<&str>)| {
        let dot = if group.is_empty() { "" } else { "." };
        format!("{} {resource}{dot}{group}", refused.join(", "))
    };
    needed.map(line).collect()
}

fn attributes(namespace: &str, (group, resource, verb): (&str, &str, &str)) -> ResourceAttributes {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    ResourceAttributes {
        namespace: Some(namespace.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: Some(subresource.to_owned()).filter(|name| !name.is_empty()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    }
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
    use super::{OF_POOLS, refused};

    #[test]
    fn rights_to_kinds_are_missed_only_where_some_are_there() {
        let with = |pods: &[&'static str], pools: bool, rest: bool| {
            let lacking = OF_POOLS.map(|right| {
                let (_, resource, verbs) = right;
                let refused = match resource {
                    "pods" => pods.to_vec(),
                    "inferencepools" => {
                        if pools {
                            verbs.to_vec()
                        } else {
                            Vec::new()
                        }
                    }
                    _ => {
                        if rest {
                            verbs.to_vec()
                        } else {
                            Vec::new()
                        }
                    }
                };
                (right, refused)
            });
            refused(&lacking)
        };
        assert_eq!(with(&[], false, false), Vec::<String>::new());
        assert_eq!(with(&["watch"], true, true), ["watch pods"]);
        let pools = with(&[], true, false);
        assert_eq!(pools[0], "get, list, watch inferencepools.inference.networking.k8s.io");
        assert_eq!(pools.len(), 2);
    }
}
