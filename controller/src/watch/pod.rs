//! A pod, reduced to what routing needs.

use crate::config::ObjectName;
use kube::api::{NotUsed, Object};
use serde::Deserialize;
use std::net::IpAddr;
use warmpath_core::ids::EndpointId;
use warmpath_core::wire::Role;
use warmpath_deploy::plan::SERVICE_LABEL;

/// The label with a pod's role, which llm-d and KServe set.
const ROLE_LABEL: &str = "llm-d.ai/role";
/// The annotation with those of the pool's ports that a pod listens on; the second is its older name.
const PORTS_ANNOTATIONS: [&str; 2] = ["llm-d.ai/active-ports", "inference.networking.k8s.io/active-ports"];

/// A pod of the API without its specification, which is most of a pod and is not read.
pub(super) type ApiPod = Object<NotUsed, PodStatus>;

/// A pod's status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodStatus {
    #[serde(rename = "podIP")]
    pod_ip: Option<IpAddr>,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    r#type: String,
    status: String,
}

/// A pod, reduced to what routing needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The hash of its UID, which distinguishes it from other pods of the same name or address.
    pub identity: u64,
    /// Its address, in the cluster's primary family; none until it has a network.
    pub ip: Option<IpAddr>,
    /// Whether its containers, and its readiness gates, are ready.
    pub is_ready: bool,
    /// Whether it is being deleted: it finishes the requests that it has, and gets no more.
    pub is_leaving: bool,
    /// The legs that it takes. `None`: it takes no requests of its own.
    pub role: Option<Role>,
    /// The ports that it listens on, if it names them.
    pub active_ports: Option<Vec<u16>>,
    /// The ModelService that made it, if one has.
    pub service: Option<String>,
}

// === impl Pod ===

impl Pod {
    /// Reads a pod of the API.
    pub(super) fn read(pod: ApiPod) -> Option<(ObjectName, Self)> {
        let meta = pod.metadata;
        let status = pod.status.unwrap_or_default();
        let label = meta.labels.as_ref().and_then(|labels| labels.get(ROLE_LABEL));
        let ports = meta
            .annotations
            .as_ref()
            .and_then(|annotations| PORTS_ANNOTATIONS.iter().find_map(|name| annotations.get(*name)));
        let is_ready = status
            .conditions
            .iter()
            .any(|condition| condition.r#type == "Ready" && condition.status == "True");
        let name = ObjectName { namespace: meta.namespace.unwrap_or_default(), name: meta.name? };
        let pod = Self {
            identity: EndpointId::of(&meta.uid.unwrap_or_default()).0,
            ip: status.pod_ip,
            is_ready,
            is_leaving: meta.deletion_timestamp.is_some(),
            role: role(label.map(String::as_str)),
            active_ports: ports.map(|ports| read_ports(ports)),
            service: meta.labels.as_ref().and_then(|labels| labels.get(SERVICE_LABEL)).cloned(),
        };
        Some((name, pod))
    }

    /// Whether it gets requests.
    pub fn is_candidate(&self) -> bool {
        self.is_ready && !self.is_leaving && self.ip.is_some() && self.role.is_some()
    }
}

/// llm-d's values of the label; `both` is the older name of `prefill-decode`. An image encoder takes no requests of its own.
fn role(label: Option<&str>) -> Option<Role> {
    match label {
        Some("prefill" | "encode-prefill") => Some(Role::Prefill),
        Some("decode") => Some(Role::Decode),
        Some("encode") => None,
        _ => Some(Role::Both),
    }
}

fn read_ports(list: &str) -> Vec<u16> {
    list.split(',').filter_map(|port| port.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{ApiPod, Pod};
    use serde_json::{Value, json};
    use warmpath_core::wire::Role;

    fn pod(metadata: &Value, status: &Value) -> Pod {
        let object = json!({"metadata": metadata, "spec": {"containers": [{"name": "c"}]}, "status": status});
        Pod::read(serde_json::from_value::<ApiPod>(object).unwrap()).unwrap().1
    }

    fn ready() -> Value {
        json!({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
               "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": null}]})
    }

    #[test]
    fn a_pod_is_a_candidate_while_it_is_ready_and_stays() {
        let meta = json!({"name": "p", "namespace": "n", "uid": "a"});
        let stays = pod(&meta, &ready());
        assert!(stays.is_candidate());
        assert_eq!(stays.role, Some(Role::Both));
        assert_ne!(
            stays.identity,
            pod(&json!({"name": "p", "namespace": "n", "uid": "b"}), &ready()).identity
        );
        let leaves = json!({"name": "p", "uid": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert!(!pod(&leaves, &ready()).is_candidate());
        for status in [
            json!({}),
            json!({"podIP": "10.0.0.1"}),
            json!({"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "False"}]}),
            json!({"conditions": [{"type": "Ready", "status": "True"}]}),
        ] {
            assert!(!pod(&meta, &status).is_candidate(), "{status}");
        }
    }

    #[test]
    fn labels_and_annotations_of_llm_d_are_understood() {
        let labelled = |role: &str| pod(&json!({"name": "p", "labels": {"llm-d.ai/role": role}}), &ready());
        assert_eq!(labelled("prefill").role, Some(Role::Prefill));
        assert_eq!(labelled("decode").role, Some(Role::Decode));
        assert_eq!(labelled("both").role, Some(Role::Both));
        assert!(!labelled("encode").is_candidate());
        for annotation in ["llm-d.ai/active-ports", "inference.networking.k8s.io/active-ports"] {
            let annotated = json!({"name": "p", "annotations": {annotation: "8000, 8002,x"}});
            assert_eq!(pod(&annotated, &ready()).active_ports, Some(vec![8000, 8002]));
        }
    }
}
