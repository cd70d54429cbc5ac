//! Makes a captured configuration runnable: what came over ADS is read from files, in the same JSON.
//!
//! Not translated into typed resources for the control plane of `warmpath-envoy`: that would need protobuf descriptors, which Envoy
//! has. That Envoy rejects unknown fields and wrong types is part of the test.

use crate::captured::Captured;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The JSON of an `Empty` in an `Any`: Go, and so Istio, writes `value`, and Envoy does not know it.
const EMPTY: &str = "type.googleapis.com/google.protobuf.Empty";

/// Where the endpoints of each cluster are, and the filter.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// By the cluster's `service_name`, or for one that resolves names, by its own name.
    pub endpoints: BTreeMap<String, Vec<SocketAddr>>,
    /// The filter that Istio's agent or Envoy Gateway would have fetched.
    pub wasm: PathBuf,
}

/// Writes the files of a configuration into a folder, and returns that of the bootstrap.
pub fn write(captured: &Captured, surroundings: &Surroundings, folder: &Path) -> io::Result<PathBuf> {
    let files = Files { surroundings, folder };
    for routes in &captured.routes {
        files.resources(text(routes, "/name"), &[files.with_sources(routes.clone())])?;
    }
    for extension in &captured.extensions {
        let mut extension = files.with_code(extension.clone());
        if let Value::Object(fields) = &mut extension {
            fields.insert(
                "@type".to_owned(),
                json!("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"),
            );
        }
        files.resources(&format!("extension-{}", text(&extension, "/name")), &[extension])?;
    }
    let listeners: Vec<_> =
        captured.listeners.iter().map(|listener| files.listener(listener.clone())).collect();
    let clusters: io::Result<Vec<_>> =
        captured.clusters.iter().map(|cluster| files.cluster(cluster.clone())).collect();
    let bootstrap = json!({
        "node": { "id": "gateway", "cluster": "gateway" },
        "admin": { "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } } },
        "static_resources": { "listeners": listeners, "clusters": clusters? },
    });
    let path = folder.join("bootstrap.json");
    fs::write(&path, bootstrap.to_string())?;
    Ok(path)
}

struct Files<'a> {
    surroundings: &'a Surroundings,
    folder: &'a Path,
}

// === impl Files ===

impl Files<'_> {
    fn path(&self, name: &str) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' };
        self.folder.join(name.chars().map(plain).collect::<String>()).with_extension("json")
    }

    /// A response of a discovery service, as a file.
    fn resources(&self, name: &str, resources: &[Value]) -> io::Result<()> {
        fs::write(
            self.path(&format!("{name}.x")),
            json!({ "version_info": "1", "resources": resources }).to_string(),
        )
    }

    fn source(&self, name: &str) -> Value {
        let path = self.path(&format!("{name}.x"));
        json!({ "path_config_source": { "path": path }, "resource_api_version": "V3", "initial_fetch_timeout": "5s" })
    }

    fn listener(&self, listener: Value) -> Value {
        let mut listener = self.with_code(self.with_sources(listener));
        if let Value::Object(fields) = &mut listener {
            fields.insert(
                "address".to_owned(),
                json!({ "socket_address": { "address": "127.0.0.1", "port_value": 0 } }),
            );
            // Sidecars get their connections through iptables, from another listener.
            fields.remove("bind_to_port");
            fields.remove("additional_addresses");
            fields.remove("@type");
        }
        listener
    }

    /// Route configurations and extensions from their files.
    fn with_sources(&self, value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                let mut changed = Map::new();
                for (name, field) in fields {
                    let field = match name.as_str() {
                        "rds" => {
                            let name = text(&field, "/route_config_name");
                            json!({ "route_config_name": name, "config_source": self.source(name) })
                        }
                        _ => self.with_sources(field),
                    };
                    changed.insert(name, field);
                }
                if changed.get("@type").is_some_and(|found| found == EMPTY) {
                    changed.remove("value");
                }
                let name =
                    changed.get("name").and_then(Value::as_str).map(|name| format!("extension-{name}"));
                let source = changed
                    .get_mut("config_discovery")
                    .and_then(|discovery| discovery.get_mut("config_source"));
                if let (Some(source), Some(name)) = (source, name) {
                    *source = self.source(&name);
                }
                Value::Object(changed)
            }
            Value::Array(elements) => {
                elements.into_iter().map(|element| self.with_sources(element)).collect()
            }
            scalar => scalar,
        }
    }

    /// The code of the filter from the file, wherever it is from.
    fn with_code(&self, value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                let change = |(name, field): (String, Value)| {
                    let is_code = name == "code";
                    let file = || json!({ "local": { "filename": self.surroundings.wasm } });
                    (name, if is_code { file() } else { self.with_code(field) })
                };
                Value::Object(fields.into_iter().map(change).collect())
            }
            Value::Array(elements) => elements.into_iter().map(|element| self.with_code(element)).collect(),
            scalar => scalar,
        }
    }

    fn cluster(&self, mut cluster: Value) -> io::Result<Value> {
        let name = text(&cluster, "/name").to_owned();
        let service = cluster.pointer("/eds_cluster_config/service_name").and_then(Value::as_str);
        let service = service.unwrap_or(&name).to_owned();
        let none = Vec::new();
        let assignment = assignment(&service, self.surroundings.endpoints.get(&service).unwrap_or(&none));
        let Value::Object(fields) = &mut cluster else { return Ok(cluster) };
        fields.remove("@type");
        // Certificates come from Istio's agent, which is not here.
        fields.remove("transport_socket_matches");
        fields.remove("transport_socket");
        if let Some(config) = fields.get_mut("eds_cluster_config") {
            *config = json!({ "service_name": service, "eds_config": self.source(&service) });
            self.resources(&service, &[assignment])?;
        } else {
            // One that resolves names would ask a name server.
            fields.remove("cluster_type");
            fields.insert("type".to_owned(), json!("STATIC"));
            fields.insert("load_assignment".to_owned(), without_type(assignment));
        }
        Ok(cluster)
    }
}

fn assignment(name: &str, endpoints: &[SocketAddr]) -> Value {
    let endpoint = |address: &SocketAddr| {
        let address = json!({ "address": address.ip().to_string(), "port_value": address.port() });
        json!({ "endpoint": { "address": { "socket_address": address } } })
    };
    json!({
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": name,
        "endpoints": [{ "lb_endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>() }],
    })
}

fn without_type(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.remove("@type");
    }
    value
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
