//! `warmpath crd`: the definition of ModelService, for people and for the chart's hook, which applies it before an upgrade.

use super::difference::MANAGER;
use crate::watch::{self, ClusterError};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};
use thiserror::Error;

/// Why the definition was not applied.
#[derive(Debug, Error)]
pub enum DefinitionError {
    /// There is no cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The API server refuses it.
    #[error("cannot apply the definition")]
    Apply(#[source] Box<kube::Error>),
}

/// The definition.
pub fn definition() -> CustomResourceDefinition {
    warmpath_deploy::api::crd()
}

/// Brings the definition in the cluster that this runs in, or that KUBECONFIG names, to this version, and returns what was done. By
/// force: the one that Helm installed belongs to Helm, which never changes it again. Where there is none, nothing is: whoever renders
/// the chart by himself, such as Argo CD, runs its hooks before the first definition is there, and then applies this version.
pub async fn apply() -> Result<String, DefinitionError> {
    let (client, _) = watch::client().await?;
    let definition = definition();
    let name = definition.name_any();
    let api: Api<CustomResourceDefinition> = Api::all(client);
    let refused = |error| DefinitionError::Apply(Box::new(error));
    if api.get_opt(&name).await.map_err(refused)?.is_none() {
        return Ok(format!("{name} is not there yet, and comes with the chart's folder crds"));
    }
    let applied = api.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&definition)).await;
    applied.map_err(refused)?;
    Ok(format!("{name} applied"))
}
