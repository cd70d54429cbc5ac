//! The Wasm filter as Envoy loads it.

use super::value::{boolean, duration};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::wasm::v3::plugin_config::Vm;
use envoy_types::pb::envoy::extensions::wasm::v3::{
    EnvironmentVariables, FailurePolicy, PluginConfig, ReloadConfig, VmConfig,
};
use envoy_types::pb::google::protobuf::StringValue;
use envoy_types::util::pack_any;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// The filter's name, root id and, unless a test says otherwise, the id of its VM.
pub(super) const NAME: &str = "warmpath.router";

/// How long a trapped VM stays away.
const RELOAD_BACK_OFF: Duration = Duration::from_millis(100);

/// A Wasm filter.
#[derive(Clone, Debug)]
pub struct WasmFilter {
    /// The `.wasm` file.
    pub path: PathBuf,
    /// The filter's own configuration.
    pub plugin: Value,
    /// Filters with the same id and the same file share a VM in each worker thread, and shared data.
    pub vm_id: String,
    /// Environment variables of the VM.
    pub environment: Vec<(String, String)>,
    /// `allow_on_headers_stop_iteration`. Off as in a WasmPlugin of Istio, which cannot set it.
    pub shows_bodies: bool,
}

// === impl WasmFilter ===

impl WasmFilter {
    /// A filter in a VM with the usual id.
    pub fn new(path: impl Into<PathBuf>, plugin: Value) -> Self {
        Self {
            path: path.into(),
            plugin,
            vm_id: NAME.to_owned(),
            environment: Vec::new(),
            shows_bodies: true,
        }
    }

    pub(super) fn message(&self) -> Wasm {
        let code = core::DataSource {
            specifier: Some(core::data_source::Specifier::Filename(self.path.to_string_lossy().into_owned())),
            ..core::DataSource::default()
        };
        let vm = VmConfig {
            vm_id: self.vm_id.clone(),
            runtime: "envoy.wasm.runtime.v8".to_owned(),
            code: Some(core::AsyncDataSource {
                specifier: Some(core::async_data_source::Specifier::Local(code)),
            }),
            environment_variables: (!self.environment.is_empty()).then(|| EnvironmentVariables {
                key_values: self.environment.iter().cloned().collect(),
                ..EnvironmentVariables::default()
            }),
            ..VmConfig::default()
        };
        let back_off =
            core::BackoffStrategy { base_interval: Some(duration(RELOAD_BACK_OFF)), max_interval: None };
        Wasm {
            config: Some(PluginConfig {
                name: NAME.to_owned(),
                root_id: NAME.to_owned(),
                vm: Some(Vm::VmConfig(vm)),
                configuration: Some(pack_any(StringValue { value: self.plugin.to_string() })),
                failure_policy: FailurePolicy::FailReload.into(),
                reload_config: Some(ReloadConfig { backoff: Some(back_off) }),
                allow_on_headers_stop_iteration: self.shows_bodies.then(|| boolean(true)),
                ..PluginConfig::default()
            }),
        }
    }
}
