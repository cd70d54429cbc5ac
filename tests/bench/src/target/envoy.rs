//! The Envoys that are compared: the shipped configuration with the filter, without, and with Envoy's buffer filter
//! in its place.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};
use warmpath_demo::cluster::{plugin, wait_for_snapshot};
use warmpath_demo::paths;
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::resources::{BUFFER_BYTES_MAX, Lb};
use warmpath_envoy::shipped::ShippedConfig;

use super::Target;

/// Where the list of HTTP filters is.
const HTTP_FILTERS: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";

/// Starts the Envoy of a target, and waits until it serves and has heard its controller.
pub(crate) async fn start(
    target: Target,
    engines: &[SocketAddr],
    controller: Option<SocketAddr>,
    workers: u32,
    folder: &Path,
) -> anyhow::Result<Envoy> {
    let file = folder.join(format!("{}.json", target.name()));
    let config = configuration(target, engines, controller)?;
    std::fs::write(&file, config.to_string()).context("cannot write envoy's configuration")?;
    let node_id = format!("gateway-{}", target.name());
    let envoy =
        Envoy::from_file(&file, &Launch { workers, log_level: "warning", node_id, ..Launch::default() })
            .await?;
    if controller.is_some() {
        wait_for_snapshot(&envoy).await?;
    }
    Ok(envoy)
}

/// The shipped configuration as the target needs it.
fn configuration(
    target: Target,
    engines: &[SocketAddr],
    controller: Option<SocketAddr>,
) -> anyhow::Result<Value> {
    let mut config = ShippedConfig::new().listener_port(0).admin_port(0).engines(engines);
    if let Some(controller) = controller {
        config = config.controller(controller);
    }
    let config = if target == Target::Warmpath {
        config.wasm(paths::wasm()?).plugin(plugin(engines, false))
    } else {
        config.without_filter(Lb::LeastRequest)
    };
    let mut json = config.to_json()?;
    if target == Target::Buffer {
        insert_buffer(&mut json)?;
    }
    // Histograms, of which the time to start is one, are else told only every five seconds.
    json.as_object_mut().context("no object")?.insert("stats_flush_on_admin".to_owned(), true.into());
    Ok(json)
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
