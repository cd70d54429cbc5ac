//! The engines' images for each vendor, as data.
//!
//! Releases whose flags the planner was written for. Sources: vLLM publishes `vllm/vllm-openai`, `vllm/vllm-openai-rocm` and
//! `vllm/vllm-openai-cpu` with each release, and `vllm/vllm-tpu` with some; SGLang publishes `lmsysorg/sglang`, and for
//! each of ROCm 7.0 and 7.2 and each of MI300 and MI350 a tag with `-rocm720-mi30x` and the like (its `release-docker-amd.yml`); NVIDIA publishes `tensorrt-llm/release`. There is no image of vLLM for Gaudi to pull: its plugin is built on one of
//! `vault.habana.ai/gaudi-docker`, so the ModelService must name one.

use super::Device;
use crate::api::{EngineKind, Vendor};

const IMAGES: [(EngineKind, Vendor, &str); 7] = [
    (EngineKind::Vllm, Vendor::Nvidia, "docker.io/vllm/vllm-openai:v0.32.0"),
    (EngineKind::Vllm, Vendor::Amd, "docker.io/vllm/vllm-openai-rocm:v0.32.0"),
    (EngineKind::Vllm, Vendor::Google, "docker.io/vllm/vllm-tpu:v0.27.0"),
    (EngineKind::Vllm, Vendor::Cpu, "docker.io/vllm/vllm-openai-cpu:v0.32.0"),
    (EngineKind::Sglang, Vendor::Nvidia, "docker.io/lmsysorg/sglang:v0.5.23"),
    (EngineKind::Sglang, Vendor::Amd, "docker.io/lmsysorg/sglang:v0.5.23-rocm720"),
    (EngineKind::Trtllm, Vendor::Nvidia, "nvcr.io/nvidia/tensorrt-llm/release:1.2.1"),
];

/// The image of an engine for a device; `None`: there is none that Warmpath knows.
pub(crate) fn image(engine: EngineKind, device: &Device<'_>) -> Option<String> {
    let found = IMAGES.iter().find(|(kind, vendor, _)| *kind == engine && *vendor == device.vendor);
    let (kind, vendor, image) = found?;
    match (kind, vendor, device.preset) {
        (EngineKind::Sglang, Vendor::Amd, preset) => Some(format!("{image}-{}", preset?.image_suffix)),
        _ => Some((*image).to_owned()),
    }
}
