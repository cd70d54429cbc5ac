//! The controller's Deployment and Service.

use super::CONTROLLER_LABELS;
use crate::check::chain;
use crate::check::finding::{Check, Findings, Level};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use kube::Client;
use kube::api::{Api, ListParams, Resource};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Debug;

/// The port of the state stream and of EDS.
const GRPC_PORT: i32 = 18_000;
/// What Istio takes for HTTP/2 in a port's name or protocol.
const H2_NAMES: [&str; 3] = ["grpc", "http2", "grpc-web"];
const H2_PROTOCOLS: [&str; 4] = ["kubernetes.io/h2c", "grpc", "http2", "grpc-web"];

static DEPLOYED: Check = Check {
    id: "kubernetes.controller",
    worst: Level::Error,
    why: "without a ready controller, proxies continue with what they know",
    remedy: "see `kubectl describe` of the Deployment and its pods; to install one, see controller/chart/README.md",
};

static PORT: Check = Check {
    id: "kubernetes.grpc-port",
    worst: Level::Warning,
    why: "a mesh treats a port without a protocol as TCP or HTTP/1.1, and the state stream needs HTTP/2",
    remedy: "name the port grpc, or give it appProtocol: kubernetes.io/h2c",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 2] = [&DEPLOYED, &PORT];

/// The controller as it is installed.
#[derive(Clone, Debug, Default)]
pub struct Installed {
    /// Deployments with the chart's labels.
    pub deployments: Vec<Deployment>,
    /// Services with the chart's labels.
    pub services: Vec<Service>,
}

// === impl Installed ===

impl Installed {
    /// Lists the objects.
    pub(super) async fn of(client: &Client, namespace: &str) -> Result<Self, String> {
        let deployments = list(Api::namespaced(client.clone(), namespace)).await;
        let services = list(Api::namespaced(client.clone(), namespace)).await;
        Ok(Self {
            deployments: deployments.map_err(|error| format!("deployments: {}", chain(&error)))?,
            services: services.map_err(|error| format!("services: {}", chain(&error)))?,
        })
    }

    /// The service accounts that the controllers run as.
    pub(super) fn accounts(&self) -> BTreeSet<String> {
        let account = |deployment: &Deployment| {
            let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
            Some(pod.service_account_name.clone().unwrap_or_else(|| "default".to_owned()))
        };
        self.deployments.iter().filter_map(account).collect()
    }
}

async fn list<K>(api: Api<K>) -> Result<Vec<K>, kube::Error>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    Ok(api.list(&ListParams::default().labels(CONTROLLER_LABELS)).await?.items)
}

/// Checks them.
pub fn check(installed: &Installed, to: &mut Findings) {
    if installed.deployments.is_empty() {
        let seen = format!("no Deployment has the labels {CONTROLLER_LABELS}");
        to.add(&DEPLOYED, Level::Warning, "", seen);
    }
    for deployment in &installed.deployments {
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
        let level = match (ready, wanted) {
            (0, _) => Level::Error,
            (ready, wanted) if ready < wanted => Level::Warning,
            _ => Level::Ok,
        };
        let name = deployment.metadata.name.as_deref().unwrap_or_default();
        to.add(
            &DEPLOYED,
            level,
            format!("deployment {name}"),
            format!("{ready} of {wanted} replicas are ready"),
        );
    }
    for service in &installed.services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let ports = service.spec.iter().filter_map(|spec| spec.ports.as_ref()).flatten();
        for port in ports.filter(|port| port.port == GRPC_PORT) {
            let seen = format!(
                "name {}, appProtocol {}",
                port.name.as_deref().unwrap_or("-"),
                port.app_protocol.as_deref().unwrap_or("-")
            );
            to.judge(&PORT, is_http2(port), format!("service {name}, port {GRPC_PORT}"), seen);
        }
    }
}

fn is_http2(port: &ServicePort) -> bool {
    let name = port.name.as_deref().unwrap_or_default();
    let by_name = H2_NAMES.iter().any(|known| name == *known || name.starts_with(&[known, "-"].concat()));
    // A protocol goes before the name.
    port.app_protocol.as_deref().map_or(by_name, |protocol| H2_PROTOCOLS.contains(&protocol))
}
