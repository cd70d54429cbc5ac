//! The definition of the resource, from the types.
//!
//! The derived schema is not quite what the API server should have. Optional fields come out nullable, by which CEL's `has` would
//! be true of a field that is null; without it, the API server drops a null before it checks anything. And it warns of formats that
//! it does not know, as those of unsigned numbers are; their bounds say the same.

use super::ModelService;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt as _;

/// The definition of the resource, as the API server takes it.
pub fn crd() -> CustomResourceDefinition {
    let mut crd = ModelService::crd();
    for version in &mut crd.spec.versions {
        if let Some(schema) = schema_of(version) {
            simplify(schema);
        }
    }
    crd
}

fn schema_of(version: &mut CustomResourceDefinitionVersion) -> Option<&mut JSONSchemaProps> {
    version.schema.as_mut()?.open_api_v3_schema.as_mut()
}

fn simplify(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.format = schema.format.take().filter(|format| !format.starts_with("uint"));
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        simplify(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        simplify(items);
    }
}
