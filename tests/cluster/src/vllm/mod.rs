//! Images of engines, for pods that a plan of the controller makes: their command is vLLM's, and what runs is the simulated engine.
//!
//! The mapping is by the image's name, as a real image brings its own programs; the product knows nothing of it.

use crate::cluster::Cluster;
use crate::kubelet::Image;
use anyhow::Context;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The image that plans name for NVIDIA's accelerators, without its tag, and the one for processors.
const IMAGES: [&str; 2] = ["docker.io/vllm/vllm-openai", "docker.io/vllm/vllm-openai-cpu"];

/// The program that reads vLLM's command line.
const VLLM: &str = include_str!("vllm");

/// What is simulated, unless the pod's environment says otherwise.
const SIMULATED_AS: &str = "--preset instant";

// === impl Cluster ===

impl Cluster {
    /// Adds images of vLLM, which simulate the engine of these arguments: `--preset llama-3.1-8b-tp1 --time-scale 20`.
    pub fn add_vllm_images(&self, simulated_as: &str) -> anyhow::Result<()> {
        let path = self.folder().join("vllm");
        write_program(&path, &VLLM.replace(SIMULATED_AS, simulated_as))?;
        for name in IMAGES {
            self.add_vllm(name, path.clone());
        }
        Ok(())
    }

    /// Adds an image of a vLLM that ends at once, with this exit code.
    pub fn add_vllm_that_exits(&self, name: &str, code: u8) -> anyhow::Result<()> {
        let path = self.folder().join("vllm-that-exits");
        write_program(&path, &format!("#!/bin/sh\nexit {code}\n"))?;
        self.add_vllm(name, path);
        Ok(())
    }

    fn add_vllm(&self, name: &str, program: PathBuf) {
        let mut image = Image::built("warmpath-engine");
        image.entrypoint = vec!["vllm".to_owned(), "serve".to_owned()];
        image.files.push((program, "/usr/local/bin/vllm".to_owned()));
        self.images.add(name, image);
    }
}

fn write_program(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).context("cannot make it a program")
}
