//! Services with their ready endpoints, from which names and proxies follow.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
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
        entries.extend(services.iter().flat_map(|service| hosts(service, slices)));
        entries.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        Self { entries }
    }
}

fn entry(service: &Service, slices: &[Arc<EndpointSlice>]) -> Entry {
    let (namespace, name) = named(service);
    let slices = || of_service(service, slices);
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

/// The names of the pods of a Service without an address of its own: `pod.service`.
fn hosts(service: &Service, slices: &[Arc<EndpointSlice>]) -> Vec<Entry> {
    let (namespace, name) = named(service);
    let spec = service.spec.clone().unwrap_or_default();
    if spec.cluster_ip.as_deref() != Some("None") {
        return Vec::new();
    }
    let publishes_all = spec.publish_not_ready_addresses.unwrap_or_default();
    let found =
        of_service(service, slices).flat_map(|slice| known(slice, publishes_all)).filter_map(|endpoint| {
            let host = endpoint.hostname.as_ref()?;
            let addresses = endpoint.addresses.iter().filter_map(|address| address.parse().ok());
            Some(Entry {
                namespace: namespace.clone(),
                name: format!("{host}.{name}"),
                addresses: addresses.collect(),
                ports: BTreeMap::new(),
            })
        });
    found.collect()
}

/// The namespace and name of a Service.
fn named(service: &Service) -> (String, String) {
    let metadata = &service.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// The slices of a Service.
fn of_service<'a>(
    service: &Service,
    slices: &'a [Arc<EndpointSlice>],
) -> impl Iterator<Item = &'a Arc<EndpointSlice>> {
    let (namespace, name) = named(service);
    slices.iter().filter(move |slice| {
        let labels = slice.metadata.labels.as_ref();
        slice.metadata.namespace.as_ref() == Some(&namespace)
            && labels.and_then(|labels| labels.get(SERVICE_LABEL)) == Some(&name)
    })
}

/// The addresses of a slice that take connections.
fn endpoints(slice: &EndpointSlice, publishes_all: bool) -> impl Iterator<Item = IpAddr> {
    let addresses = known(slice, publishes_all).flat_map(|endpoint| &endpoint.addresses);
    addresses.filter_map(|address| address.parse().ok())
}

/// The endpoints of a slice that names lead to.
fn known(slice: &EndpointSlice, publishes_all: bool) -> impl Iterator<Item = &Endpoint> {
    slice.endpoints.iter().filter(move |endpoint| {
        let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready);
        publishes_all || ready.unwrap_or(true)
    })
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
                {"addresses": ["10.99.1.1"], "conditions": {"ready": true}, "hostname": "group-0"},
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
        assert_eq!(table.entries.len(), 1, "pods behind an address of its own have no names");
        assert_eq!(table.entries[0].ports[&own], ["10.99.1.1:8000".parse().unwrap()]);
        assert_eq!(table.entries[0].addresses, [own.ip()]);
    }

    #[test]
    fn the_name_of_a_headless_service_leads_to_its_pods() {
        let table = table("None");
        assert_eq!(table.entries[1].addresses, ["10.99.1.1".parse::<IpAddr>().unwrap()]);
        assert!(table.entries[1].ports.is_empty());
        assert_eq!(table.entries[0].name, "group-0.vllm", "a pod of it has a name of its own");
        assert_eq!(table.entries[0].addresses, table.entries[1].addresses);
    }
}
