//! Writes the images of controller and filter as OCI layouts: folders that `skopeo`, `crane`, `oras`, `podman` and containerd
//! read.
//!
//! ```text
//!   files ─► layer (tar, gzip) ─► config, manifest ─► index.json + blobs/sha256/*
//! ```
//!
//! It needs no container engine: an image of one static program is a tar file and three JSON documents. Neither the machine nor
//! the time influences them, so that equal files give an equal image, with an equal digest, everywhere.

mod elf;
mod images;
mod layer;
mod layout;

pub use elf::{Architecture, ElfError};
pub use images::{controller, filter};
pub use layer::Layer;
pub use layout::{Digest, Image, write};
