//! The Envoys that are compared: the shipped configuration with the filter, without, and with Envoy's buffer filter
//! in its place.

use std::net::SocketAddr;
use std::path::Path;

use crate::cluster::{plugin, wait_for_snapshot};
use crate::paths;
use anyhow::Context;
use serde_json::{Value, json};
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::resources::{BUFFER_BYTES_MAX, Lb};
use warmpath_envoy::shipped::ShippedConfig;

use super::Target;

/// Where the list of HTTP filters is.
const HTTP_FILTERS: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";

/// The Envoy of a target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EnvoySpec<'a> {
    /// Which one.
    pub(crate) target: Target,
    /// What is behind it.
    pub(crate) engines: &'a [SocketAddr],
    /// The controller, for the filter.
    pub(crate) controller: Option<SocketAddr>,
    /// Its worker threads.
    pub(crate) workers: u32,
    /// Whether clients may ask the filter why. Off, where the cost is measured: it is off by default.
    pub(crate) explains: bool,
}

impl EnvoySpec<'_> {
    /// Starts it, and waits until it serves and has heard its controller.
    pub(crate) async fn start(self, folder: &Path) -> anyhow::Result<Envoy> {
        let name = self.target.name();
        let file = folder.join(format!("{name}.json"));
        std::fs::write(&file, self.configuration()?.to_string())
            .context("cannot write envoy's configuration")?;
        let node_id = format!("gateway-{name}");
        let launch = Launch { workers: self.workers, log_level: "warning", node_id, ..Launch::default() };
        let envoy = Envoy::from_file(&file, &launch).await?;
        if self.controller.is_some() {
            wait_for_snapshot(&envoy).await?;
        }
        Ok(envoy)
    }

    /// The shipped configuration as the target needs it.
    fn configuration(self) -> anyhow::Result<Value> {
        let mut config = ShippedConfig::new().listener_port(0).admin_port(0).engines(self.engines);
        if let Some(controller) = self.controller {
            config = config.controller(controller);
        }
        let config = if self.target == Target::Warmpath {
            config.wasm(paths::wasm()?).plugin(plugin(self.engines, self.explains))
        } else {
            config.without_filter(Lb::LeastRequest)
        };
        let mut json = config.to_json()?;
        if self.target == Target::Buffer {
            insert_buffer(&mut json)?;
        }
        // Histograms, of which the time to start is one, are else told only every five seconds.
        json.as_object_mut().context("no object")?.insert("stats_flush_on_admin".to_owned(), true.into());
        Ok(json)
    }
}

/// Puts Envoy's buffer filter where the filter would be.
fn insert_buffer(config: &mut Value) -> anyhow::Result<()> {
    let filters = config.pointer_mut(HTTP_FILTERS).and_then(Value::as_array_mut);
    let buffer = json!({
        "name": "envoy.filters.http.buffer",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
            "max_request_bytes": BUFFER_BYTES_MAX,
        },
    });
    filters.context("envoy.yaml has no list of HTTP filters")?.insert(0, buffer);
    Ok(())
}
