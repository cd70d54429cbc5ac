//! Plans of whole ModelServices, as a reviewer reads them: `golden/input` -> `golden/output`.
//!
//! `WARMPATH_UPDATE_GOLDEN=1 cargo test -p warmpath-deploy` writes the outputs anew; the difference is what a change does to
//! everyone's pods.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use warmpath_deploy::api::ModelService;
use warmpath_deploy::plan::{Cluster, Observed, Plan, plan};
use warmpath_deploy::text;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn names(name: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder(name)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn planned(name: &str) -> Plan {
    let text = fs::read_to_string(folder("input").join(name)).unwrap();
    let service: ModelService =
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    plan(&service, &Cluster::default(), &Observed::default())
}

#[test]
fn plans_are_as_reviewed() {
    let update = std::env::var_os("WARMPATH_UPDATE_GOLDEN").is_some();
    let mut changed = Vec::new();
    for name in names("input") {
        let plan = planned(&name);
        assert!(plan.problems.is_empty(), "{name}: {:#?}", plan.problems);
        let text = text::manifests(&plan).unwrap();
        let path = folder("output").join(&name);
        if update {
            fs::write(&path, &text).unwrap();
        } else if fs::read_to_string(&path).ok() != Some(text) {
            changed.push(name);
        }
    }
    assert!(changed.is_empty(), "changed: {changed:?}; see the difference with WARMPATH_UPDATE_GOLDEN=1");
    assert_eq!(names("input"), names("output"), "an output without an input");
}

#[test]
fn a_plan_is_the_same_each_time() {
    for name in names("input") {
        assert_eq!(planned(&name), planned(&name), "{name}");
    }
}
