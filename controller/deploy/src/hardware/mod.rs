//! What a role runs on: resource, nodes and vendor, from a preset or as the ModelService states it.

mod images;
mod presets;

pub(crate) use images::image;
pub(crate) use presets::{Preset, TPU_TOPOLOGY, preset};

use crate::api::{Claim, Hardware, Vendor};

/// What a role runs on.
#[derive(Clone, Debug)]
pub(crate) struct Device<'a> {
    /// Whose it is.
    pub(crate) vendor: Vendor,
    /// The preset, if there is one.
    pub(crate) preset: Option<&'static Preset>,
    /// How a pod asks for it; `None`: there is nothing to ask for.
    pub(crate) request: Option<Request<'a>>,
    /// How many a node has.
    pub(crate) per_node: u32,
}

/// How a pod asks for devices.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request<'a> {
    /// By the resource of a device plugin.
    Resource(&'a str),
    /// By a claim.
    Claim(&'a Claim),
}

// === impl Device ===

impl<'a> Device<'a> {
    /// `None`: the hardware states none of its three forms, which the schema refuses.
    pub(crate) fn of(hardware: &'a Hardware) -> Option<Self> {
        if let Some(gpu) = &hardware.gpu {
            let preset = preset(gpu.kind);
            return Some(Self {
                vendor: preset.vendor,
                preset: Some(preset),
                request: preset.resource.map(Request::Resource),
                per_node: gpu.per_node.unwrap_or(preset.per_node),
            });
        }
        if let Some(resources) = &hardware.resources {
            let request = Some(Request::Resource(&resources.name));
            return Some(Self {
                vendor: resources.vendor,
                preset: None,
                request,
                per_node: resources.per_node,
            });
        }
        let claim = hardware.claims.as_ref()?;
        let request = Some(Request::Claim(claim));
        Some(Self { vendor: claim.vendor, preset: None, request, per_node: claim.per_node })
    }
}
