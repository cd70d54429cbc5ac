//! Images: a table of local programs, at the paths that the real images have them at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

/// One image.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// The command of a container that names none.
    pub entrypoint: Vec<String>,
    /// Local files and folders, with their places in the container.
    pub files: Vec<(PathBuf, String)>,
}

/// The images that nodes can run, by their names without tag and digest.
#[derive(Debug, Default)]
pub struct Images {
    by_name: RwLock<BTreeMap<String, Image>>,
}

// === impl Image ===

impl Image {
    /// An image whose entrypoint is one local program.
    pub fn program(local: &Path, place: &str) -> Self {
        Self { entrypoint: vec![place.to_owned()], files: vec![(local.to_owned(), place.to_owned())] }
    }

    /// An image with the programs of this machine only.
    pub fn shell() -> Self {
        Self { entrypoint: vec!["sh".to_owned()], files: Vec::new() }
    }
}

// === impl Images ===

impl Images {
    /// Adds an image, or replaces it.
    pub fn add(&self, name: &str, image: Image) {
        self.by_name.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), image);
    }

    /// The image of a reference such as `envoyproxy/envoy:v1.40.0`.
    pub(super) fn find(&self, reference: &str) -> Option<Image> {
        let images = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        images.get(name(reference)).cloned()
    }
}

/// A reference without its tag and digest; a registry's port is neither.
fn name(reference: &str) -> &str {
    let reference = reference.split('@').next().unwrap_or_default();
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => reference,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_digests_are_no_part_of_the_name() {
        for (reference, expected) in [
            ("warmpath/engine", "warmpath/engine"),
            ("warmpath/engine:0.1.0", "warmpath/engine"),
            ("localhost:5000/engine", "localhost:5000/engine"),
            ("localhost:5000/engine:1@sha256:abc", "localhost:5000/engine"),
        ] {
            assert_eq!(name(reference), expected);
        }
    }
}
