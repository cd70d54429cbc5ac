//! `warmpath plan`: what the ModelServices of a file would become, without a cluster.
//!
//! ```text
//!   file ─► documents ─► warmpath_deploy::plan ─► a table with reasons, or manifests
//! ```
//!
//! There is no comparison with a cluster here, because the API server compares better: it knows defaults, webhooks and other
//! managers (`warmpath plan -f FILE -o yaml | kubectl diff --server-side -f -`).

use crate::args::{PlanArgs, PlanOutput};
use crate::columns::{Side, aligned};
use serde::Deserialize as _;
use serde_json::Value;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use thiserror::Error;
use warmpath_deploy::api::ModelService;
use warmpath_deploy::plan::{Cluster, InferencePools, Observed, Picker, plan};
use warmpath_deploy::text;

/// Spaces between two columns, as in kubectl.
const GAP: usize = 3;
/// The controller's Service, as the chart names it for the release `warmpath`.
const PICKER: &str = "warmpath-controller";
const PICKER_PORT: u16 = 18_000;

/// Why nothing is planned.
#[derive(Debug, Error)]
pub enum PlanError {
    /// The file cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// It is no YAML.
    #[error("the file is no YAML")]
    Yaml(#[source] serde_saphyr::Error),
    /// A document is no ModelService.
    #[error("document {0}: {1}")]
    Document(usize, String),
    /// There is none.
    #[error("the file has no ModelService")]
    Empty,
    /// Some are not valid; each line names a field.
    #[error("not valid:\n{0}")]
    Invalid(String),
    /// A manifest cannot be written as YAML.
    #[error("cannot write a manifest")]
    Write(#[source] serde_json::Error),
}

/// Plans the ModelServices of a file, or of standard input.
pub fn run(args: &PlanArgs) -> Result<String, PlanError> {
    let read = if args.file.as_os_str() == "-" {
        io::read_to_string(io::stdin())
    } else {
        std::fs::read_to_string(&args.file)
    };
    let text = read.map_err(|error| PlanError::Read(args.file.clone(), error))?;
    of_text(&text, args)
}

fn of_text(text: &str, args: &PlanArgs) -> Result<String, PlanError> {
    let cluster = cluster(args);
    let (mut printed, mut problems) = (String::new(), String::new());
    for service in services(text, &args.namespace)? {
        let name = service.metadata.name.clone().unwrap_or_default();
        let plan = plan(&service, &cluster, &Observed::default());
        for problem in &plan.problems {
            let _ = writeln!(problems, "  {name}: {problem}");
        }
        match args.output {
            PlanOutput::Yaml => printed.push_str(&text::manifests(&plan).map_err(PlanError::Write)?),
            PlanOutput::Text => {
                let heading = ["KIND", "NAME", "BECAUSE"].map(str::to_owned);
                let rows: Vec<Vec<String>> =
                    [heading].into_iter().chain(text::table(&plan)).map(Vec::from).collect();
                printed.push_str(&aligned(&rows, GAP, |_| Side::Left));
                for note in &plan.events {
                    let _ = writeln!(printed, "{}: {}", note.reason, note.message);
                }
            }
        }
    }
    if problems.is_empty() { Ok(printed) } else { Err(PlanError::Invalid(problems.trim_end().to_owned())) }
}

/// The cluster that is assumed.
fn cluster(args: &PlanArgs) -> Cluster {
    let mut cluster =
        Cluster { has_leader_worker_sets: !args.without_leader_worker_sets, ..Cluster::default() };
    if args.with_picker {
        cluster.inference_pools = InferencePools::WithPicker;
        cluster.picker =
            Some(Picker { namespace: args.namespace.clone(), name: PICKER.to_owned(), port: PICKER_PORT });
    }
    cluster
}

/// The ModelServices. A document of another kind is an error: it would be missing from what is planned.
fn services(text: &str, namespace: &str) -> Result<Vec<ModelService>, PlanError> {
    let documents = serde_saphyr::from_multiple::<Option<Value>>(text).map_err(PlanError::Yaml)?;
    let mut found = Vec::new();
    for (at, document) in documents.into_iter().enumerate() {
        let Some(document) = document else { continue };
        let at = at.saturating_add(1);
        let kind = (document.get("apiVersion"), document.get("kind"));
        if kind != (Some(&"warmpath.dev/v1alpha1".into()), Some(&"ModelService".into())) {
            let what = "it is no ModelService of warmpath.dev/v1alpha1: remove it".to_owned();
            return Err(PlanError::Document(at, what));
        }
        let mut service = ModelService::deserialize(document)
            .map_err(|error| PlanError::Document(at, error.to_string()))?;
        if service.metadata.name.as_ref().is_none_or(String::is_empty) {
            return Err(PlanError::Document(at, "metadata.name is missing: add it".to_owned()));
        }
        service.metadata.namespace.get_or_insert_with(|| namespace.to_owned());
        found.push(service);
    }
    if found.is_empty() { Err(PlanError::Empty) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::{PlanError, of_text};
    use crate::args::{PlanArgs, PlanOutput};

    const SERVICE: &str = "apiVersion: warmpath.dev/v1alpha1
kind: ModelService
metadata: {name: llama}
spec:
  model: {name: llama}
  roles: {serve: {hardware: {gpu: {type: cpu}}}}
";

    fn args(output: PlanOutput) -> PlanArgs {
        PlanArgs {
            file: "-".into(),
            output,
            namespace: "llm".to_owned(),
            without_leader_worker_sets: false,
            with_picker: true,
        }
    }

    #[test]
    fn a_table_says_why_and_yaml_can_be_applied() {
        let table = of_text(SERVICE, &args(PlanOutput::Text)).unwrap();
        assert!(
            table.starts_with(
                "KIND            NAME          BECAUSE\nDeployment      llama-serve   a replica"
            ),
            "{table}"
        );
        let yaml = of_text(SERVICE, &args(PlanOutput::Yaml)).unwrap();
        let objects = serde_saphyr::from_multiple::<Option<serde_json::Value>>(&yaml).unwrap();
        let objects: Vec<_> = objects.into_iter().flatten().collect();
        assert_eq!(objects.len(), 3);
        assert!(objects.iter().all(|object| object["metadata"]["namespace"] == "llm"));
        assert_eq!(objects[2]["spec"]["endpointPickerRef"]["name"], "warmpath-controller");
    }

    #[test]
    fn what_cannot_be_planned_is_an_error() {
        let error = |text: &str| of_text(text, &args(PlanOutput::Text)).unwrap_err();
        assert!(matches!(error("# nothing"), PlanError::Empty));
        assert!(matches!(error("a: ["), PlanError::Yaml(_)));
        assert_eq!(
            error("apiVersion: v1\nkind: Service").to_string(),
            "document 1: it is no ModelService of warmpath.dev/v1alpha1: remove it"
        );
        let two = format!("{SERVICE}---\n{}", SERVICE.replace("type: cpu", "tipe: cpu"));
        assert_eq!(error(&two).to_string(), "document 2: unknown field `tipe`, expected `type` or `perNode`");
        let wrong = SERVICE.replace("type: cpu", "type: intel-gaudi3");
        assert!(error(&wrong).to_string().contains("llama: spec.roles.serve.image: name an image"));
    }
}
