//! ModelServices that are refused, each with the messages that it gets: `refused/services.yaml` -> `refused/messages.txt`.
//!
//! `WARMPATH_UPDATE_GOLDEN=1` writes the messages anew. A message names a field, and says how to mend it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use warmpath_deploy::api::{ModelService, Phase};
use warmpath_deploy::plan::{Cluster, InferencePools, ObjectRef, Observed, plan};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refused").join(name)
}

/// A cluster that lacks everything, and knows its tokenizers.
fn bare() -> Cluster {
    Cluster {
        has_leader_worker_sets: false,
        has_resource_claims: false,
        inference_pools: InferencePools::WithPicker,
        tokenizers: Some(BTreeSet::from(["llama".to_owned()])),
        ..Cluster::default()
    }
}

#[test]
fn each_wrong_service_gets_messages_that_say_what_to_mend() {
    let text = fs::read_to_string(path("services.yaml")).unwrap();
    let mut messages = String::new();
    for case in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
        let name = case["name"].as_str().unwrap();
        let cluster = if case["cluster"] == "bare" { bare() } else { Cluster::default() };
        let _ = writeln!(messages, "{name}");
        let mut service = ModelService::new(
            name,
            match serde_json::from_value(case["spec"].clone()) {
                Ok(spec) => spec,
                Err(error) => {
                    let _ = writeln!(messages, "  {error}");
                    continue;
                }
            },
        );
        service.metadata.namespace = Some("llm".to_owned());
        let before = ObjectRef {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            name: "running".to_owned(),
        };
        let observed = Observed { owned: BTreeSet::from([before]), ..Observed::default() };
        let plan = plan(&service, &cluster, &observed);
        assert!(!plan.problems.is_empty(), "{name} is not refused");
        assert!(plan.objects.is_empty() && plan.retire.is_empty(), "{name}: what runs must stay as it is");
        assert_eq!(plan.status.phase, Some(Phase::Invalid), "{name}");
        for problem in &plan.problems {
            let _ = writeln!(messages, "  {problem}");
        }
    }
    if std::env::var_os("WARMPATH_UPDATE_GOLDEN").is_some() {
        fs::write(path("messages.txt"), &messages).unwrap();
    }
    let reviewed = fs::read_to_string(path("messages.txt")).unwrap();
    assert!(reviewed == messages, "changed: see the difference with WARMPATH_UPDATE_GOLDEN=1");
}
