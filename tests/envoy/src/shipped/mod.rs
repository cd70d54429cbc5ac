//! The configuration that users of plain Envoy get, made runnable here: the same file with other ports,
//! endpoints and paths, and nothing else changed.
//!
//! For demonstrations and measurements, which must show what users get; and for the test that the file is one
//! that Envoy accepts.

mod edit;

use self::edit::{at, documented, named, put};
use crate::resources::{CONTROLLER, ENGINES, GATEWAY, Lb, Retry};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// `envoy/envoy.yaml`, as it was when this crate was built.
const ENVOY_YAML: &str = include_str!("../../../../envoy/envoy.yaml");

/// The listener for operators.
pub const PRIVATE: &str = "engines_private";

/// The filter's place in the list of HTTP filters.
const FILTER: &str = "warmpath.router";

/// The shipped configuration, and what to change in it. What is not changed stays as shipped.
#[derive(Clone, Debug, Default)]
pub struct ShippedConfig {
    listener_port: Option<u16>,
    admin_port: Option<u16>,
    engines: Option<Vec<SocketAddr>>,
    controllers: Option<Vec<SocketAddr>>,
    has_eds: bool,
    tls: Option<PathBuf>,
    token: Option<PathBuf>,
    wasm: Option<PathBuf>,
    plugin: Option<Value>,
    private_port: Option<u16>,
    has_access_log: bool,
    without_filter: Option<Lb>,
}

