//! An image as a folder in the OCI image layout.

use crate::elf::Architecture;
use crate::layer::Layer;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The SHA-256 of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u8; 32]);

/// An image before it is written.
#[derive(Debug)]
pub struct Image {
    /// Where it runs.
    pub architecture: Architecture,
    /// How it runs: the field `config` of its configuration.
    pub run: Value,
    /// Its tag.
    pub tag: String,
    /// Its only layer.
    pub layer: Layer,
}

// === impl Digest ===

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The form that gateways are configured with: without the name of the algorithm.
    pub fn hex(&self) -> String {
        self.0.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

/// Writes an image to a folder, in place of what is there, and returns the digest of its manifest.
pub fn write(folder: &Path, image: Image) -> io::Result<Digest> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let architecture = image.architecture.label();
    let layer = image.layer.pack()?;
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": image.run,
        "rootfs": { "type": "layers", "diff_ids": [layer.diff_id.to_string()] },
    });
    let config = blob(&blobs, CONFIG, config.to_string().as_bytes())?;
    let layer = blob(&blobs, LAYER, &layer.bytes)?;
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    let manifest = manifest.to_string();
    let mut described = blob(&blobs, MANIFEST, manifest.as_bytes())?;
    if let Value::Object(fields) = &mut described {
        fields.insert("platform".to_owned(), json!({ "architecture": architecture, "os": "linux" }));
        fields.insert("annotations".to_owned(), json!({ "org.opencontainers.image.ref.name": image.tag }));
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [described] });
    fs::write(folder.join("index.json"), index.to_string())?;
    fs::write(folder.join("oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }).to_string())?;
    Ok(Digest::of(manifest.as_bytes()))
}

/// Writes a blob, and returns its descriptor.
fn blob(blobs: &Path, media_type: &str, bytes: &[u8]) -> io::Result<Value> {
    let digest = Digest::of(bytes);
    fs::write(blobs.join(digest.hex()), bytes)?;
    Ok(json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() }))
}
