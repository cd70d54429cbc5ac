//! Definitions of the kinds that the controller follows, as users install them.

use crate::cluster::Cluster;
use crate::command::run;
use crate::tools;
use crate::wait::until;
use anyhow::Context;
use std::fs;

/// InferenceObjective and InferenceModelRewrite of llm-d's own group.
pub const LLM_D: &str = include_str!("llm-d.yaml");

/// Files below the tools' folder: all of the current inference extension, its older InferencePool, and LeaderWorkerSets.
const FILES: [&str; 5] = [
    "inference-current/inference.networking.k8s.io_inferencepools.yaml",
    "inference-current/inference.networking.x-k8s.io_inferenceobjectives.yaml",
    "inference-current/inference.networking.x-k8s.io_inferencemodelrewrites.yaml",
    "inference-old/inference.networking.x-k8s.io_inferencepools.yaml",
    "lws/leaderworkerset.x-k8s.io_leaderworkersets.yaml",
];

// === impl Cluster ===

impl Cluster {
    /// Installs the definitions of the inference extension and of LeaderWorkerSets, and waits until objects of their kinds can be
    /// made.
    pub async fn install_inference_extension(&self) -> anyhow::Result<()> {
        self.install(&FILES).await
    }

    /// Installs KServe's definition of LLMInferenceServices.
    pub async fn install_kserve(&self) -> anyhow::Result<()> {
        self.install(&["kserve/serving.kserve.io_llminferenceservices.yaml"]).await
    }

    async fn install(&self, files: &[&str]) -> anyhow::Result<()> {
        let folder = tools::folder().join("crds");
        for file in files {
            let path = folder.join(file);
            let text = fs::read_to_string(&path)
                .with_context(|| format!("no {}: run tests/cluster/install-control-plane", path.display()))?;
            self.apply(&text).await?;
        }
        self.definitions_established().await
    }

    /// Waits until objects of all defined kinds can be made.
    pub async fn definitions_established(&self) -> anyhow::Result<()> {
        let mut said = String::new();
        let is_done = async || {
            let waiting = self
                .kubectl(&["wait", "--for=condition=Established", "--timeout=10s", "crd", "--all"])
                .ok()?;
            let waited = run(waiting, "").await.ok()?;
            said = waited.stderr;
            // It fails, too, where a definition is so new that it has no conditions yet.
            waited.is_success.then_some(())
        };
        until("all definitions to be established", is_done).await.with_context(|| said.clone())
    }
}
