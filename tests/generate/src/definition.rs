//! The definition of ModelService that the chart ships, generated from the types of `controller/deploy`.
//!
//! Checked in, because Helm installs the files of a chart's `crds` folder as they are.

use std::error::Error;
use std::path::{Path, PathBuf};

const HEAD: &str = "\
# The definition of ModelService, generated from controller/deploy/src/api by `just generate`: do not edit.
";

/// Where the chart has it.
pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../controller/chart/crds/modelservices.warmpath.dev.yaml")
}

/// The definition that belongs to the types as they are now.
pub fn yaml() -> Result<String, Box<dyn Error>> {
    Ok(format!("{HEAD}{}", warmpath_deploy::yaml::write(&warmpath_deploy::api::crd())?))
}
