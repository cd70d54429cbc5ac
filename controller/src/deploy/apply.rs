//! Performs one step on the API server: the only place that writes what a ModelService becomes.
//!
//! Server-side apply, never by force: a field that somebody else has set is theirs. Before an object is made, the API server is
//! asked whether one of its name exists: the watches show only what has Warmpath's labels, and applying to an object of somebody
//! else would mix the two.

use super::difference::{Contested, MANAGER};
use super::step::{Target, is_ours};
use crate::config::ObjectName;
use crate::watch::Kind;
use http::StatusCode;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::Status;
use serde_json::Value;
use std::time::Duration;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a message of the API server that are kept: it repeats whole objects.
const MESSAGE_BYTES_MAX: usize = 500;

/// What the API server says when a webhook with `failurePolicy: Fail` does not respond (`toStatusErr` of its admission plugins).
const WEBHOOK_FAILS: &str = "failed calling webhook";

/// Why something was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// An object of this name exists, and is not the ModelService's.
    Foreign,
    /// Others have set fields between the look and the write.
    Contested(Vec<Contested>),
    /// There is no such object, kind or namespace.
    Absent(String),
    /// The API server refuses it: the message says why.
    Refused(String),
    /// The role lacks a verb, or an admission or a quota forbids it.
    Forbidden(String),
    /// A webhook that has to admit it fails. The API server reports that as its own failure.
    Webhook(String),
    /// The API server cannot be reached, or fails.
    Away(String),
}

/// The API server, for writes.
pub(super) struct Applier {
    pub(super) client: Client,
}

// === impl Applier ===

impl Applier {
    /// Makes an object that the watches have not shown.
    pub(super) async fn create(
        &self,
        target: &Target,
        owner_uid: &str,
        manifest: &Value,
    ) -> Result<DynamicObject, Failure> {
        let api = self.api(target);
        if let Some(found) = timely(api.get_opt(&target.name.name)).await?
            && !is_ours(&found, owner_uid, manifest)
        {
            return Err(Failure::Foreign);
        }
        self.apply(target, manifest).await
    }

    /// Applies a manifest to an object that is there.
    pub(super) async fn apply(&self, target: &Target, manifest: &Value) -> Result<DynamicObject, Failure> {
        let api = self.api(target);
        timely(api.patch(&target.name.name, &PatchParams::apply(MANAGER), &Patch::Apply(manifest))).await
    }

    /// Applies a manifest, of which others have fields that they should not.
    pub(super) async fn force(&self, target: &Target, manifest: &Value) -> Result<DynamicObject, Failure> {
        let (api, params) = (self.api(target), PatchParams::apply(MANAGER).force());
        timely(api.patch(&target.name.name, &params, &Patch::Apply(manifest))).await
    }

    /// Deletes the object that was seen, and no later one of its name. What it made goes with it.
    pub(super) async fn delete(&self, kind: Kind, object: &DynamicObject) -> Result<(), Failure> {
        let name = ObjectName {
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            name: object.metadata.name.clone().unwrap_or_default(),
        };
        let api = self.api(&Target { kind, name: name.clone() });
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: object.metadata.uid.clone(), resource_version: None }),
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        match timely(api.delete(&name.name, &params)).await {
            Err(Failure::Absent(_)) => Ok(()),
            deleted => deleted.map(drop),
        }
    }

    /// Merges a patch into a pod.
    pub(super) async fn mark(&self, pod: &ObjectName, patch: &Value) -> Result<(), Failure> {
        let api = self.api(&Target { kind: Kind::EnginePod, name: pod.clone() });
        timely(api.patch(&pod.name, &PatchParams::default(), &Patch::Merge(patch))).await.map(drop)
    }

    /// Deletes a pod of a Deployment, whose name no other one ever has.
    pub(super) async fn delete_pod(&self, pod: &ObjectName) -> Result<(), Failure> {
        let api = self.api(&Target { kind: Kind::EnginePod, name: pod.clone() });
        match timely(api.delete(&pod.name, &DeleteParams::default())).await {
            Err(Failure::Absent(_)) => Ok(()),
            deleted => deleted.map(drop),
        }
    }

    /// Replaces the status of a ModelService.
    pub(super) async fn write_status(
        &self,
        name: &ObjectName,
        status: &Value,
    ) -> Result<DynamicObject, Failure> {
        let api = self.api(&Target { kind: Kind::ModelService, name: name.clone() });
        let resource = Kind::ModelService.resource();
        let patch = serde_json::json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name.name, "namespace": name.namespace},
            "status": status,
        });
        // The status is this controller's alone.
        let params = PatchParams::apply(MANAGER).force();
        timely(api.patch_status(&name.name, &params, &Patch::Apply(patch))).await
    }

    fn api(&self, target: &Target) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &target.name.namespace, &target.kind.resource())
    }
}

