//! The images of controller and filter, written as OCI layouts: folders that `skopeo`, `crane`, `oras`, `podman` and
//! containerd read, and registries take.
//!
//! ```text
//!   files ─► layer (tar, gzip) ─► config, manifest ─► index.json + blobs/sha256/*
//! ```
//!
//! Without a container engine, because building needs none: an image of one static program is a tar file and three pages of
//! JSON. Nothing of the machine and the time goes in, so that equal files give an equal image with an equal sum, wherever it
//! is made.

mod elf;
mod images;
mod layer;
mod layout;

pub use elf::{Architecture, ElfError};
pub use images::{controller, filter};
pub use layer::Layer;
pub use layout::{Digest, Image, write};
