//! The settings of the simulated Envoy: those of its bootstrap and of the plugin's configuration.

use crate::abi::LogLevel;

/// Settings of a [`Host`](crate::Host). The defaults are those of the installs that the project ships.
#[derive(Clone, Debug)]
pub struct Options {
    /// `vm_config.vm_id`: the name under which VMs share data and queues.
    pub vm_id: String,
    /// `PluginConfig.name`.
    pub plugin_name: String,
    /// `PluginConfig.root_id`.
    pub plugin_root_id: String,
    /// `vm_config.configuration`.
    pub vm_configuration: Vec<u8>,
    /// `vm_config.environment_variables`.
    pub environment: Vec<(String, String)>,
    /// `PluginConfig.allow_on_headers_stop_iteration`. Without it a pause at the headers stops the body
    /// too, and the body callback does not come until the filter goes on.
    pub allow_on_headers_stop_iteration: bool,
    /// `per_connection_buffer_limit_bytes`: a paused body beyond it gets 413 (request)
    /// or 500 (response).
    pub buffer_bytes_max: usize,
    /// Envoy's log level for `wasm`, which the guest can read. Every line is kept whatever it is.
    pub log_level: LogLevel,
    /// Seed of `random_get`.
    pub seed: u64,
    /// The clock at the start, in nanoseconds since 1970.
    pub clock_ns: u64,
}

/// Envoy's default for `per_connection_buffer_limit_bytes`: 1 MiB.
const BUFFER_BYTES_MAX: usize = 1 << 20;

/// 2025-01-01T00:00:00Z: any date will do that is not 0, which would hide a clock that was never read.
const CLOCK_START_NS: u64 = 1_735_689_600_000_000_000;

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            vm_id: "warmpath".to_owned(),
            plugin_name: "warmpath".to_owned(),
            plugin_root_id: String::new(),
            vm_configuration: Vec::new(),
            environment: Vec::new(),
            allow_on_headers_stop_iteration: true,
            buffer_bytes_max: BUFFER_BYTES_MAX,
            log_level: LogLevel::Info,
            seed: 1,
            clock_ns: CLOCK_START_NS,
        }
    }
}
