//! How a replica divides the model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a replica divides the model. It takes `tensor` x `pipeline` x `data` devices; more than a node has become several nodes.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parallelism {
    /// Devices that share each layer.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024))]
    pub tensor: u32,
    /// Groups of devices that have successive layers.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024))]
    pub pipeline: u32,
    /// Ranks that share the experts, or the machine, and have requests and caches of their own. Each is a port of its pod, and an endpoint of the
    /// router.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024))]
    pub data: u32,
    /// Whether the experts of a mixture are divided among all devices, in place of each expert's weights.
    #[serde(default)]
    pub expert: bool,
}

fn one() -> u32 {
    1
}

// === impl Parallelism ===

impl Default for Parallelism {
    fn default() -> Self {
        Self { tensor: one(), pipeline: one(), data: one(), expert: false }
    }
}

impl Parallelism {
    /// Devices of a replica.
    pub fn devices(&self) -> u32 {
        self.tensor.saturating_mul(self.pipeline).saturating_mul(self.data)
    }
}
