//! Definitions of the kinds that the controller follows, as users install them.

use crate::cluster::Cluster;
use crate::command::must;
use crate::tools;
use anyhow::Context;
use std::fs;

/// InferenceObjective and InferenceModelRewrite of llm-d's own group.
pub const LLM_D: &str = include_str!("llm-d.yaml");

/// Files of the inference extension below the tools' folder: all of the current version, and the older InferencePool.
const FILES: [&str; 4] = [
    "inference-current/inference.networking.k8s.io_inferencepools.yaml",
    "inference-current/inference.networking.x-k8s.io_inferenceobjectives.yaml",
    "inference-current/inference.networking.x-k8s.io_inferencemodelrewrites.yaml",
    "inference-old/inference.networking.x-k8s.io_inferencepools.yaml",
];

// === impl Cluster ===

impl Cluster {
    /// Installs the definitions of the inference extension, and waits until objects of their kinds can be made.
    pub async fn install_inference_extension(&self) -> anyhow::Result<()> {
        let folder = tools::folder().join("crds");
        for file in FILES {
            let path = folder.join(file);
            let text = fs::read_to_string(&path)
                .with_context(|| format!("no {}: run tests/cluster/install-control-plane", path.display()))?;
            self.apply(&text).await?;
        }
        self.definitions_established().await
    }

    /// Waits until objects of all defined kinds can be made.
    pub async fn definitions_established(&self) -> anyhow::Result<()> {
        let waited =
            self.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"])?;
        must(waited, "").await.map(drop)
    }
}
