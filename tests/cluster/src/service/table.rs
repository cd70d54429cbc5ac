//! Services with their ready endpoints, from which names and proxies follow.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The label that leads from a slice to its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// One Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) namespace: String,
    pub(super) name: String,
    /// Where its name leads: its own address, or those of its pods.
    pub(super) addresses: Vec<IpAddr>,
    /// For each of its own addresses and ports the ready endpoints behind it.
    pub(super) ports: BTreeMap<SocketAddr, Vec<SocketAddr>>,
}

/// All Services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
}

// === impl Table ===

impl Table {
    pub(super) fn new(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>]) -> Self {
        let mut entries: Vec<Entry> = services.iter().map(|service| entry(service, slices)).collect();
        entries.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        Self { entries }
    }
}

fn entry(service: &Service, slices: &[Arc<EndpointSlice>]) -> Entry {
    let metadata = &service.metadata;
    let (namespace, name) =
        (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default());
    let slices = || {
        slices.iter().filter(|slice| {
            let labels = slice.metadata.labels.as_ref();
            slice.metadata.namespace.as_ref() == Some(&namespace)
                && labels.and_then(|labels| labels.get(SERVICE_LABEL)) == Some(&name)
        })
    };
    let spec = service.spec.clone().unwrap_or_default();
    let own = spec.cluster_ip.as_deref().and_then(|address| address.parse::<IpAddr>().ok());
    let publishes_all = spec.publish_not_ready_addresses.unwrap_or_default();
    let mut addresses: Vec<IpAddr> = match own {
        Some(own) => vec![own],
        None => slices().flat_map(|slice| endpoints(slice, publishes_all)).collect(),
    };
    addresses.sort();
    addresses.dedup();
    let mut ports = BTreeMap::new();
    for port in spec.ports.iter().flatten() {
        let Some((own, number)) = own.zip(u16::try_from(port.port).ok()) else { continue };
        let behind = slices().flat_map(|slice| {
            let of_port = slice.ports.iter().flatten().find(|other| {
                other.name.as_deref().unwrap_or_default() == port.name.as_deref().unwrap_or_default()
            });
            let number = of_port.and_then(|port| port.port).and_then(|port| u16::try_from(port).ok());
            number.into_iter().flat_map(move |number| {
                endpoints(slice, publishes_all).map(move |address| SocketAddr::new(address, number))
            })
        });
        ports.insert(SocketAddr::new(own, number), behind.collect());
    }
    Entry { namespace, name, addresses, ports }
}

/// The addresses of a slice that take connections.
fn endpoints(slice: &EndpointSlice, publishes_all: bool) -> impl Iterator<Item = IpAddr> {
    let is_ready = move |endpoint: &&k8s_openapi::api::discovery::v1::Endpoint| {
        let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready);
        publishes_all || ready.unwrap_or(true)
    };
    let ready = slice.endpoints.iter().filter(is_ready);
    ready.flat_map(|endpoint| &endpoint.addresses).filter_map(|address| address.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn table(cluster_ip: &str) -> Table {
        let service = json!({
            "metadata": {"namespace": "llm", "name": "vllm"},
            "spec": {"clusterIP": cluster_ip, "ports": [{"name": "http", "port": 80}]},
        });
        let slice = json!({
            "metadata": {"namespace": "llm", "labels": {"kubernetes.io/service-name": "vllm"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8000}],
            "endpoints": [
                {"addresses": ["10.99.1.1"], "conditions": {"ready": true}},
                {"addresses": ["10.99.1.2"], "conditions": {"ready": false}},
            ],
        });
        let service = serde_json::from_value(service).unwrap();
        let slice = serde_json::from_value(slice).unwrap();
        Table::new(&[Arc::new(service)], &[Arc::new(slice)])
    }

    #[test]
    fn connections_go_to_ready_endpoints_on_the_target_port() {
        let table = table("10.96.0.7");
        let own: SocketAddr = "10.96.0.7:80".parse().unwrap();
        assert_eq!(table.entries[0].ports[&own], ["10.99.1.1:8000".parse().unwrap()]);
        assert_eq!(table.entries[0].addresses, [own.ip()]);
    }

    #[test]
    fn the_name_of_a_headless_service_leads_to_its_pods() {
        let table = table("None");
        assert_eq!(table.entries[0].addresses, ["10.99.1.1".parse::<IpAddr>().unwrap()]);
        assert!(table.entries[0].ports.is_empty());
    }
}
