//! The Envoys that are compared, and everything around them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};
use tempfile::TempDir;
use warmpath::run::Running;
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::resources::{BUFFER_BYTES_MAX, GATEWAY, Lb};
use warmpath_envoy::shipped::ShippedConfig;

use super::meter::Meter;
use crate::cluster::{plugin, start_controller, wait_for_snapshot};
use crate::paths;

/// Engines behind each Envoy.
pub(super) const ENGINES: usize = 8;

/// Where the list of HTTP filters is.
const HTTP_FILTERS: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";

/// What stands in the listener before Envoy's router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Variant {
    /// Nothing.
    Plain,
    /// Envoy's own buffer filter, which holds the body and does nothing with it.
    Buffer,
    /// The filter, with its controller.
    Warmpath,
}

impl Variant {
    pub(super) const ALL: [Self; 3] = [Self::Plain, Self::Buffer, Self::Warmpath];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Buffer => "buffer",
            Self::Warmpath => "warmpath",
        }
    }
}

/// One Envoy of each variant before the same engines.
#[derive(Debug)]
pub(super) struct Setup {
    envoys: Vec<(Variant, Envoy, SocketAddr)>,
    controller: Running,
    _folder: TempDir,
}

impl Setup {
    /// Starts all of it.
    pub(super) async fn start(engines: &[SocketAddr]) -> anyhow::Result<Self> {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let controller = start_controller(free, free, 1.0, engines).await?;
        let folder = tempfile::tempdir().context("cannot make a folder for envoy's configuration")?;
        let mut envoys = Vec::new();
        for variant in Variant::ALL {
            let file = folder.path().join(format!("{}.json", variant.name()));
            write(variant, engines, controller.grpc_addr(), &file)?;
            let node_id = format!("gateway-{}", variant.name());
            let launch = Launch { log_level: "warning", node_id, ..Launch::default() };
            let envoy = Envoy::from_file(&file, &launch).await?;
            if variant == Variant::Warmpath {
                wait_for_snapshot(&envoy).await?;
            }
            let gateway = envoy.listener(GATEWAY).await?;
            envoys.push((variant, envoy, gateway));
        }
        Ok(Self { envoys, controller, _folder: folder })
    }

    /// Where a variant's clients come in.
    pub(super) fn gateway(&self, variant: Variant) -> anyhow::Result<SocketAddr> {
        Ok(self.find(variant)?.2)
    }

    /// The processor time of a variant's Envoy.
    pub(super) fn meter(&self, variant: Variant) -> anyhow::Result<Meter> {
        Ok(Meter::of(self.find(variant)?.1.pid()))
    }

    pub(super) async fn shutdown(self) {
        drop(self.envoys);
        self.controller.shutdown().await;
    }

    fn find(&self, variant: Variant) -> anyhow::Result<&(Variant, Envoy, SocketAddr)> {
        self.envoys.iter().find(|(found, ..)| *found == variant).context("a variant that was not started")
    }
}

fn write(
    variant: Variant,
    engines: &[SocketAddr],
    controller: SocketAddr,
    file: &Path,
) -> anyhow::Result<()> {
    let config = ShippedConfig::new().listener_port(0).admin_port(0).engines(engines).controller(controller);
    let config = match variant {
        Variant::Plain | Variant::Buffer => config.without_filter(Lb::LeastRequest),
        Variant::Warmpath => config.wasm(paths::wasm()?).plugin(plugin(engines, false)),
    };
    let mut json = config.to_json()?;
    if variant == Variant::Buffer {
        insert_buffer(&mut json)?;
    }
    std::fs::write(file, json.to_string()).context("cannot write envoy's configuration")
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
