//! Where wrong ModelServices are refused: by the API server, which reads the definition, or by the controller, in the status.
//!
//! The ModelServices are those of `controller/deploy/tests/refused`, whose test shows what the controller says of each. `kubectl` and
//! `helm` show the message of the API server; whoever uses neither sees it as well. `WARMPATH_UPDATE_GOLDEN=1` writes the list anew.

use anyhow::{Context, ensure};
use kube::Error;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use warmpath_cluster::Namespace;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../controller/deploy/tests/refused").join(name)
}

/// What the API server says to a ModelService with this specification; `None`: it takes it. It is stored in no case.
async fn refusal(namespace: &Namespace, spec: &Value) -> anyhow::Result<Option<String>> {
    let service = json!({
        "apiVersion": "warmpath.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "wrong"},
        "spec": spec,
    });
    // Strict, as `kubectl` asks for: else fields that the definition lacks are dropped, with a warning.
    let uri = format!(
        "/apis/warmpath.dev/v1alpha1/namespaces/{}/modelservices?dryRun=All&fieldValidation=Strict",
        namespace.name
    );
    let request = http::Request::post(uri)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(&service)?)?;
    match namespace.client.request::<Value>(request).await {
        Ok(_) => Ok(None),
        Err(Error::Api(status)) if [400, 422].contains(&status.code) => Ok(Some(status.message.clone())),
        Err(error) => Err(error).context("the API server did not decide"),
    }
}

pub(crate) async fn what_is_wrong_is_refused_at_admission_or_in_the_status(
    namespace: Namespace,
) -> anyhow::Result<()> {
    // The chart brings the definition.
    namespace.install(&json!({})).await?;
    namespace.cluster.definitions_established().await?;
    let text = fs::read_to_string(path("services.yaml"))?;
    let (mut list, mut refused, mut taken) = (String::new(), 0, 0);
    for case in serde_saphyr::from_multiple::<Value>(&text)? {
        let name = case.get("name").and_then(Value::as_str).context("a case without a name")?;
        let spec = case.get("spec").context("a case without a specification")?;
        let place = if let Some(message) = refusal(&namespace, spec).await? {
            refused += 1;
            format!("at admission: {message}")
        } else {
            taken += 1;
            "in the status".to_owned()
        };
        writeln!(list, "{name}\n  {place}")?;
    }
    println!("{list}{refused} refused by the API server, {taken} in the status");
    if std::env::var_os("WARMPATH_UPDATE_GOLDEN").is_some() {
        fs::write(path("admission.txt"), &list)?;
    }
    ensure!(
        fs::read_to_string(path("admission.txt")).ok() == Some(list),
        "changed: see the difference with WARMPATH_UPDATE_GOLDEN=1"
    );
    Ok(())
}
