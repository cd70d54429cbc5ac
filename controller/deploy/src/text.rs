//! A plan as text: manifests, each under the reason why it is there.

use crate::plan::{Object, Plan};
use crate::yaml;
use serde_json::Value;
use std::fmt::Write as _;

/// The manifests of a plan, for people and for `kubectl`.
pub fn manifests(plan: &Plan) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for note in &plan.events {
        let _ = writeln!(text, "# {}: {}", note.reason, note.message);
    }
    for Object { manifest, reason } in &plan.objects {
        let _ = write!(text, "---\n# Because {reason}.\n{}", yaml::write(manifest)?);
    }
    Ok(text)
}

/// The objects of a plan as a table: kind, name and reason.
pub fn table(plan: &Plan) -> Vec<[String; 3]> {
    let field = |manifest: &Value, pointer: &str| {
        manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let row = |object: &Object| {
        [field(&object.manifest, "/kind"), field(&object.manifest, "/metadata/name"), object.reason.clone()]
    };
    plan.objects.iter().map(row).collect()
}
