//! A container's environment, and the variables in its arguments.

use super::lookup::Lookup;
use crate::control_plane::API_PORT;
use crate::network::HOST;
use anyhow::Context;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Pod};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The folders of programs, as in most images.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the kubelet knows of the pod, and the API server's copy does not.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    pub(super) pod: &'a Pod,
    pub(super) address: Ipv4Addr,
    pub(super) node: &'a str,
}

/// The environment, with nothing of this machine's.
pub(super) async fn build(
    container: &Container,
    facts: &Facts<'_>,
    lookup: &Lookup,
) -> anyhow::Result<BTreeMap<String, String>> {
    let hostname = facts.pod.metadata.name.clone().unwrap_or_default();
    let mut values = BTreeMap::from(
        [
            ("PATH", PATH.to_owned()),
            ("HOME", "/root".to_owned()),
            ("HOSTNAME", hostname),
            ("KUBERNETES_SERVICE_HOST", HOST.to_string()),
            ("KUBERNETES_SERVICE_PORT", API_PORT.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.clone().unwrap_or_default();
        let mut found = BTreeMap::new();
        if let Some(source) = &from.config_map_ref {
            found.extend(lookup.config_map(&source.name, source.optional).await?);
        }
        if let Some(source) = &from.secret_ref {
            found.extend(lookup.secret(&source.name, source.optional).await?);
        }
        values.extend(found.into_iter().map(|(key, value)| (format!("{prefix}{key}"), text(&value))));
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(variable, &values, facts, container, lookup).await? {
            values.insert(variable.name.clone(), value);
        }
    }
    Ok(values)
}

async fn value(
    variable: &EnvVar,
    earlier: &BTreeMap<String, String>,
    facts: &Facts<'_>,
    container: &Container,
    lookup: &Lookup,
) -> anyhow::Result<Option<String>> {
    let Some(source) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), earlier)));
    };
    let EnvVarSource { field_ref, resource_field_ref, config_map_key_ref, secret_key_ref, .. } = source;
    if let Some(field) = field_ref {
        return facts.field(&field.field_path).map(Some);
    }
    if let Some(resource) = resource_field_ref {
        let (kind, name) = resource.resource.split_once('.').unwrap_or_default();
        let resources = container.resources.as_ref();
        let of_kind = resources
            .and_then(|all| if kind == "limits" { all.limits.as_ref() } else { all.requests.as_ref() });
        return Ok(of_kind.and_then(|all| all.get(name)).map(|quantity| quantity.0.clone()));
    }
    let (found, name, key) = if let Some(source) = config_map_key_ref {
        (lookup.config_map(&source.name, source.optional).await?, &source.name, &source.key)
    } else if let Some(source) = secret_key_ref {
        (lookup.secret(&source.name, source.optional).await?, &source.name, &source.key)
    } else {
        return Ok(None);
    };
    let is_optional = config_map_key_ref.as_ref().and_then(|source| source.optional).unwrap_or_default()
        || secret_key_ref.as_ref().and_then(|source| source.optional).unwrap_or_default();
    match found.get(key) {
        Some(value) => Ok(Some(text(value))),
        None if is_optional => Ok(None),
        None => anyhow::bail!("{name} has no key {key}"),
    }
}

/// `$(NAME)` is the value of an earlier variable, `$$` a dollar; what is neither stays.
pub(super) fn expand(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let named = after.strip_prefix('(').and_then(|inside| inside.split_once(')'));
        let found = named.and_then(|(name, after)| Some((values.get(name)?.as_str(), after)));
        let (value, after) = found.unwrap_or(("$", after));
        expanded.push_str(value);
        rest = after;
    }
    expanded + rest
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

// === impl Facts ===

impl Facts<'_> {
    /// A field of the downward API.
    pub(super) fn field(&self, path: &str) -> anyhow::Result<String> {
        let metadata = &self.pod.metadata;
        let spec = self.pod.spec.as_ref();
        let found = match path {
            "metadata.name" => metadata.name.clone(),
            "metadata.namespace" => metadata.namespace.clone(),
            "metadata.uid" => metadata.uid.clone(),
            "metadata.labels" => Some(lines(metadata.labels.as_ref())),
            "metadata.annotations" => Some(lines(metadata.annotations.as_ref())),
            "spec.nodeName" => Some(self.node.to_owned()),
            "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
            "status.podIP" | "status.podIPs" => Some(self.address.to_string()),
            "status.hostIP" => Some(HOST.to_string()),
            _ => keyed(path, metadata.labels.as_ref(), metadata.annotations.as_ref()),
        };
        found.with_context(|| format!("the pod has no field {path}"))
    }
}

/// `metadata.labels['name']` and its sister.
fn keyed(
    path: &str,
    labels: Option<&BTreeMap<String, String>>,
    annotations: Option<&BTreeMap<String, String>>,
) -> Option<String> {
    let (map, key) = path.strip_suffix("']")?.split_once("['")?;
    let values = match map {
        "metadata.labels" => labels,
        "metadata.annotations" => annotations,
        _ => return None,
    };
    Some(values.and_then(|values| values.get(key)).cloned().unwrap_or_default())
}

fn lines(values: Option<&BTreeMap<String, String>>) -> String {
    let lines = values.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}"));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_in_arguments_are_replaced_once() {
        let values = BTreeMap::from([("A".to_owned(), "$(B)".to_owned()), ("B".to_owned(), "b".to_owned())]);
        for (text, expected) in
            [("$(A)/$(B)", "$(B)/b"), ("$$(B)", "$(B)"), ("$(C) $ $(B", "$(C) $ $(B"), ("plain", "plain")]
        {
            assert_eq!(expand(text, &values), expected);
        }
    }

    #[test]
    fn fields_of_the_downward_api_are_found() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "labels": {"app": "vllm"}},
        }))
        .unwrap();
        let facts = Facts { pod: &pod, address: Ipv4Addr::LOCALHOST, node: "n" };
        assert_eq!(facts.field("metadata.labels['app']").unwrap(), "vllm");
        assert_eq!(facts.field("status.podIP").unwrap(), "127.0.0.1");
        assert!(facts.field("spec.unknown").is_err());
    }
}