/// The shipped file is not what this module takes it for, or the copy cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ShippedError {
    /// It is not YAML.
    #[error("envoy.yaml is not yaml")]
    Yaml(#[source] serde_saphyr::Error),
    /// Something that is to be changed is not there.
    #[error("envoy.yaml has no {what}")]
    Missing {
        /// What was looked for.
        what: String,
    },
    /// The copy cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// Where to.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

// === impl ShippedConfig ===

impl ShippedConfig {
    /// The file as it is.
    pub fn new() -> Self {
        Self::default()
    }

    /// Clients come in at this port of 127.0.0.1; 0 lets Envoy choose.
    #[must_use]
    pub fn listener_port(self, port: u16) -> Self {
        Self { listener_port: Some(port), ..self }
    }

    /// The admin page is at this port of 127.0.0.1; 0 lets Envoy choose.
    #[must_use]
    pub fn admin_port(self, port: u16) -> Self {
        Self { admin_port: Some(port), ..self }
    }

    /// The listener for operators, which is off as shipped, is on, at this port; 0 lets Envoy choose.
    #[must_use]
    pub fn private_port(self, port: u16) -> Self {
        Self { private_port: Some(port), ..self }
    }

    /// The access log, which is off as shipped, is on.
    #[must_use]
    pub fn access_log(self) -> Self {
        Self { has_access_log: true, ..self }
    }

    /// These are the engines.
    #[must_use]
    pub fn engines(self, engines: &[SocketAddr]) -> Self {
        Self { engines: Some(engines.to_vec()), ..self }
    }

    /// The controller is here.
    #[must_use]
    pub fn controller(self, controller: SocketAddr) -> Self {
        self.controllers(&[controller])
    }

    /// The controllers are here.
    #[must_use]
    pub fn controllers(self, controllers: &[SocketAddr]) -> Self {
        Self { controllers: Some(controllers.to_vec()), ..self }
    }

    /// The engines are those of the controller, as the page beside the file says.
    #[must_use]
    pub fn eds(self) -> Self {
        Self { has_eds: true, ..self }
    }

    /// The controller is asked for the certificate that this authority has signed, as the page says.
    #[must_use]
    pub fn tls(self, authority: impl Into<PathBuf>) -> Self {
        Self { tls: Some(authority.into()), ..self }
    }

    /// The controller is shown the token in the file `token` of this folder, as the page says; `token.yaml` is written
    /// beside the folder.
    #[must_use]
    pub fn token(self, folder: impl Into<PathBuf>) -> Self {
        Self { token: Some(folder.into()), ..self }
    }

    /// The filter is this file.
    #[must_use]
    pub fn wasm(self, path: impl Into<PathBuf>) -> Self {
        Self { wasm: Some(path.into()), ..self }
    }

    /// The filter's own configuration is this.
    #[must_use]
    pub fn plugin(self, plugin: Value) -> Self {
        Self { plugin: Some(plugin), ..self }
    }

    /// The same without us: no filter, and Envoy's own choice of engines. All else stays, retries too, so that
    /// a comparison compares the choice only.
    #[must_use]
    pub fn without_filter(self, lb: Lb) -> Self {
        Self { without_filter: Some(lb), ..self }
    }

    /// The changed configuration, in the JSON form of Envoy's bootstrap.
    pub fn to_json(&self) -> Result<Value, ShippedError> {
        let mut text = ENVOY_YAML.to_owned();
        if self.private_port.is_some() {
            text = switched_on(&text, "#- name: engines_private");
        }
        if self.has_access_log {
            text = switched_on(&text, "#access_log:");
        }
        let mut config: Value = serde_saphyr::from_str(&text).map_err(ShippedError::Yaml)?;
        if let Some(port) = self.private_port {
            let listener = named(at(&mut config, "/static_resources/listeners")?, PRIVATE)?;
            *at(listener, "/address/socket_address/port_value")? = port.into();
        }
        if let Some(port) = self.admin_port {
            *at(&mut config, "/admin/address/socket_address/port_value")? = port.into();
        }
        self.edit_listener(&mut config)?;
        self.edit_clusters(&mut config)?;
        Ok(config)
    }

    /// Writes the changed configuration to a file, whose name must end in `.json` for Envoy to read it so.
    pub fn write(&self, path: &Path) -> Result<(), ShippedError> {
        let write = |path: &Path, config: &Value| {
            let written = fs::write(path, format!("{config:#}\n"));
            written.map_err(|source| ShippedError::Write { path: path.to_owned(), source })
        };
        if let Some(folder) = &self.token {
            let mut secret = documented("resources:")?;
            *at(&mut secret, "/resources/0/generic_secret/secret/filename")? =
                folder.join("token").to_string_lossy().into();
            write(&token_yaml(folder), &secret)?;
        }
        write(path, &self.to_json()?)
    }

    fn edit_listener(&self, config: &mut Value) -> Result<(), ShippedError> {
        let listener = named(at(config, "/static_resources/listeners")?, GATEWAY)?;
        if let Some(port) = self.listener_port {
            *at(listener, "/address/socket_address/port_value")? = port.into();
        }
        let filters = at(listener, "/filter_chains/0/filters/0/typed_config/http_filters")?;
        let filter = named(filters, FILTER)?;
        if let Some(path) = &self.wasm {
            *at(filter, "/typed_config/config/vm_config/code/local/filename")? =
                path.to_string_lossy().into();
        }
        if let Some(plugin) = &self.plugin {
            *at(filter, "/typed_config/config/configuration/value")? = plugin.to_string().into();
        }
        if self.without_filter.is_some() {
            if let Value::Array(filters) = filters {
                filters.retain(|filter| filter.get("name").is_none_or(|name| name != FILTER));
            }
            // What the filter says of each request of a pool of several engines.
            *at(listener, RETRY_ON)? = Retry::with_status_codes().conditions.into();
        }
        Ok(())
    }

    fn edit_clusters(&self, config: &mut Value) -> Result<(), ShippedError> {
        let clusters = at(config, "/static_resources/clusters")?;
        if let Some(engines) = &self.engines {
            *at(named(clusters, ENGINES)?, LB_ENDPOINTS)? = lb_endpoints(engines);
        }
        if let Some(controllers) = &self.controllers {
            *at(named(clusters, CONTROLLER)?, LB_ENDPOINTS)? = lb_endpoints(controllers);
        }
        if self.has_eds {
            let cluster = named(clusters, ENGINES)?;
            put(cluster, documented("type: EDS")?);
            if let Value::Object(fields) = &mut *cluster {
                fields.remove("load_assignment");
            }
        }
        if let Some(authority) = &self.tls {
            let cluster = named(clusters, CONTROLLER)?;
            put(cluster, documented("transport_socket:")?);
            *at(cluster, TRUSTED_CA)? = authority.to_string_lossy().into();
        }
        if let Some(folder) = &self.token {
            let options = at(named(clusters, CONTROLLER)?, HTTP_OPTIONS)?;
            put(options, documented("http_filters:")?);
            let source = at(options, TOKEN_SOURCE)?;
            *at(source, "/path")? = token_yaml(folder).to_string_lossy().into();
            *at(source, "/watched_directory/path")? = folder.to_string_lossy().into();
        }
        if let Some(lb) = self.without_filter {
            let policy =
                at(named(clusters, ENGINES)?, "/load_balancing_policy/policies/0/typed_extension_config")?;
            *policy = json!({ "name": lb.extension_name(), "typed_config": { "@type": lb.type_url() } });
        }
        Ok(())
    }
}

const RETRY_ON: &str = "/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/0/route/retry_policy/retry_on";
const HTTP_OPTIONS: &str =
    "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const TOKEN_SOURCE: &str =
    "/http_filters/0/typed_config/credential/typed_config/credential/sds_config/path_config_source";
const TRUSTED_CA: &str =
    "/transport_socket/typed_config/common_tls_context/validation_context/trusted_ca/filename";
const LB_ENDPOINTS: &str = "/load_assignment/endpoints/0/lb_endpoints";

/// The file that names the token's.
fn token_yaml(folder: &Path) -> PathBuf {
    folder.with_extension("yaml")
}

fn lb_endpoints(addresses: &[SocketAddr]) -> Value {
    let endpoint = |address: &SocketAddr| {
        let address = json!({ "address": address.ip().to_string(), "port_value": address.port() });
        json!({ "endpoint": { "address": { "socket_address": address } } })
    };
    addresses.iter().map(endpoint).collect()
}

/// The file without the `#` before a block that is off as shipped, from the line with `first` to its end.
fn switched_on(text: &str, first: &str) -> String {
    let is_in_block = std::cell::Cell::new(false);
    let line = |line: &str| {
        let is_comment = line.trim_start().starts_with('#');
        is_in_block.set(is_comment && (is_in_block.get() || line.trim_start() == first));
        if is_in_block.get() { line.replacen('#', "", 1) } else { line.to_owned() }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