// === impl Failure ===

impl Failure {
    fn of(error: &kube::Error) -> Self {
        let kube::Error::Api(status) = error else { return Self::Away(cut(&error.to_string())) };
        match StatusCode::from_u16(status.code) {
            Ok(StatusCode::CONFLICT) => match contested(status) {
                // Not a field: the object changed or went at the same moment.
                contested if contested.is_empty() => Self::Away(cut(&status.message)),
                contested => Self::Contested(contested),
            },
            Ok(StatusCode::NOT_FOUND) => Self::Absent(cut(&status.message)),
            Ok(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Self::Forbidden(cut(&status.message)),
            Ok(StatusCode::TOO_MANY_REQUESTS) => Self::Away(cut(&status.message)),
            Ok(StatusCode::INTERNAL_SERVER_ERROR) if status.message.contains(WEBHOOK_FAILS) => {
                Self::Webhook(cut(&status.message))
            }
            Ok(code) if code.is_client_error() => Self::Refused(cut(&status.message)),
            _ => Self::Away(cut(&status.message)),
        }
    }
}

/// Waits for a response, and reads its failure.
async fn timely<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(done) => done.map_err(|error| Failure::of(&error)),
        Err(_) => Err(Failure::Away("no response in time".to_owned())),
    }
}

/// The fields that a refusal names, with those who set them: `conflict with "kubectl" using apps/v1`.
fn contested(status: &Status) -> Vec<Contested> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let of_fields = causes.filter(|cause| cause.reason == "FieldManagerConflict");
    let contested = of_fields.map(|cause| Contested {
        path: cause.field.clone(),
        manager: cause.message.split('"').nth(1).unwrap_or(&cause.message).to_owned(),
    });
    contested.collect()
}

fn cut(message: &str) -> String {
    let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
    message.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Contested, Failure};
    use kube::core::Status;
    use serde_json::json;

    fn failure(code: u16, more: &serde_json::Value) -> Failure {
        let mut status = json!({"code": code, "message": "why"});
        status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let status: Status = serde_json::from_value(status).unwrap();
        Failure::of(&kube::Error::Api(status.boxed()))
    }

    #[test]
    fn a_refusal_says_who_has_to_do_something() {
        let why = || "why".to_owned();
        assert_eq!(failure(422, &json!({})), Failure::Refused(why()));
        assert_eq!(failure(403, &json!({})), Failure::Forbidden(why()));
        for code in [429, 500, 503] {
            assert_eq!(failure(code, &json!({})), Failure::Away(why()), "{code}");
        }
        let webhook = "Internal error occurred: failed calling webhook \"a.b.c\": connection refused";
        let failed = failure(500, &json!({"message": webhook}));
        assert_eq!(failed, Failure::Webhook(webhook.to_owned()), "the API server is there");
        let conflict = json!({"details": {"causes": [
            {"reason": "FieldManagerConflict", "message": "conflict with \"kubectl-edit\" using apps/v1", "field": ".spec.replicas"},
        ]}});
        let contested = Contested { path: ".spec.replicas".to_owned(), manager: "kubectl-edit".to_owned() };
        assert_eq!(failure(409, &conflict), Failure::Contested(vec![contested]));
        assert_eq!(failure(409, &json!({})), Failure::Away(why()));
    }
}
