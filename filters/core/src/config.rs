//! The filter's validated configuration, as the router works with it.
//!
//! Only the struct: `warmpath-config` parses and validates the plugin's JSON, so that a router cannot be given a value
//! that nobody has checked, and the core needs no parser for what is read once.

use crate::limits::{HOLD_BODY_BYTES_DEFAULT, HOLD_REQUESTS_DEFAULT};
use crate::wire::Pools;
use std::fmt;

/// A validated plugin configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Pools with fixed endpoints; empty when the controller publishes them all.
    pub pools: Pools,
    /// The controller that publishes pools and state; without one, `pools` are all there is.
    pub controller: Option<ControllerConfig>,
    /// Prompt text in one cell, in bytes. The controller and all proxies must agree.
    pub cell_bytes: usize,
    /// Endpoints named after the chosen one for Envoy's retries.
    pub alternates: usize,
    /// What text of a system prompt begins with that engines cut out.
    pub omitted_prefixes: Vec<String>,
    /// Headers that name a client's session, in lower case, in order of preference. They keep a session at its endpoint where the
    /// prompt cannot be read.
    pub affinity_headers: Vec<String>,
    /// The header that names the model, in lower case, where the body cannot be read.
    pub model_header: Option<String>,
    /// The header that names the tenant, in lower case. `None`: llm-d's and the Gateway API's; otherwise clients cannot set those.
    pub tenant_header: Option<String>,
    /// The same for the objective.
    pub objective_header: Option<String>,
    /// How much the process may hold.
    pub hold: HoldLimits,
    /// Which requests get `x-warmpath-decision` with their response and, if they have `x-warmpath-explain`, their decision in
    /// place of it. It shows the engines' addresses and loads, and which prompts they hold.
    pub explain: Explain,
}

/// How much one process may hold, over all its pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldLimits {
    /// Requests.
    pub requests_max: u64,
    /// Their bodies, in bytes.
    pub body_bytes_max: u64,
}

/// Who may see decisions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Explain {
    /// Nobody.
    #[default]
    Nobody,
    /// Everybody.
    Everybody,
    /// Requests that carry this token in `x-warmpath-explain-token`.
    Token(String),
}

/// How to reach the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerConfig {
    /// Envoy's cluster for the controller's gRPC stream.
    pub cluster: String,
    /// The token that the stream presents.
    pub token: Option<Secret>,
}

/// Text that only the other side of a stream may see; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

// === impl HoldLimits ===

impl Default for HoldLimits {
    fn default() -> Self {
        Self { requests_max: HOLD_REQUESTS_DEFAULT, body_bytes_max: HOLD_BODY_BYTES_DEFAULT }
    }
}

// === impl Secret ===

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
