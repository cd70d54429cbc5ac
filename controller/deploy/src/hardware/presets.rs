//! The accelerators that Warmpath knows, as data.
//!
//! Sources. Resources and taints: the device plugins of NVIDIA (`nvidia.com/gpu`), AMD (`amd.com/gpu`), Intel Gaudi
//! (`habana.ai/gaudi`) and GKE (`google.com/tpu`). Labels: NVIDIA's GPU feature discovery makes `nvidia.com/gpu.product` of the
//! product's name, GKE sets `cloud.google.com/gke-accelerator`, AMD's node labeller sets `amd.com/gpu.device-id` (74a1 and 75a3 are the
//! PCI ids of MI300X and MI355X), GKE sets `cloud.google.com/gke-tpu-accelerator` and `gke-tpu-topology` ("Plan TPUs in GKE").
//! Nothing labels the generation of Gaudi: node feature discovery sets `pci-1da3.present` for all, and Intel's operator documents no label of
//! the product; where a cluster has several, `nodeSelector` distinguishes them. Devices of a node: DGX and HGX systems of NVIDIA, the OAM platforms of AMD and of Gaudi have 8; GKE's `ct5lp-hightpu-8t` and
//! `ct6e-standard-8t` have 8 chips in one host, topology 2x4.
//!
//! Nodes are required to have one of the labels, because pods of different products must not share a role: their speeds and caches
//! differ. Where a cluster labels its nodes otherwise, `hardware.resources` with `nodeSelector` replaces the preset.

use crate::api::{GpuType, Vendor};

/// An accelerator.
#[derive(Debug)]
pub(crate) struct Preset {
    kind: GpuType,
    /// Whose it is.
    pub(crate) vendor: Vendor,
    /// The resource of its device plugin; `None`: none.
    pub(crate) resource: Option<&'static str>,
    /// How many a node has.
    pub(crate) per_node: u32,
    /// The labels of its nodes, of which a node must have one. Empty: the resource alone says which nodes have it.
    pub(crate) nodes: &'static [Term],
    /// Topologies by the number of devices of a pod, for TPUs, whose slices exist in certain forms only.
    pub(crate) topologies: &'static [(u32, &'static str)],
    /// What distinguishes its image from others of its vendor; empty: nothing.
    pub(crate) image_suffix: &'static str,
}

/// A label with the values that it may have.
#[derive(Debug)]
pub(crate) struct Term {
    /// The label.
    pub(crate) label: &'static str,
    /// Its values.
    pub(crate) values: &'static [&'static str],
}

const NVIDIA: &str = "nvidia.com/gpu.product";
const GKE: &str = "cloud.google.com/gke-accelerator";
const AMD: &str = "amd.com/gpu.device-id";
const TPU: &str = "cloud.google.com/gke-tpu-accelerator";
/// The label with the topology of a TPU slice.
pub(crate) const TPU_TOPOLOGY: &str = "cloud.google.com/gke-tpu-topology";
const TPU_TOPOLOGIES: &[(u32, &str)] = &[(1, "1x1"), (4, "2x2"), (8, "2x4")];

macro_rules! terms {
    ($($label:expr => [$($value:expr),+]),*) => { &[$(Term { label: $label, values: &[$($value),+] }),*] };
}

const CPU: Preset = Preset {
    kind: GpuType::Cpu,
    vendor: Vendor::Cpu,
    resource: None,
    per_node: 1,
    nodes: &[],
    topologies: &[],
    image_suffix: "",
};

const PRESETS: [Preset; 11] = [
    nvidia(
        GpuType::NvidiaH100,
        terms![NVIDIA => ["NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-PCIe", "NVIDIA-H100-NVL"],
               GKE => ["nvidia-h100-80gb", "nvidia-h100-mega-80gb"]],
    ),
    nvidia(
        GpuType::NvidiaH200,
        terms![NVIDIA => ["NVIDIA-H200", "NVIDIA-H200-NVL"], GKE => ["nvidia-h200-141gb"]],
    ),
    nvidia(GpuType::NvidiaB200, terms![NVIDIA => ["NVIDIA-B200"], GKE => ["nvidia-b200"]]),
    nvidia(
        GpuType::NvidiaA100,
        terms![NVIDIA => ["NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-80GB-PCIe", "NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-PCIE-40GB"],
               GKE => ["nvidia-a100-80gb", "nvidia-tesla-a100"]],
    ),
    nvidia(GpuType::NvidiaL40s, terms![NVIDIA => ["NVIDIA-L40S"]]),
    amd(GpuType::AmdMi300x, "mi30x", terms![AMD => ["74a1"]]),
    amd(GpuType::AmdMi355x, "mi35x", terms![AMD => ["75a3"]]),
    Preset {
        kind: GpuType::IntelGaudi3,
        vendor: Vendor::Intel,
        resource: Some("habana.ai/gaudi"),
        per_node: 8,
        nodes: &[],
        topologies: &[],
        image_suffix: "",
    },
    tpu(GpuType::GoogleTpuV5e, terms![TPU => ["tpu-v5-lite-podslice"]]),
    tpu(GpuType::GoogleTpuV6e, terms![TPU => ["tpu-v6e-slice"]]),
    CPU,
];

/// The preset of a type.
pub(crate) fn preset(kind: GpuType) -> &'static Preset {
    PRESETS.iter().find(|preset| preset.kind == kind).unwrap_or(&CPU)
}

const fn nvidia(kind: GpuType, nodes: &'static [Term]) -> Preset {
    Preset {
        kind,
        vendor: Vendor::Nvidia,
        resource: Some("nvidia.com/gpu"),
        per_node: 8,
        nodes,
        topologies: &[],
        image_suffix: "",
    }
}

const fn amd(kind: GpuType, image_suffix: &'static str, nodes: &'static [Term]) -> Preset {
    Preset {
        kind,
        vendor: Vendor::Amd,
        resource: Some("amd.com/gpu"),
        per_node: 8,
        nodes,
        topologies: &[],
        image_suffix,
    }
}

const fn tpu(kind: GpuType, nodes: &'static [Term]) -> Preset {
    Preset {
        kind,
        vendor: Vendor::Google,
        resource: Some("google.com/tpu"),
        per_node: 8,
        nodes,
        topologies: TPU_TOPOLOGIES,
        image_suffix: "",
    }
}

#[cfg(test)]
mod tests {
    use super::{PRESETS, preset};
    use crate::api::GpuType;

    #[test]
    fn each_type_has_its_preset() {
        assert_eq!(GpuType::ALL.len(), PRESETS.len());
        for kind in GpuType::ALL {
            assert_eq!(preset(kind).kind, kind);
        }
    }
}
