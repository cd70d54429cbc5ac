//! `warmpath get models`: what each ModelService serves, how many replicas of each role are ready, and how its requests do.
//!
//! From the API server, not from a controller: only the replica that carries ModelServices out knows them, and what it knows is in
//! their status.

use super::Rows;
use super::words::{names, or_unknown};
use crate::config::{ObjectName, Selector};
use crate::watch::{self, ClusterError, Item, Kind, Source, SourceState, Update};
use std::fmt::Write as _;
use thiserror::Error;
use warmpath_deploy::api::{ModelService, ModelServiceStatus, Phase, RoleStatus};

/// Why the models cannot be listed.
#[derive(Debug, Error)]
pub enum ModelsError {
    /// There is no cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The API server has no such kind.
    #[error("the cluster does not know ModelServices: install the chart, or run `warmpath crd --apply`")]
    Missing,
    /// It does not list them.
    #[error("cannot list ModelServices: {0}")]
    List(String),
    /// One is of another definition.
    #[error("{0} does not fit the definition of this version")]
    Read(ObjectName, #[source] serde_json::Error),
}

/// Lists the ModelServices of a namespace, or of the one that KUBECONFIG names.
pub async fn models(namespace: Option<&str>) -> Result<Vec<ModelService>, ModelsError> {
    let (client, own) = watch::client().await?;
    let namespace = Some(namespace.map_or(own, str::to_owned));
    let source = Source { kind: Kind::ModelService, namespace, selector: Selector::new() };
    match watch::list(&client, &source).await {
        Update::Listed(items) => items.into_iter().map(read).collect(),
        Update::Failed(SourceState::Missing) => Err(ModelsError::Missing),
        Update::Failed(SourceState::Forbidden(message) | SourceState::Failing(message)) => {
            Err(ModelsError::List(message))
        }
        other => Err(ModelsError::List(format!("{other:?}"))),
    }
}

fn read((name, item): (ObjectName, Item)) -> Result<ModelService, ModelsError> {
    let Item::Whole(object) = item else { return Err(ModelsError::List(format!("{name} is reduced"))) };
    let object = serde_json::to_value(object.as_ref());
    object.and_then(serde_json::from_value).map_err(|error| ModelsError::Read(name, error))
}

pub(super) fn rows(models: &[ModelService], is_wide: bool) -> Rows {
    let mut headings = vec!["NAME", "MODEL", "READY", "CACHED", "TTFT-P90", "PHASE"];
    if is_wide {
        headings.extend(["ENGINE", "UPDATED", "WORKLOADS"]);
    }
    Rows { headings, rows: models.iter().map(|model| row(model, is_wide)).collect() }
}

/// What those wait for that are not as they should be: a line each.
pub(super) fn waits(models: &[ModelService]) -> String {
    let mut lines = String::new();
    for model in models {
        let Some(message) = model.status.as_ref().and_then(|status| status.message.as_ref()) else {
            continue;
        };
        let _ = writeln!(lines, "{}: {message}.", name(model));
    }
    lines
}

fn row(model: &ModelService, is_wide: bool) -> Vec<String> {
    let none = ModelServiceStatus::default();
    let status = model.status.as_ref().unwrap_or(&none);
    // `prefill:2/2,decode:3/4`
    let of_roles = |words: &dyn Fn(&RoleStatus) -> String| {
        let all = status.roles.iter().map(|role| format!("{}:{}", role.name, words(role)));
        or_unknown(Some(&all.collect::<Vec<_>>().join(",")))
    };
    let mut row = vec![
        name(model),
        names(std::slice::from_ref(&model.spec.model.name)),
        of_roles(&|role| format!("{}/{}", role.ready, role.wanted)),
        or_unknown(status.cached.as_deref()),
        or_unknown(status.ttft_p90.as_deref()),
        or_unknown(status.phase.map(Phase::as_str)),
    ];
    if is_wide {
        row.extend([
            model.spec.engine.kind.title().to_owned(),
            of_roles(&|role| role.updated.to_string()),
            of_roles(&|role| format!("{}/{}", role.workload.kind, role.workload.name)),
        ]);
    }
    row
}

fn name(model: &ModelService) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", part(&model.metadata.namespace), part(&model.metadata.name))
}
